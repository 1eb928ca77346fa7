package guest

import (
	"io"
	"strings"
	"sync"
)

// consoleSize is how much of the guest's console is kept.
const consoleSize = 16 << 10

// A Console keeps the last of what a guest printed.
type Console struct {
	mu   sync.Mutex
	ring [consoleSize]byte
	n    int // bytes ever written
}

// Write keeps p; it never fails.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for rest := p; len(rest) > 0; {
		k := copy(c.ring[c.n%consoleSize:], rest)
		c.n += k
		rest = rest[k:]
	}
	return len(p), nil
}

// text is what is kept, in order.
func (c *Console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.n % consoleSize
	if c.n < consoleSize {
		return string(c.ring[:at])
	}
	return string(c.ring[at:]) + string(c.ring[:at])
}

// lines of the console that an error shows, and the bytes of each.
const (
	shownLines = 12
	shownBytes = 160
)

// Tail is the last lines, without control characters and without the addresses
// of a call trace.
func (c *Console) Tail() []string {
	var out []string
	for line := range strings.SplitSeq(c.text(), "\n") {
		line = strings.TrimSpace(strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' || r == 0x7f || r == 0xfffd {
				return -1
			}
			return r
		}, line))
		if len(line) > shownBytes {
			line = line[:shownBytes]
		}
		if line != "" && !strings.HasPrefix(line, "[<") {
			out = append(out, line)
		}
	}
	return out[max(0, len(out)-shownLines):]
}

// Says says whether the console's kept text holds any of words.
func (c *Console) Says(words ...string) bool {
	text := c.text()
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// follow reads the console up to its end.
func (c *Console) follow(r io.Reader) { io.Copy(c, r) }
