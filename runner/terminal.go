package runner

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// attach copies between the process's terminal and Stdin and Stdout.
func (s *Sandbox) attach() {
	master := s.Process.(TerminalProcess).Terminal()
	s.copies.Go(func() {
		defer master.Close()
		s.fromTerminal(master)
	})
	if s.Stdin != nil {
		// Not waited for: the reader may block for ever after the application ended.
		go toTerminal(master, s.Stdin)
	}
}

// fromTerminal copies until the box has ended, which the kernel tells by EIO.
// When nobody reads any more the rest is dropped: a terminal has no SIGPIPE.
func (s *Sandbox) fromTerminal(master *os.File) {
	buf := make([]byte, 32<<10)
	gone := s.Stdout == nil
	for {
		n, err := master.Read(buf)
		if s.output != nil {
			n = s.output.Take(n)
		}
		if n > 0 && !gone {
			var werr error
			if f, ok := s.Stdout.(*os.File); ok {
				werr = writeAll(int(f.Fd()), buf[:n])
			} else {
				_, werr = s.Stdout.Write(buf[:n])
			}
			if gone = werr != nil; gone {
				s.unwritten.Note(werr)
				// As a terminal that is closed: its session gets SIGHUP.
				s.Process.Signal(unix.SIGHUP)
			}
		}
		if err != nil {
			return
		}
	}
}

// endOfTransmission is what a terminal takes for the end of the input at the
// beginning of a line, termios(3) VEOF.
const endOfTransmission = 4

// toTerminal copies what is typed, or what comes from a file or a pipe, which
// has an end.
func toTerminal(master *os.File, from io.Reader) {
	buf := make([]byte, 4<<10)
	end := []byte{endOfTransmission}
	for {
		n, err := from.Read(buf)
		if n > 0 {
			end = endAfter(buf[n-1])
			if _, werr := master.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil { // what cannot be read, such as a directory, has ended too
			master.Write(end)
			return
		}
	}
}

// endAfter is what ends the input after last. In the middle of a line the
// first one only hands over what there is of it.
func endAfter(last byte) []byte {
	if last == '\n' || last == '\r' {
		return []byte{endOfTransmission}
	}
	return []byte{endOfTransmission, endOfTransmission}
}

// Resize tells the application that its terminal has another size.
func (s *Sandbox) Resize(size Size) error {
	if r, ok := s.Process.(Resizer); ok {
		return r.Resize(size)
	}
	return nil
}
