#include "textflag.h"

// The linker makes this the entry of bin/hutch (-E, see the Makefile). The
// kernel leaves argc, argv and the environment on the stack, execve(2), where
// the runtime's own entry looks for them.
TEXT hutch_entry(SB), NOSPLIT|NOFRAME, $0
	MOVD RSP, R19
	SUB  $32, RSP
	MOVD R19, 8(RSP)
	MOVD R19, 24(RSP)
	CALL ·beforeRuntime(SB)
	MOVD 24(RSP), R19
	MOVD R19, RSP
	JMP  _rt0_arm64_linux(SB)

// func bear(flags, stack uintptr, pidfd, childTID *int32) (pid int)
//
// The child wakes on stack and does not return.
TEXT ·bear(SB), NOSPLIT, $0-40
	MOVD flags+0(FP), R0
	MOVD stack+8(FP), R1
	MOVD pidfd+16(FP), R2
	MOVD ZR, R3
	MOVD childTID+24(FP), R4
	MOVD $220, R8 // SYS_clone
	SVC
	CBZ  R0, child
	MOVD R0, pid+32(FP)
	RET

child:
	MOVD ZR, R29 // the end of the chain of frames
	SUB  $64, RSP
	// By address: the linker would take its stack for the caller's.
	MOVD $·beBorn(SB), R0
	CALL (R0)
	BRK

// func become(entry, program uintptr)
//
// Calls entry with program as C would. It does not return.
TEXT ·become(SB), NOSPLIT, $0-16
	MOVD program+8(FP), R0
	MOVD entry+0(FP), R1
	CALL (R1)
	BRK

// The kernel calls this with the number of a signal in R0, and has saved every
// register, signal(7). It returns to where the kernel wants it, in the vDSO.
TEXT handler<>(SB), NOSPLIT|NOFRAME, $0
	SUB  $32, RSP
	MOVD R30, 24(RSP)
	MOVD R0, 8(RSP)
	CALL ·pass(SB)
	MOVD 24(RSP), R30
	ADD  $32, RSP
	RET

// func handlerAddress() (handler, restorer uintptr)
TEXT ·handlerAddress(SB), NOSPLIT, $0-16
	MOVD $handler<>(SB), R0
	MOVD R0, handler+0(FP)
	MOVD ZR, restorer+8(FP)
	RET
