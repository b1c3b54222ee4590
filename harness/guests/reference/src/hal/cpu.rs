//! Ports, model-specific registers, and the interrupt flag.

use core::arch::asm;

/// Writes one byte to a port.
pub fn out8(port: u16, value: u8) {
    // SAFETY: ports do not touch Rust's memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) }
}

/// Writes two bytes to a port.
pub fn out16(port: u16, value: u16) {
    // SAFETY: as for `out8`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack, preserves_flags)) }
}

/// Writes four bytes to a port.
pub fn out32(port: u16, value: u32) {
    // SAFETY: as for `out8`.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags))
    }
}

/// Reads one byte from a port.
pub fn in8(port: u16) -> u8 {
    let value;
    // SAFETY: as for `out8`.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags)) }
    value
}

/// Reads two bytes from a port.
pub fn in16(port: u16) -> u16 {
    let value;
    // SAFETY: as for `out8`.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nostack, preserves_flags)) }
    value
}

/// Reads four bytes from a port.
pub fn in32(port: u16) -> u32 {
    let value;
    // SAFETY: as for `out8`.
    unsafe {
        asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack, preserves_flags))
    }
    value
}

/// The address that the last page fault was about.
pub fn fault_address() -> u64 {
    let value;
    // SAFETY: reading CR2 changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) }
    value
}

/// The task priority: vectors whose high half is not above it wait.
pub fn priority() -> u8 {
    let value: u64;
    // SAFETY: reading CR8 changes nothing.
    unsafe { asm!("mov {}, cr8", out(reg) value, options(nostack, preserves_flags)) }
    value as u8
}

/// Sets the task priority, 0 to 15.
pub fn set_priority(value: u8) {
    // SAFETY: it only says which interrupts wait.
    unsafe {
        asm!("mov cr8, {}", in(reg) u64::from(value & 0xf), options(nostack, preserves_flags));
    }
}

/// The page tables honour the bit that forbids execution.
pub fn enable_no_execute() {
    const EFER: u32 = 0xc000_0080;
    const NXE: u32 = 1 << 11;
    // SAFETY: no page has the bit yet.
    unsafe {
        asm!("rdmsr", "or eax, {nxe}", "wrmsr", nxe = const NXE, in("ecx") EFER,
            out("eax") _, out("edx") _, options(nostack));
    }
}

/// A debug exception comes in front of the instruction at this address, or of none.
pub fn set_breakpoint(address: Option<u64>) {
    const NONE: u64 = 0x400;
    const FIRST: u64 = NONE | 2;
    let control = if address.is_some() { FIRST } else { NONE };
    // SAFETY: whoever sets one handles the exception.
    unsafe {
        asm!("mov dr0, {}", "mov dr7, {}", in(reg) address.unwrap_or(0), in(reg) control,
            options(nostack, preserves_flags));
    }
}

/// Whether a debug exception is that of the breakpoint; for the next one nothing is known.
pub fn take_breakpoint() -> bool {
    const NONE: u64 = 0xffff_0ff0;
    let status: u64;
    // SAFETY: only debug exceptions look at it.
    unsafe {
        asm!("mov {}, dr6", "mov dr6, {}", out(reg) status, in(reg) NONE,
            options(nostack, preserves_flags));
    }
    status & 1 != 0
}

/// Forgets what is cached of the page at `address`.
pub fn flush_page(address: u64) {
    // SAFETY: the tables hold what is true.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) }
}

/// Writes a model-specific register.
fn write_register(register: u32, value: u64) {
    // SAFETY: the callers write what the processor may have there.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

/// Where the page tables are.
pub fn page_tables() -> u64 {
    let value;
    // SAFETY: reading changes nothing.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) }
    value
}

/// The processor's own area begins at `address`: GS.
pub fn set_own_area(address: u64) {
    const GS_BASE: u32 = 0xc000_0101;
    write_register(GS_BASE, address);
}

/// Four bytes of the processor's own area.
pub fn own32(at: usize) -> u32 {
    let value: u32;
    // SAFETY: the area is there, and reading changes nothing.
    unsafe {
        asm!("mov {:e}, gs:[{}]", out(reg) value, in(reg) at,
            options(nostack, preserves_flags, readonly));
    }
    value
}

/// Eight bytes of the processor's own area.
pub fn own64(at: usize) -> u64 {
    let value: u64;
    // SAFETY: as for `own32`.
    unsafe {
        asm!("mov {}, gs:[{}]", out(reg) value, in(reg) at,
            options(nostack, preserves_flags, readonly));
    }
    value
}

/// Writes eight bytes of the processor's own area.
pub fn set_own64(at: usize, value: u64) {
    // SAFETY: the area is there, and nothing else keeps a reference into it.
    unsafe { asm!("mov gs:[{}], {}", in(reg) at, in(reg) value, options(nostack, preserves_flags)) }
}

/// Forgets what is cached of all pages.
pub fn flush_pages() {
    // SAFETY: the tables stay what they are.
    unsafe { asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags)) }
}

/// Another processor is waited for.
pub fn pause() {
    core::hint::spin_loop();
}

/// Where the stack is.
pub fn stack_pointer() -> u64 {
    let value: u64;
    // SAFETY: reading it changes nothing.
    unsafe { asm!("mov {}, rsp", out(reg) value, options(nomem, nostack, preserves_flags)) }
    value
}

/// Interrupts off.
pub fn disable_interrupts() {
    // SAFETY: only the interrupt flag changes.
    unsafe { asm!("cli", options(nostack)) }
}

/// Interrupts on.
pub fn enable_interrupts() {
    // SAFETY: as above; the handlers are installed before the first call.
    unsafe { asm!("sti", options(nostack)) }
}

/// Runs `f` with interrupts off and leaves the flag as it was.
pub fn without_interrupts<T>(f: impl FnOnce() -> T) -> T {
    let flags: u64;
    // SAFETY: the stack is balanced.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) }
    let result = f();
    if flags & 0x200 != 0 {
        enable_interrupts();
    }
    result
}

/// With interrupts off: waits for the next one and takes it. Nothing can slip in between.
pub fn wait_for_interrupt() {
    // SAFETY: `sti` takes effect after `hlt` has begun.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) }
}

/// Ends here.
pub fn halt() -> ! {
    loop {
        // SAFETY: nothing more is to happen.
        unsafe { asm!("cli", "hlt", options(nostack)) }
    }
}
