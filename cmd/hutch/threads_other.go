//go:build !cgo

package main

// Without C nothing runs before the runtime, and nothing is to be undone.
func manyThreads() {}
