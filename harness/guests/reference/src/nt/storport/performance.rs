//! Performance options: where completions go, and whether `HwStorStartIo` is called on several processors at once.
//!
//! Source: `StorPortInitializePerfOpts`, `PERF_CONFIGURATION_DATA`, `STARTIO_PERFORMANCE_PARAMETERS`; `HW_STARTIO`, that
//! with concurrent channels the StartIo lock is not taken for it, and what it shares the miniport guards itself.

use super::abi::stor_status as status;
use super::locks::{self, Callback};
use super::port::{Port, of_extension};
use super::processors::Affinity;
use super::spin::Lock;
use crate::hal::processor;

/// `PERF_CONFIGURATION_DATA`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Performance {
    version: u32,
    size: u32,
    flags: u32,
    channels: u32,
    first: u32,
    last: u32,
    node: u32,
    reserved: u32,
    targets: u64,
}

/// Its size without what has come with version 3.
const SIZE_2: u32 = 24;

/// `STOR_PERF_DPC_REDIRECTION`, `_CONCURRENT_CHANNELS`, `_INTERRUPT_MESSAGE_RANGES`, `_ADV_CONFIG_LOCALITY`,
/// `_OPTIMIZE_FOR_COMPLETION_DURING_STARTIO`.
const REDIRECTION: u32 = 1;
const CONCURRENT: u32 = 2;
const RANGES: u32 = 4;
const LOCALITY: u32 = 8;
const DURING_START_IO: u32 = 0x10;

/// `StorPortInitializePerfOpts(extension, query, data)`.
pub(super) fn options(extension: u64, query: bool, at: u64) -> u32 {
    let (Some(port), true) = (of_extension(extension), at != 0) else {
        return status::INVALID_PARAMETER;
    };
    // SAFETY: the miniport's structure, which it vouches for; the older one has this much.
    let [version, size] = unsafe { (at as *const [u32; 2]).read_unaligned() };
    let of_3 = if version >= 3 && size as usize >= size_of::<Performance>() {
        LOCALITY | DURING_START_IO
    } else {
        0
    };
    let supported = REDIRECTION | CONCURRENT | RANGES | of_3;
    let flags = at as *mut u32;
    if query {
        // SAFETY: the same.
        unsafe { flags.add(2).write_unaligned(supported) };
        return status::SUCCESS;
    }
    if size < SIZE_2 {
        return status::INVALID_PARAMETER;
    }
    let bytes = (size as usize).min(size_of::<Performance>());
    let mut data = Performance::default();
    // SAFETY: the same; so many bytes of it are there.
    unsafe { core::ptr::copy_nonoverlapping(at as *const u8, (&raw mut data).cast(), bytes) };
    if data.flags & !supported != 0 || locks::current() != Callback::Initialize {
        return status::UNSUCCESSFUL;
    }
    let granted = port.with(|state| state.granted);
    let ranges = data.flags & RANGES != 0;
    let targets = data.flags & LOCALITY != 0;
    let in_range = !ranges || data.first <= data.last && data.last < granted;
    let whole = !ranges || data.flags & REDIRECTION != 0;
    if !in_range || !whole || targets && (!ranges || data.targets == 0) {
        return status::INVALID_PARAMETER;
    }
    if targets {
        for message in data.first..=data.last {
            let affinity = Affinity::of(1 << processor::of_message(message as usize));
            let n = (message - data.first) as usize;
            // SAFETY: the miniport's array, which it vouches for.
            unsafe {
                (data.targets as *mut Affinity)
                    .add(n)
                    .write_unaligned(affinity)
            };
        }
        // SAFETY: its structure has this field: there is one node.
        unsafe { flags.add(6).write_unaligned(0) };
    }
    let concurrent = data.flags & CONCURRENT != 0;
    port.with(|state| {
        state.channels = ranges.then_some((data.first, data.last));
        state.concurrent = if concurrent { data.channels } else { 0 };
    });
    status::SUCCESS
}

impl Port {
    /// Whether `HwStorStartIo` is called without the StartIo lock: with more than one channel (`StorPortAcquireSpinLock`).
    pub(super) fn has_channels(&self) -> bool {
        self.with(|state| state.concurrent > 1)
    }

    /// What the port driver holds when it calls `HwStorStartIo`. With fewer channels than processors calls come one
    /// after the other, as those of a channel do.
    pub(super) fn start_io_lock(&self) -> Option<Lock> {
        let channels = self.with(|state| state.concurrent) as usize;
        match channels {
            0 | 1 => Some(Lock::StartIo),
            few if few < processor::count() => Some(Lock::Channels),
            _ => None,
        }
    }
}

/// `STARTIO_PERFORMANCE_PARAMETERS`.
#[repr(C)]
struct StartIoParameters {
    version: u32,
    size: u32,
    message: u32,
    channel: u32,
}

/// `StorPortGetStartIoPerfParams(extension, srb, parameters)`: the message on which the request is to
/// complete: one that goes to the processor that asks, if there is one. On one processor requests are taken for those of
/// one processor after the other.
pub(super) fn start_io_parameters(extension: u64, parameters: u64) -> u32 {
    let (Some(port), true) = (of_extension(extension), parameters != 0) else {
        return status::INVALID_PARAMETER;
    };
    let Some((first, turn, count)) = port.with(|state| {
        let (first, last) = state.channels?;
        state.turn = state.turn.wrapping_add(1);
        Some((first, state.turn.wrapping_sub(1), last - first + 1))
    }) else {
        return status::UNSUCCESSFUL;
    };
    // SAFETY: the miniport's structure, which it vouches for.
    let parameters = unsafe { &mut *(parameters as *mut StartIoParameters) };
    let own = |message: &u32| processor::of_message(*message as usize) == processor::number();
    let of_this = (first..first + count).filter(own).count() as u32;
    let message = (first..first + count)
        .filter(own)
        .nth((turn % of_this.max(1)) as usize);
    parameters.message = message.unwrap_or(first + turn % count);
    let channels = port.with(|state| state.concurrent);
    parameters.channel = processor::number() as u32 % channels.max(1);
    status::SUCCESS
}
