#include "textflag.h"

// Go code that assembly has called, or that has called assembly, takes g from
// the thread-local storage, whether it uses it or not. Before the runtime sets
// that up, this is it.
GLOBL storage<>(SB), NOPTR, $16

// The linker makes this the entry of bin/hutch (-E, see the Makefile). The
// kernel leaves argc, argv and the environment on the stack, execve(2), where
// the runtime's own entry looks for them.
TEXT hutch_entry(SB), NOSPLIT|NOFRAME, $0
	MOVQ SP, R12
	MOVQ $158, AX    // SYS_arch_prctl
	MOVQ $0x1002, DI // ARCH_SET_FS
	LEAQ storage<>+8(SB), SI
	SYSCALL
	MOVQ R12, SP
	SUBQ $32, SP
	ANDQ $~15, SP
	MOVQ R12, 0(SP)
	MOVQ R12, 16(SP)
	CALL ·beforeRuntime(SB)
	MOVQ 16(SP), SP
	XORL DX, DX // no function for exit to call
	JMP  _rt0_amd64_linux(SB)

// func bear(flags, stack uintptr, pidfd, childTID *int32) (pid int)
//
// The child wakes on stack and does not return.
TEXT ·bear(SB), NOSPLIT, $0-40
	MOVQ flags+0(FP), DI
	MOVQ stack+8(FP), SI
	MOVQ pidfd+16(FP), DX
	MOVQ childTID+24(FP), R10
	XORL R8, R8
	MOVQ $56, AX // SYS_clone
	SYSCALL
	TESTQ AX, AX
	JZ   child
	MOVQ AX, pid+32(FP)
	RET

child:
	XORL BP, BP // the end of the chain of frames
	// By address: the linker would take its stack for the caller's.
	MOVQ $·beBorn(SB), AX
	CALL AX
	INT  $3

// func become(entry, program uintptr)
//
// Calls entry with program as C would. It does not return.
TEXT ·become(SB), NOSPLIT, $0-16
	MOVQ program+8(FP), DI
	MOVQ entry+0(FP), AX
	CALL AX
	INT  $3

// The kernel calls this with the number of a signal in DI, and has saved every
// register, signal(7).
TEXT handler<>(SB), NOSPLIT|NOFRAME, $0
	SUBQ $24, SP
	MOVQ DI, 0(SP)
	CALL ·pass(SB)
	ADDQ $24, SP
	RET

// Where it returns to, as x86_64 asks for, sigreturn(2).
TEXT restorer<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ $15, AX // SYS_rt_sigreturn
	SYSCALL
	INT  $3

// func handlerAddress() (handler, restorer uintptr)
TEXT ·handlerAddress(SB), NOSPLIT, $0-16
	MOVQ $handler<>(SB), AX
	MOVQ AX, handler+0(FP)
	MOVQ $restorer<>(SB), AX
	MOVQ AX, restorer+8(FP)
	RET
