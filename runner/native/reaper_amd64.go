package native

import _ "embed"

// reaperProgram is built from reaper/reaper.c by reaper/build.sh; a test
// builds it again and compares.
//
//go:embed reaper/reaper_amd64.elf
var reaperProgram string
