package work

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

func getppid(o *Options) (float64, error) {
	return perStep(o, 1000, func() error {
		for range 1000 {
			syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
		}
		return nil
	})
}

// ownFile makes a file of size bytes in the box's own directory.
func ownFile(o *Options, size int) (name string, remove func(), err error) {
	f, err := os.CreateTemp(o.Dir, "work-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { os.Remove(f.Name()) }
	if _, err = f.Write(make([]byte, size)); err == nil {
		err = f.Close()
	}
	if err != nil {
		remove()
		return "", nil, err
	}
	return f.Name(), remove, nil
}

func openClose(o *Options) (float64, error) {
	name, remove, err := ownFile(o, 1)
	if err != nil {
		return 0, err
	}
	defer remove()
	return perStep(o, 100, func() error {
		for range 100 {
			fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			unix.Close(fd)
		}
		return nil
	})
}

func read4K(o *Options) (float64, error)  { return fileIO(o, unix.Pread) }
func write4K(o *Options) (float64, error) { return fileIO(o, unix.Pwrite) }

// fileIO moves 4 KiB at a time from or to a file that is in memory.
func fileIO(o *Options, move func(int, []byte, int64) (int, error)) (float64, error) {
	const block, blocks = 4096, 64
	name, remove, err := ownFile(o, block*blocks)
	if err != nil {
		return 0, err
	}
	defer remove()
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	buf := make([]byte, block)
	return perStep(o, blocks, func() error {
		for i := range int64(blocks) {
			if n, err := move(fd, buf, i*block); n != block {
				return fmt.Errorf("%d of %d bytes of %s: %w", n, block, filepath.Base(name), err)
			}
		}
		return nil
	})
}

func forkExec(o *Options) (float64, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	attr := &os.ProcAttr{Files: []*os.File{null, null, null}}
	return micro(o, 1, func() error {
		p, err := os.StartProcess(o.Small, []string{o.Small}, attr)
		if err != nil {
			return err
		}
		_, err = p.Wait()
		return err
	})
}

// pipeRoundTrip sends a byte to a thread of its own and back.
func pipeRoundTrip(o *Options) (float64, error) {
	var there, back [2]int
	for _, p := range []*[2]int{&there, &back} {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return 0, err
		}
		defer unix.Close(p[0])
	}
	return pingPong(o, there[1], back[0], func() { echo(there[0], back[1]) }, there[1])
}

// pingPong measures a byte written to out until one comes from in, with other
// on a thread of its own; closing last ends it.
func pingPong(o *Options, out, in int, other func(), last int) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		other()
		close(done)
	}()
	buf := make([]byte, 1)
	us, err := micro(o, 10, func() error {
		for range 10 {
			if _, err := syscall.Write(out, buf); err != nil {
				return err
			}
			if _, err := syscall.Read(in, buf); err != nil {
				return err
			}
		}
		return nil
	})
	unix.Close(last)
	<-done
	return us, err
}

// echo writes back what it reads until there is no more.
func echo(in, out int) {
	defer unix.Close(out)
	buf := make([]byte, 1)
	for {
		if n, err := syscall.Read(in, buf); n != 1 || err != nil {
			return
		}
		if _, err := syscall.Write(out, buf); err != nil {
			return
		}
	}
}

// tcpRoundTrip is the same over a connection to ourselves.
func tcpRoundTrip(o *Options) (float64, error) {
	server, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(server)
	loopback := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := unix.Bind(server, loopback); err != nil {
		return 0, fmt.Errorf("bind 127.0.0.1: %w", err)
	}
	if err := unix.Listen(server, 1); err != nil {
		return 0, err
	}
	at, err := unix.Getsockname(server)
	if err != nil {
		return 0, err
	}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.Connect(client, at); err != nil {
		unix.Close(client)
		return 0, fmt.Errorf("connect to 127.0.0.1: %w", err)
	}
	peer, _, err := unix.Accept4(server, unix.SOCK_CLOEXEC)
	if err != nil {
		unix.Close(client)
		return 0, err
	}
	for _, fd := range []int{client, peer} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return 0, err
		}
	}
	return pingPong(o, client, client, func() { echo(peer, peer) }, client)
}
