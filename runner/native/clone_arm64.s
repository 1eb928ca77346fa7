#include "textflag.h"

// func clone3(args *cloneArgs, size uintptr, p *program) (pid uintptr, errno syscall.Errno)
//
// The child wakes on the stack named in args with every register as it was.
// It never returns through this frame, which belongs to the parent.
TEXT ·clone3(SB), NOSPLIT, $0-40
	MOVD args+0(FP), R0
	MOVD size+8(FP), R1
	MOVD p+16(FP), R19
	MOVD $435, R8 // SYS_clone3
	SVC
	CMN  $4095, R0
	BCC  ok
	NEG  R0, R0
	MOVD ZR, pid+24(FP)
	MOVD R0, errno+32(FP)
	RET

ok:
	CBZ  R0, child
	MOVD R0, pid+24(FP)
	MOVD ZR, errno+32(FP)
	RET

child:
	MOVD ZR, R29
	SUB  $64, RSP
	MOVD R19, 8(RSP)
	// By address: the linker would take run's own use of clone3 for recursion
	// on this stack, but each child has a stack of its own.
	MOVD $·run(SB), R0
	CALL (R0)
	BRK

// func entryAddress() uintptr
TEXT ·entryAddress(SB), NOSPLIT, $0-8
	MOVD $entry<>(SB), R0
	MOVD R0, ret+0(FP)
	RET

// The newborn comes here on its own stack, with the program in its first
// argument, and does not return.
TEXT entry<>(SB), NOSPLIT, $64-0
	MOVD R0, 8(RSP)
	MOVD $·run(SB), R0
	CALL (R0)
	BRK
