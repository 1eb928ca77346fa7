package main

import "unsafe"

// comm is the name that ps shows, prctl(2): that of the memfd's descriptor
// would tell nobody anything.
func comm() uintptr { return uintptr(unsafe.Pointer(&[]byte("hutch-pull\x00")[0])) }
