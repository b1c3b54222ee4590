//! Imports that the model does not have, when the harness was told to allow them: a trap for each that
//! says its name when it is called.

use crate::hal::vm::{self, PAGE, Rights};
use crate::hal::{Local, mem, mmio::Mmio};
use crate::nt::bugcheck::{DRIVER_ENTRYPOINT_NOT_FOUND, bug_check};
use crate::nt::image;
use crate::println;

/// Bytes of a trap.
const SIZE: u64 = 32;

struct Traps {
    memory: Option<Mmio>,
    address: u64,
}

static TRAPS: Local<Traps> = Local::new(Traps {
    memory: None,
    address: 0,
});

/// The address of a routine that says that import `n` is missing.
///
/// # Panics
/// When there is no memory for it.
pub fn trap(n: u32) -> u64 {
    TRAPS.with(|traps| {
        if traps.memory.is_none() {
            let memory = mem::dma(4 * PAGE as usize).expect("memory for traps");
            traps.address =
                vm::map(memory.address(), 4 * PAGE, Rights::Execute).expect("a place for traps");
            traps.memory = Some(memory);
        }
        let place = u64::from(n) % (4 * PAGE / SIZE) * SIZE;
        let Some(memory) = traps.memory else { return 0 };
        // mov ecx, n; mov rax, called; jmp rax
        let mut code = [0u8; 17];
        code[0] = 0xb9;
        code[1..5].copy_from_slice(&n.to_le_bytes());
        code[5..7].copy_from_slice(&[0x48, 0xb8]);
        code[7..15].copy_from_slice(&(called as *const () as u64).to_le_bytes());
        code[15..].copy_from_slice(&[0xff, 0xe0]);
        for (offset, byte) in code.iter().enumerate() {
            memory.write(place as usize + offset, *byte);
        }
        traps.address + place
    })
}

extern "win64" fn called(n: u32) -> ! {
    if let Some(image) = image::image()
        && let Some((dll, name)) = image.import(n)
    {
        println!("NT: the driver calls {name} of {dll}, which the model does not have");
    }
    bug_check(DRIVER_ENTRYPOINT_NOT_FOUND, [n.into(), 0, 0, 0])
}
