#include "textflag.h"

// func clone3(args *cloneArgs, size uintptr, p *program) (pid uintptr, errno syscall.Errno)
//
// The child wakes on the stack named in args with every register as it was.
// It never returns through this frame, which belongs to the parent.
TEXT ·clone3(SB), NOSPLIT, $0-40
	MOVQ args+0(FP), DI
	MOVQ size+8(FP), SI
	MOVQ p+16(FP), R12
	MOVQ $435, AX // SYS_clone3
	SYSCALL
	CMPQ AX, $0xfffffffffffff001
	JCC  failed
	TESTQ AX, AX
	JZ   child
	MOVQ AX, pid+24(FP)
	MOVQ $0, errno+32(FP)
	RET

failed:
	NEGQ AX
	MOVQ $0, pid+24(FP)
	MOVQ AX, errno+32(FP)
	RET

child:
	XORL BP, BP // the end of the chain of frames
	SUBQ $64, SP
	MOVQ R12, 0(SP)
	// By address: the linker would take run's own use of clone3 for recursion
	// on this stack, but each child has a stack of its own.
	MOVQ $·run(SB), AX
	CALL AX
	INT  $3

// func entryAddress() uintptr
TEXT ·entryAddress(SB), NOSPLIT, $0-8
	MOVQ $entry<>(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// The newborn comes here on its own stack, with the program in its first
// argument, and does not return.
TEXT entry<>(SB), NOSPLIT, $64-0
	MOVQ DI, 0(SP)
	MOVQ $·run(SB), AX
	CALL AX
	INT  $3
