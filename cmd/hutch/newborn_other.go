//go:build !cgo || !(amd64 || arm64)

package main

import "hutch/runner/native"

// Without C nothing runs before the runtime.
var newborn *native.Newborn
