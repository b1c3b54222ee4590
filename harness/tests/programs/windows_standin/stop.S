/* Where the stand-in stops for ever: in stage STOP, on a machine with 512 MiB. One with more goes on from there. */
#ifndef STOP
#define STOP 0
#endif
	.macro stops_in stage
	.if STOP == \stage
	/* The memory above 16 MiB, in pieces of 16 MiB. */
	mov $0x35, %al
	out %al, $0x70
	in $0x71, %al
	cmp $(512 - 16) / 16, %al
	je stop
	.endif
	.endm
