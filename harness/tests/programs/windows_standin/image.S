/* The headers of a UEFI application that lies in memory as it does in its file, and can lie anywhere: a PE image of one
 * section. It begins in efi_main. */
	.section .head, "awx"
image:
	.ascii "MZ"
	.org 0x3c
	.long pe - image
	.org 0x80
pe:
	.ascii "PE\0\0"
	/* x64, one section, no symbols; executable, addresses above 2 GiB. */
	.word 0x8664, 1
	.long 0, 0, 0
	.word sections - optional, 0x0022
optional:
	.word 0x20b, 0
	.long image_end - 0x1000, 0, 0, efi_main, 0x1000
	.quad 0x2000000
	.long 0x1000, 0x1000
	.long 0, 0, 0, 0
	.long image_end, 0x1000, 0
	/* An EFI application. */
	.word 10, 0
	.quad 0, 0, 0, 0
	.long 0, 16
	.fill 16, 8, 0
sections:
	.ascii ".text\0\0\0"
	.long image_end - 0x1000, 0x1000, image_end - 0x1000, 0x1000
	.long 0, 0, 0
	.long 0xe0000060
	.org 0x1000
#ifdef SETUP
	.section .rodata
	.globl system, system_end
	.balign 0x1000
system:
	.incbin "system.img"
system_end:
#endif
