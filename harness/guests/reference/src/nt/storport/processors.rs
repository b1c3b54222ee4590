//! What a miniport asks about processors: all are in group 0 and on node 0.
//!
//! Source: `StorPortGetCurrentProcessorNumber`, `StorPortGetActiveGroupCount`, `StorPortGetGroupAffinity`,
//! `StorPortGetActiveNodeCount`, `StorPortGetNodeAffinity`, `StorPortGetHighestNodeNumber`, `PROCESSOR_NUMBER`,
//! `GROUP_AFFINITY`.

use super::abi::stor_status as status;
use crate::hal::processor;

/// `PROCESSOR_NUMBER`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(in crate::nt) struct Number {
    group: u16,
    number: u8,
    reserved: u8,
}

impl Number {
    /// That of the processor that runs this.
    pub(in crate::nt) fn own() -> Self {
        Self {
            group: 0,
            number: processor::number() as u8,
            reserved: 0,
        }
    }
}

/// `GROUP_AFFINITY`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Affinity {
    mask: u64,
    group: u16,
    reserved: [u16; 3],
}

impl Affinity {
    /// A bit for each processor.
    pub(super) fn of(mask: u64) -> Self {
        Self {
            mask,
            group: 0,
            reserved: [0; 3],
        }
    }
}

/// An answer for the miniport.
pub(super) fn put<T>(at: u64, value: T) -> u32 {
    if at == 0 {
        return status::INVALID_PARAMETER;
    }
    // SAFETY: the miniport's pointer, which it vouches for.
    unsafe { (at as *mut T).write_unaligned(value) };
    status::SUCCESS
}

/// `StorPortGetCurrentProcessorNumber`.
pub(super) fn number(at: u64) -> u32 {
    put(at, Number::own())
}

/// `StorPortGetGroupAffinity` and `StorPortGetNodeAffinity`: there is one of each.
pub(super) fn affinity(of: u32, at: u64) -> u32 {
    if of != 0 {
        return status::INVALID_PARAMETER;
    }
    put(at, Affinity::of((1 << processor::count()) - 1))
}

/// `StorPortGetProcessorIndexFromNumber`.
pub(super) fn index_of(number: u64, at: u64) -> u32 {
    if number == 0 {
        return status::INVALID_PARAMETER;
    }
    // SAFETY: the miniport's pointer, which it vouches for.
    let number = unsafe { (number as *const Number).read_unaligned() };
    if number.group != 0 || usize::from(number.number) >= processor::count() {
        return status::INVALID_PARAMETER;
    }
    put(at, u32::from(number.number))
}
