//! Memory that a driver has given back, or registers of a device that is gone: touching them is told, once for
//! each page, and the driver goes on with what it would have found.

use super::checks::{self, Check};
use super::{image, storport};
use crate::hal::vm::{self, PAGE, Rights};
use crate::hal::{Local, exclusive, mem, processor};
use alloc::vec::Vec;

/// Why a page may not be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The request was completed.
    Completed,
    /// The driver was told that its device is gone.
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Trap {
    page: u64,
    physical: u64,
    device: usize,
    reason: Reason,
}

static TRAPS: Local<Vec<Trap>> = Local::new(Vec::new());

/// The pages that hold `length` bytes at `address` may not be touched until [`clear`].
pub fn set(device: usize, reason: Reason, address: u64, length: u64) {
    exclusive(|| set_all(device, reason, address, length));
}

fn set_all(device: usize, reason: Reason, address: u64, length: u64) {
    let mut page = address / PAGE * PAGE;
    while page < address + length {
        if let Some(physical) = vm::physical(page) {
            vm::unmap(page, 1);
            let trap = Trap {
                page,
                physical,
                device,
                reason,
            };
            TRAPS.with(|traps| traps.push(trap));
        }
        page += PAGE;
    }
}

/// They may again.
pub fn clear(address: u64, length: u64) {
    let first = address / PAGE * PAGE;
    exclusive(|| clear_all(first, address + length));
}

fn clear_all(first: u64, end: u64) {
    while let Some(trap) = take(|page| (first..end).contains(&page)) {
        vm::map_page(trap.page, trap.physical, Rights::Write);
    }
}

fn take(is: impl Fn(u64) -> bool) -> Option<Trap> {
    TRAPS.with(|traps| {
        let at = traps.iter().position(|trap| is(trap.page))?;
        Some(traps.swap_remove(at))
    })
}

/// A page fault at `address`, of the instruction at `rip`. Whether there was a trap, so that the instruction
/// can go on.
pub fn touched(address: u64, rip: u64) -> bool {
    exclusive(|| was_trap(address, rip))
}

fn was_trap(address: u64, rip: u64) -> bool {
    let Some(trap) = take(|page| page == address / PAGE * PAGE) else {
        // Another processor may have put the page back meanwhile.
        if processor::are_several() && vm::physical(address).is_some() {
            return true;
        }
        super::lent::touched(address, rip);
        return false;
    };
    let place = image::image().and_then(|image| image.place(rip));
    // A plain build calls the port driver for its registers.
    let place = place.as_deref().unwrap_or("a routine that it called");
    let routine = storport::current_routine();
    let (check, text) = match trap.reason {
        Reason::Completed => (
            Check::Touch,
            "a request, or its extension, is touched after it was completed",
        ),
        Reason::Gone => (
            Check::Gone,
            "a register is touched of a device that is gone",
        ),
    };
    checks::broken(
        trap.device,
        check,
        format_args!("{text}, in {routine} at {place}"),
    );
    match trap.reason {
        Reason::Completed => vm::map_page(trap.page, trap.physical, Rights::Write),
        Reason::Gone => nobody_answers(trap.page),
    }
}

/// Maps a page that reads as a bus does where nobody answers.
fn nobody_answers(page: u64) -> bool {
    let Some(ones) = mem::dma(PAGE as usize) else {
        return false;
    };
    for at in (0..PAGE as usize).step_by(8) {
        ones.write(at, u64::MAX);
    }
    vm::map_page(page, ones.address(), Rights::Write)
}
