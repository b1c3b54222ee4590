/* What the stand-in for an installation medium starts: it says that Setup runs, writes disk.S to the disk and
 * starts the machine anew. STOP is the stage in which it stops for ever, when that is one of Setup's: before it says
 * anything, or with the disk written. With ANEW it starts the machine anew at first, before it does anything, as a
 * firmware does that gives a TPM other banks; with MUTE it says nothing. */
#include "stop.S"
	.code16
	.globl _start
_start:
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	cld
	stops_in 1
#ifdef ANEW
	/* A byte that nobody uses and no reset clears. */
	mov $0x77, %al
	out %al, $0x70
	in $0x71, %al
	cmp $0x5a, %al
	je 1f
	mov $0x77, %al
	out %al, $0x70
	mov $0x5a, %al
	out %al, $0x71
	jmp again
1:
#endif
#ifdef MUTE
	jmp 2f
#endif
	mov $winpe, %si
1:	lodsb
	test %al, %al
	jz 2f
	mov %al, %ah
	mov $0x2fd, %dx
	/* The port takes no byte while it still holds the last. */
3:	in %dx, %al
	test $0x20, %al
	jz 3b
	mov %ah, %al
	mov $0x2f8, %dx
	out %al, %dx
	jmp 1b
2:
#ifdef LEAVES
	mov $0x604, %dx
	mov $0x2000, %ax
	out %ax, %dx
#endif
	mov $0x0303, %ax
	mov $disk, %bx
	mov $1, %cx
	mov $0x0080, %dx
	int $0x13
	stops_in 2
again:
	mov $0xcf9, %dx
	mov $6, %al
	out %al, %dx
stop:
	hlt
	jmp stop

winpe:
	.asciz "MISFIRE-PREPARE winpe\r\n"
	.org 512
disk:
	.incbin "disk.bin"
	.org 2048
