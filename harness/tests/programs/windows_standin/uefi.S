/* What the stand-in for Windows has on its disk when the firmware is UEFI: an application that leaves the firmware's
 * services, puts the reference kernel where it belongs and enters it as PVH has it, 32 bit with paging off. It is a
 * PE image, headers and all, that can lie anywhere.
 * START, START_AT: PVH's start information, and where it is to be. KERNEL, KERNEL_AT, ENTRY: the kernel. ZEROS: how many
 * words of zeros come after it. */
	.set PAGE, 0x1000
	.set MAP_BYTES, 0x8000
	.set GET_MEMORY_MAP, 56
	.set EXIT_BOOT_SERVICES, 232
	.code64
	.globl _start
_start:
image:
	.ascii "MZ"
	.org 0x3c
	.long pe - image
	.org 0x80
pe:
	.ascii "PE\0\0"
	/* x64, one section, no symbols, the bytes of what follows; executable, addresses above 2 GiB. */
	.word 0x8664, 1
	.long 0, 0, 0
	.word sections - optional, 0x0022
optional:
	.word 0x20b, 0
	.long image_end - code, 0, 0, code - image, code - image
	.quad 0x2000000
	.long PAGE, PAGE
	.long 0, 0, 0, 0
	.long image_end - image, PAGE, 0
	/* An EFI application. */
	.word 10, 0
	.quad 0, 0, 0, 0
	.long 0, 16
	.fill 16, 8, 0
sections:
	.ascii ".text\0\0\0"
	.long image_end - code, code - image, image_end - code, code - image
	.long 0, 0, 0
	.long 0xe0000060

	.org PAGE
code:
	push %rbp
	sub $64, %rsp
	mov %rcx, %r12
	mov 96(%rdx), %r13
	/* Whatever the firmware does between the two calls makes the map's key stale. */
1:	movq $MAP_BYTES, 40(%rsp)
	lea 40(%rsp), %rcx
	lea map(%rip), %rdx
	lea 48(%rsp), %r8
	lea 56(%rsp), %r9
	lea version(%rip), %rax
	mov %rax, 32(%rsp)
	call *GET_MEMORY_MAP(%r13)
	mov %r12, %rcx
	mov 48(%rsp), %rdx
	call *EXIT_BOOT_SERVICES(%r13)
	test %rax, %rax
	jnz 1b
	cli
	cld
	lea start(%rip), %rsi
	mov $START_AT, %edi
	mov $(start_end - start), %ecx
	rep movsb
	lea kernel(%rip), %rsi
	mov $KERNEL_AT, %edi
	mov $(kernel_end - kernel), %ecx
	rep movsb
	xor %eax, %eax
	mov $ZEROS, %ecx
	rep stosl
	lea gdt(%rip), %rax
	mov %rax, gdt_pointer + 2(%rip)
	lgdt gdt_pointer(%rip)
	lea narrow(%rip), %rax
	push $8
	push %rax
	lretq

	.code32
narrow:
	mov $0x10, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov %cr0, %eax
	and $0x7fffffff, %eax
	mov %eax, %cr0
	mov $0xc0000080, %ecx
	rdmsr
	and $0xfffffeff, %eax
	wrmsr
	mov $START_AT, %ebx
	mov $ENTRY, %eax
	jmp *%eax

	.balign 8
gdt:
	.quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
	.word 23
	.quad 0
	.balign 8
version:
	.quad 0
map:
	.skip MAP_BYTES
start:
	.incbin "start.bin"
start_end:
kernel:
	.incbin "kernel.bin"
kernel_end:
	.balign PAGE
image_end:
