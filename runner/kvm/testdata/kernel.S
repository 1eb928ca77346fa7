# What QEMU takes for a kernel, by its PVH entry, and does what is defined:
# HALT, SPEAK or RESET.
	.section .note.Xen, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long start

	.text
	.code32
	.globl start
start:
#ifdef RESET
	lidt nowhere
	int3
#endif
#ifdef SPEAK
	mov $words, %esi
1:	lodsb
	test %al, %al
	jz 2f
	mov $0x3f8, %dx
	outb %al, %dx
	jmp 1b
#endif
2:	cli
	hlt
	jmp 2b
words:	.asciz "the words of no kernel\n"

	.data
nowhere: .long 0, 0
