//go:build !cgo

package main

import "golang.org/x/sys/unix"

// A guard puts the terminal back where hutch cannot. It takes C.
type guard struct{}

func newGuard(int, *unix.Termios) (*guard, error) { return nil, nil }

func (*guard) dismiss() {}
