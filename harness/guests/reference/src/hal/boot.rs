//! From the PVH entry (32 bit, paging off) to Rust in long mode.
//!
//! The first 4 GiB and one GiB above are mapped one to one: 2 MiB pages, except the first 2 MiB, which have 4 KiB
//! pages so that page 0 and the page below the boot stack can be left out. A null pointer or a
//! stack that runs over is then a page fault, not silence.

#[cfg(not(test))]
use core::arch::global_asm;

/// Top of the boot stack; the firmware leaves 1 to 2 MiB alone.
pub const STACK_TOP: u64 = 0x20_0000;
/// A GiB above 4 GiB that is mapped one to one as well: for 64-bit BARs.
pub const HIGH: u64 = 32 << 30;
const HIGH_BYTES: u64 = 1 << 30;
/// Size of the boot stack in bytes; the page below it is not mapped.
pub const STACK_SIZE: u64 = 0x2_0000;

#[cfg(not(test))]
global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18              // name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_start

    .section .text.boot, "ax"
    .code32
    .global pvh_start
pvh_start:
    cli
    cld
    movl ${stack_top}, %esp
    movl %ebx, %ebp             // the start information

    movl $boot_pdpt + 3, boot_pml4
    movl $boot_pd + 3, %eax     // four page directories, one for each GiB
    movl $boot_pdpt, %edi
    movl $4, %ecx
1:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    loop 1b

    movl $0x83, %eax            // present, writable, 2 MiB
    movl $boot_pd, %edi
    movl $2048, %ecx
2:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 2b

    movl $boot_pd_high + 3, boot_pdpt + {high_gib} * 8
    movl $0x83, %eax            // the GiB above
    movl $boot_pd_high, %edi
    movl $512, %ecx
5:  movl %eax, (%edi)
    movl ${high_half}, 4(%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 5b

    movl $0x1003, %eax          // the first 2 MiB by the page, without page 0
    movl $boot_pt + 8, %edi
    movl $511, %ecx
3:  movl %eax, (%edi)
    addl $0x1000, %eax
    addl $8, %edi
    loop 3b
    movl $0, boot_pt + {guard}
    movl $boot_pt + 3, boot_pd

    movl $0x620, %eax           // PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      // EFER.LME
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl $0x80010023, %eax      // PG, WP, NE, MP, PE
    movl %eax, %cr0
    lgdtl boot_gdt_pointer
    ljmpl $0x08, $boot64

    .code64
boot64:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movl %ebp, %edi
    xorl %ebp, %ebp
    call kernel_main
4:  cli
    hlt
    jmp 4b

    // Another processor: it begins in 16-bit mode at the start of a page below 1 MiB, where this was copied
    // to, and needs nothing but its own stack.
    .code16
    .global trampoline
trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl trampoline_gdt_pointer - trampoline
    movl $0x620, %eax
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      // EFER: LME, NXE
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl $0x80010023, %eax
    movl %eax, %cr0
    ljmpl $0x08, $processor64
    .balign 4
trampoline_gdt_pointer:
    .word 23
    .long boot_gdt
    .global trampoline_end
trampoline_end:

    .code64
processor64:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movq PROCESSOR_STACK, %rsp
    movl PROCESSOR_STARTED, %edi
    xorl %ebp, %ebp
    call processor_main
6:  cli
    hlt
    jmp 6b

    .section .rodata.boot, "a"
    .balign 16
boot_gdt:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
boot_gdt_pointer:
    .word 23
    .long boot_gdt

    .section .bss.boot, "aw", @nobits
    .balign 4096
    .global boot_pml4
boot_pml4: .skip 4096
    .global boot_pdpt
boot_pdpt: .skip 4096
boot_pd:   .skip 4 * 4096
boot_pt:   .skip 4096
boot_pd_high: .skip 4096
    .text
    "#,
    stack_top = const STACK_TOP,
    high_gib = const HIGH >> 30,
    high_half = const HIGH >> 32,
    guard = const (STACK_TOP - STACK_SIZE - 0x1000) / 0x1000 * 8,
    options(att_syntax)
);

/// Where a processor begins that is started; the firmware leaves it alone.
pub const TRAMPOLINE: u64 = 0x1_0000;

#[cfg(not(test))]
unsafe extern "C" {
    static trampoline: u8;
    static trampoline_end: u8;
}

/// Puts the way of another processor where it begins.
pub fn install_trampoline() {
    #[cfg(not(test))]
    // SAFETY: the page is the guest's, and nothing else uses it.
    unsafe {
        let (from, end) = (&raw const trampoline, &raw const trampoline_end);
        core::ptr::copy_nonoverlapping(from, TRAMPOLINE as *mut u8, end as usize - from as usize);
    }
}

/// Whether a range lies in what is mapped above 4 GiB.
pub fn is_mapped_high(base: u64, length: u64) -> bool {
    base >= HIGH && length <= HIGH_BYTES && base - HIGH <= HIGH_BYTES - length
}

/// The start information of the PVH boot protocol, as far as it is used here.
#[repr(C)]
pub struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
}

const MAGIC: u32 = 0x336e_c578;
const LONGEST_COMMAND_LINE: usize = 4096;

/// The kernel's command line; empty if there is none or it is not UTF-8.
///
/// # Safety
/// `info` is what the boot protocol passed, and its memory is still as the firmware left it.
pub unsafe fn command_line(info: *const StartInfo) -> &'static str {
    // SAFETY: the caller vouches for `info`; the string it points to ends with a zero byte.
    unsafe {
        if info.is_null() || (*info).magic != MAGIC || (*info).command_line == 0 {
            return "";
        }
        let text = (*info).command_line as *const u8;
        let length = (0..LONGEST_COMMAND_LINE)
            .find(|&i| *text.add(i) == 0)
            .unwrap_or(0);
        core::str::from_utf8(core::slice::from_raw_parts(text, length)).unwrap_or("")
    }
}
