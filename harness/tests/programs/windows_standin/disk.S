/* What the stand-in for Windows has on its disk: one sector. At its first start it says what the settings of
 * harness/guests/windows/setup would say, and shuts down; later it speaks to a debugger on COM1 as a Windows kernel
 * does first, and answers each line on COM2 as an agent does that is greeted: with the last number of the line, behind a mark. It shuts down when its power button is pressed. STOP is the stage in which it stops for ever; with
 * CRASH it is three sectors, and crashes at its first start. */
#ifndef STOP
#define STOP 0
#endif
	.code16
	.globl _start
_start:
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	cld
#ifdef CRASH
	/* The rest of it, and what a kernel tells its debugger when it crashes. */
	mov $0x0202, %ax
	mov $frames, %bx
	mov $2, %cx
	mov $0x0080, %dx
	int $0x13
	mov $frames, %si
	mov $frames_end - frames, %cx
	mov $0x3f8, %dx
1:	lodsb
	call put
	loop 1b
	jmp stop
#endif
	cmpb $0, starts
	jne later
	incb starts
	/* The sector, with its count, back to the disk. */
	mov $0x0301, %ax
	mov $_start, %bx
	mov $1, %cx
	mov $0x0080, %dx
	int $0x13
#if STOP == 3
	jmp stop
#endif
	mov $specialize, %si
	call com2
#if STOP == 4
	jmp stop
#endif
	mov $logon, %si
	call com2
#if STOP == 5
	jmp stop
#endif
#ifdef FAILS
	mov $failed, %si
	call com2
	jmp stop
#endif
	mov $done, %si
	call com2
#if STOP == 6
	jmp stop
#endif
off:
	mov $0x604, %dx
	mov $0x2000, %ax
	out %ax, %dx
stop:
	hlt
	jmp stop

later:
	mov $number, %di
#ifndef NO_DEBUGGER
	mov $frame, %si
	mov $frame_end - frame, %cx
	mov $0x3f8, %dx
1:	lodsb
	call put
	loop 1b
#endif
	/* The power button is heard from here on. */
	mov $0x602, %dx
	mov $0x0100, %ax
	out %ax, %dx
ask:
	mov $0x600, %dx
	in %dx, %ax
	test $1, %ah
	jnz off
	mov $0x2fd, %dx
	in %dx, %al
	test $1, %al
	jz ask
	mov $0x2f8, %dx
	in %dx, %al
#ifndef NO_AGENT
	cmp $10, %al
	je 2f
	cmp $'0', %al
	jb 1f
	cmp $'9', %al
	ja 1f
	stosb
	movb $0, (%di)
	jmp ask
	/* Whatever stands between two numbers ends the first; a digit that comes next begins anew. */
1:	mov $number, %di
	jmp ask
2:	mov $mark, %si
	call com2
	mov $number, %si
	call com2
	mov $end, %si
	call com2
#endif
	jmp ask

com2:
	mov $0x2f8, %dx
1:	lodsb
	test %al, %al
	jz 2f
	call put
	jmp 1b
2:	ret

	/* Sends %al over the port at %dx, which takes no byte while it still holds the last. */
put:
	push %ax
	add $5, %dx
1:	in %dx, %al
	test $0x20, %al
	jz 1b
	sub $5, %dx
	pop %ax
	out %al, %dx
	ret

specialize:
	.asciz "MISFIRE-PREPARE specialize\r\n"
logon:
	.asciz "MISFIRE-PREPARE logon\r\n"
failed:
	.asciz "MISFIRE-PREPARE step debug 5\r\nMISFIRE-PREPARE failed debug 5\r\n"
done:
	.asciz "MISFIRE-PREPARE step debug 0\r\nMISFIRE-PREPARE version 10.0.1\r\nMISFIRE-PREPARE done agent=own\r\n"
mark:
	.asciz "\377{\"return\": "
end:
	.asciz "}\r\n"
frame:
	/* A print of "hello\n", the first packet of a boot. */
	.byte 0x30, 0x30, 0x30, 0x30, 3, 0, 22, 0, 0x00, 0x08, 0x80, 0x80, 0x8c, 0x02, 0, 0
	.byte 0x30, 0x32, 0, 0, 6, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0
	.ascii "hello\n"
	.byte 0xaa
frame_end:
starts:
	.byte 0
	/* Behind the code of one sector. */
	.equ number, 0x8400
	.org 510
	.byte 0x55, 0xaa
#ifdef CRASH
frames:
	.incbin "frames.bin"
frames_end:
	.org 1536
#endif
