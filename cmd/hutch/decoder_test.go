package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// What takes apart what strangers have compressed has no privilege, no file
// that it could open, and no limit that it could exceed.
func TestDecoderIsConfined(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer w.Close()
	d, err := decode("zst", r)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	proc := fmt.Sprintf("/proc/%d/", d.(*decoder).cmd.Process.Pid)
	want := []string{"NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"}
	if os.Geteuid() == 0 {
		want = append(want, "Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534")
	}
	var status string
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		data, _ := os.ReadFile(proc + "status")
		status = string(data)
		missing := false
		for _, line := range want {
			missing = missing || !strings.Contains(status, line+"\n")
		}
		if !missing {
			return
		}
	}
	t.Errorf("wanted %q in:\n%s", want, status)
}

// An archive that is left in the middle, or whose source fails, leaves no
// process behind, and the failure is told as it was.
func TestDecoderEnds(t *testing.T) {
	t.Parallel()
	packed := func() []byte {
		out, err := exec.Command("sh", "-c", "head -c 50000000 /dev/zero | tr '\\0' x | zstd -1 -c").Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}()
	lost := errors.New("the disk is gone")
	for name, source := range map[string]io.Reader{
		"left":  strings.NewReader(string(packed)),
		"fails": io.MultiReader(strings.NewReader(string(packed[:len(packed)/2])), broken{lost}),
		"short": strings.NewReader(string(packed[:len(packed)/2])),
	} {
		d, err := decode("zst", source)
		if err != nil {
			t.Fatal(err)
		}
		if name == "left" {
			if _, err := io.ReadFull(d, make([]byte, 1000)); err != nil {
				t.Error(err)
			}
		} else {
			_, err := io.Copy(io.Discard, d)
			if want := map[string]error{"fails": lost, "short": io.ErrUnexpectedEOF}[name]; !errors.Is(err, want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		d.Close()
		if d.(*decoder).cmd.ProcessState == nil {
			t.Errorf("%s: the process was not waited for", name)
		}
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
