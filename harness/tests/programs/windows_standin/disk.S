/* What the stand-in for Windows has on its disk: three sectors. Until its settings are made it says what those of
 * harness/guests/windows/setup would say, notes on the disk how far it has come, and shuts down; when it is cut off and
 * started again it goes on from there. Later it speaks to a debugger on COM1 as a Windows kernel does first, and answers
 * each line on COM2 as an agent does that is greeted: with the last number of the line, behind a mark. It shuts down when
 * its power button is pressed. STOP is the stage in which it stops for ever; with CRASH it crashes at its first start. */
#include "stop.S"
	/* How far it has come. */
	.set INSTALLED, 0
	.set SPECIALIZED, 1
	.set LOGGED_ON, 2
	.set SETTLED, 3

	.code16
	.globl _start
_start:
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	cld
	/* The rest of it. */
	mov $0x0202, %ax
	mov $rest, %bx
	mov $2, %cx
	mov $0x0080, %dx
	int $0x13
#ifdef CRASH
	/* What a kernel tells its debugger when it crashes. */
	mov $frames, %si
	mov $frames_end - frames, %cx
	mov $0x3f8, %dx
1:	lodsb
	call put
	loop 1b
	jmp stop
#endif
	cmpb $SPECIALIZED, state
	je oobe
	cmpb $LOGGED_ON, state
	je settings
	cmpb $SETTLED, state
	je later
	stops_in 3
	mov $specialize, %si
	call reach
	/* It starts the machine anew, as Setup does before it makes its user. */
	mov $0xcf9, %dx
	mov $6, %al
	out %al, %dx
	jmp stop
oobe:
	stops_in 4
	mov $logon, %si
	call reach
settings:
	stops_in 5
#ifdef FAILS
	mov $failed, %si
	call com2
	jmp stop
#endif
	mov $done, %si
	call reach
	stops_in 6
off:
	mov $0x604, %dx
	mov $0x2000, %ax
	out %ax, %dx
stop:
	hlt
	jmp stop

	/* Says the line at %si, which is the end of a state. */
reach:
	call com2
	incb state
	/* The sector back to the disk, with what it has noted. */
keep:
	mov $0x0301, %ax
	mov $_start, %bx
	mov $1, %cx
	mov $0x0080, %dx
	int $0x13
	ret

later:
	stops_in 7
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

	.org 508
state:
	.byte INSTALLED, 0
	.byte 0x55, 0xaa
rest:
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
#ifdef CRASH
frames:
	.incbin "frames.bin"
frames_end:
#endif
	.org 1536
	/* Behind everything. */
	.equ number, 0x8400
