package compare

import _ "embed"

// firstProgram is built from first/first.c by first/build.sh.
//
//go:embed first/first_arm64.elf
var firstProgram string
