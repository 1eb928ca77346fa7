package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"hutch/runner"
)

// wake starts a session with a guest that was saved, which does as act says.
func wake(t *testing.T, ctx context.Context, act func(*Conn, *strangeGuest)) (*Session, error) {
	t.Helper()
	var ends [6]*os.File
	for i := 0; i < len(ends); i += 2 {
		var err error
		if ends[i], ends[i+1], err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
	}
	g := &strangeGuest{ends: []*os.File{ends[0], ends[3], ends[5]}, dead: make(chan struct{})}
	go act(NewConn(ends[0], ends[3]), g)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	m := Machine{Engine: "strange", Process: g, To: ends[1], From: ends[2], Console: ends[4], Restored: true, Boot: 2 * time.Second}
	return Start(ctx, m, &Config{Spec: &runner.Spec{}}, runner.Stdio{In: null, Out: null, Err: null})
}

// A saved guest is asked whether it goes on before it is told anything, and is
// given randomness of its own.
func TestRestored(t *testing.T) {
	t.Parallel()
	var seeds [2][]byte
	for i := range seeds {
		s, err := wake(t, t.Context(), func(c *Conn, g *strangeGuest) {
			if err := c.AwaitHello(); err != nil {
				t.Error(err)
			}
			if f, err := c.Receive(); err != nil || f.Type != Ping {
				t.Error(f.Type, err)
			}
			c.Send(Pong, 0, nil)
			f, err := c.Receive()
			var config Config
			if err != nil || f.Type != Setup || json.Unmarshal(f.Body, &config) != nil {
				t.Error(f.Type, err)
			}
			seeds[i] = config.Seed
			if d := time.Since(config.Time); d.Abs() > time.Minute {
				t.Errorf("its clock is %v off", d)
			}
			c.Send(Started, 0, nil)
			c.SendMessage(Ended, exited(0))
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if len(seeds[0]) < 32 || bytes.Equal(seeds[0], seeds[1]) {
		t.Errorf("the seeds of two runs are %x and %x", seeds[0], seeds[1])
	}
}

// What becomes of a saved guest that does not go on can be told from what
// becomes of a run: another guest may do.
func TestNotRestored(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		act  func(*Conn, *strangeGuest)
		late bool // it has gone on
	}{
		"ends":   {act: func(_ *Conn, g *strangeGuest) { g.Kill() }},
		"silent": {act: func(*Conn, *strangeGuest) {}},
		"raves":  {act: func(c *Conn, _ *strangeGuest) { c.Send(Started, 0, nil) }},
		"ends later": {late: true, act: func(c *Conn, g *strangeGuest) {
			c.AwaitHello()
			c.Receive()
			c.Send(Pong, 0, nil)
			c.Receive()
			g.Kill()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := wake(t, t.Context(), tt.act)
			if err == nil || errors.Is(err, ErrNotRestored) == tt.late {
				t.Errorf("%v", err)
			}
		})
	}
}
