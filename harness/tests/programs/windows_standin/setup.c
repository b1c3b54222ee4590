/* What a UEFI firmware starts of the stand-in that is prepared: with SETUP what its medium has, else what is on its disk
 * afterwards. Both do what cd.S and disk.S do without UEFI; how far the system has come is in a variable of the firmware.
 * Setup waits for a key, as media of Windows do, and goes back to the firmware when nobody presses one; it writes to the
 * disk that is empty. It gives up where the firmware has no TPM. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#define API __attribute__((ms_abi))

typedef struct {
	u32 a;
	u16 b, c;
	u8 d[8];
} Guid;

enum { COM1 = 0x3f8, COM2 = 0x2f8 };
/* How far the system has come. */
enum { INSTALLED = 1, SPECIALIZED, LOGGED_ON, SETTLED };
/* Where tables of the firmware have what is used here. */
enum { CON_IN = 48, RUNTIME = 88, BOOT = 96 };
enum { LOCATE_HANDLES = 312, LOCATE_PROTOCOL = 320, HANDLE_PROTOCOL = 152, STALL = 248, WATCHDOG = 256 };
enum { GET_VARIABLE = 72, SET_VARIABLE = 88, RESET = 104, READ_KEY = 8 };
enum { MEDIA = 8, READ_BLOCKS = 24, WRITE_BLOCKS = 32 };

static u8 *system_table;

static void *at(void *table, int offset)
{
	return *(void **)((u8 *)table + offset);
}

static void *service(int table, int offset)
{
	return at(at(system_table, table), offset);
}

static void out8(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static u8 in8(u16 port)
{
	u8 value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

/* The port takes no byte while it still holds the last. */
static void put(u16 port, u8 byte)
{
	while (!(in8(port + 5) & 0x20))
		;
	out8(port, byte);
}

static void say(const char *text)
{
	while (*text)
		put(COM2, *text++);
}

static u16 NAME[] = { 'S', 't', 'a', 'n', 'd', 'i', 'n', 0 };
static Guid OURS = { 0x6d697366, 0x6972, 0x6500, { 1, 2, 3, 4, 5, 6, 7, 8 } };

static void keep(u8 value)
{
	/* For good, and for us alone. */
	u64 (API *set)(u16 *, Guid *, u32, u64, void *) = service(RUNTIME, SET_VARIABLE);
	if (set(NAME, &OURS, 3, 1, &value))
		say("MISFIRE-PREPARE failed variables 1\r\n");
}

#ifdef SETUP
extern u8 system[], system_end[];

static int key_is_pressed(void)
{
	struct {
		u16 scan, character;
	} key;
	void *input = at(system_table, CON_IN);
	u64 (API *read)(void *, void *) = at(input, READ_KEY);
	u64 (API *stall)(u64) = service(BOOT, STALL);
	for (int n = 0; n < 500; n++) {
		if (!read(input, &key))
			return 1;
		stall(10000);
	}
	return 0;
}

static int has_tpm(void)
{
	static Guid tcg2 = { 0x607f766c, 0x7455, 0x42be, { 0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f } };
	void *found;
	u64 (API *locate)(Guid *, void *, void **) = service(BOOT, LOCATE_PROTOCOL);
	return !locate(&tcg2, 0, &found);
}

/* Writes the system to the whole disk that is empty. */
static int install(void)
{
	static Guid block_io = { 0x964e5b21, 0x6459, 0x11d2, { 0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b } };
	static u8 sector[512] __attribute__((aligned(4096)));
	u64 count = 0;
	void **handles, *disk;
	u64 (API *locate)(u32, Guid *, void *, u64 *, void ***) = service(BOOT, LOCATE_HANDLES);
	u64 (API *open)(void *, Guid *, void **) = service(BOOT, HANDLE_PROTOCOL);
	if (locate(2, &block_io, 0, &count, &handles))
		return 0;
	for (u64 n = 0; n < count; n++) {
		if (open(handles[n], &block_io, &disk))
			continue;
		u8 *media = at(disk, MEDIA);
		u32 id = *(u32 *)media;
		int present = media[5], partition = media[6], read_only = media[7];
		if (!present || partition || read_only || *(u32 *)(media + 12) != 512)
			continue;
		u64 (API *read)(void *, u32, u64, u64, void *) = at(disk, READ_BLOCKS);
		u64 (API *write)(void *, u32, u64, u64, void *) = at(disk, WRITE_BLOCKS);
		u8 used = 0;
		if (read(disk, id, 0, 512, sector))
			continue;
		for (int i = 0; i < 512; i++)
			used |= sector[i];
		if (!used)
			return !write(disk, id, 0, system_end - system, system);
	}
	return 0;
}

static u64 run(void)
{
	if (!key_is_pressed())
		return 1;
	say("MISFIRE-PREPARE winpe\r\n");
	if (!has_tpm())
		say("MISFIRE-PREPARE failed tpm 1\r\n");
	if (!install())
		say("MISFIRE-PREPARE failed disk 1\r\n");
	keep(INSTALLED);
	void (API *reset)(u32, u64, u64, void *) = service(RUNTIME, RESET);
	reset(0, 0, 0, 0);
	return 0;
}
#else
static void out16(u16 port, u16 value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static u16 in16(u16 port)
{
	u16 value;
	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static u8 state(void)
{
	u8 value = 0;
	u64 size = 1;
	u64 (API *get)(u16 *, Guid *, u32 *, u64 *, void *) = service(RUNTIME, GET_VARIABLE);
	return get(NAME, &OURS, 0, &size, &value) ? 0 : value;
}

static void forever(void)
{
	for (;;)
		__asm__ volatile("pause");
}

static void off(void)
{
	out16(0x604, 0x2000);
	forever();
}

/* A print of "hello\n", the first packet of a boot. */
static const u8 FRAME[] = { 0x30, 0x30, 0x30, 0x30, 3, 0, 22, 0, 0x00, 0x08, 0x80, 0x80, 0x8c, 0x02, 0, 0,
	0x30, 0x32, 0, 0, 6, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o', '\n', 0xaa };

/* The system that was installed: see disk.S. */
static void later(void)
{
	static char number[64];
	u32 length = 0;
	int is_new = 1;
	/* The firmware, whose console both ports are, reads nothing any more. */
	__asm__ volatile("cli");
	for (u32 n = 0; n < sizeof FRAME; n++)
		put(COM1, FRAME[n]);
	out16(0x602, 0x0100);
	for (;;) {
		if (in16(0x600) & 0x0100)
			off();
		if (!(in8(COM2 + 5) & 1))
			continue;
		u8 byte = in8(COM2);
		if (byte == '\n') {
			number[length] = 0;
			say("\377{\"return\": ");
			say(number);
			say("}\r\n");
		} else if (byte < '0' || byte > '9') {
			is_new = 1;
		} else {
			length = is_new ? 0 : length;
			is_new = 0;
			if (length < sizeof number - 1)
				number[length++] = byte;
		}
	}
}

static u64 run(void)
{
	switch (state()) {
	case INSTALLED:
			say("MISFIRE-PREPARE specialize\r\n");
		keep(SPECIALIZED);
	case SPECIALIZED:
			say("MISFIRE-PREPARE logon\r\n");
		keep(LOGGED_ON);
	case LOGGED_ON:
			say("MISFIRE-PREPARE version 10.0.1\r\nMISFIRE-PREPARE done agent=own\r\n");
		keep(SETTLED);
			off();
	case SETTLED:
		later();
	default:
		/* Its variables are not those that Setup has left. */
		say("MISFIRE-PREPARE failed variables 2\r\n");
	}
	return 1;
}
#endif

u64 API efi_main(void *image, u8 *table)
{
	(void)image;
	system_table = table;
	/* The firmware does not start anew what it takes to hang. */
	u64 (API *watchdog)(u64, u64, u64, void *) = service(BOOT, WATCHDOG);
	watchdog(0, 0, 0, 0);
	return run();
}
