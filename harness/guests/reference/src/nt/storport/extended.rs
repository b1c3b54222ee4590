//! `StorPortExtendedFunction`: the other half of what a miniport asks for.

use super::abi::{MessageInformation, function as kind, stor_status as status};
use super::dump;
use super::entry::is_dumping;
use super::locks;
use super::names;
use super::port::{Port, of_extension};
use super::processors;
use crate::dbg_print;
use crate::hal::{apic, processor, time, vm};
use crate::nt::lent;

/// `StorPortExtendedFunction`. Of the arguments behind the extension there are as many as the code says.
pub(super) extern "win64" fn extended_function(
    code: u32,
    extension: u64,
    a: u64,
    b: u64,
    c: u64,
    _d: u64,
) -> u32 {
    if is_dumping() {
        if code == kind::QUERY_PERFORMANCE_COUNTER {
            dump::not_now(extension, "the time is asked for");
        }
        return status::NOT_IMPLEMENTED;
    }
    match code {
        kind::ALLOCATE_POOL => allocate_pool(extension, a as u32, c),
        // Pool that is given back stays away: whoever still uses it is caught.
        kind::FREE_POOL => status::SUCCESS,
        kind::MESSAGE_INFORMATION => message_information(extension, a as u32, b),
        kind::SET_UNIT_ATTRIBUTES | kind::LOG_SYSTEM_EVENT => status::SUCCESS,
        kind::PERF_OPTIONS => performance(extension, a as u8 != 0, b),
        kind::START_IO_PERF_PARAMETERS => start_io_parameters(extension, b),
        kind::ACQUIRE_MSI_SPIN_LOCK => locks::acquire_message(extension, a as u32, b),
        kind::RELEASE_MSI_SPIN_LOCK => locks::release_message(extension, a as u32, b as u8),
        kind::QUERY_PERFORMANCE_COUNTER => performance_counter(a, b),
        kind::PROCESSOR_NUMBER => processors::number(a),
        kind::GROUP_COUNT => processors::put(a, 1u16),
        kind::NODE_COUNT => processors::put(a, 1u32),
        kind::HIGHEST_NODE => processors::put(a, 0u32),
        kind::GROUP_AFFINITY | kind::NODE_AFFINITY => processors::affinity(a as u32, b),
        kind::INDEX_FROM_NUMBER => processors::index_of(a, b),
        kind::PROCESSOR_INDEX => processors::put(a, processor::number() as u32),
        kind::ACQUIRE_SPIN_LOCK => locks::acquire_ex(extension, a as u32, b, c),
        other => {
            let name = names::of_function(other);
            dbg_print!(
                "NT: StorPortExtendedFunction({other}), {name}, is not modelled: STOR_STATUS_NOT_IMPLEMENTED"
            );
            status::NOT_IMPLEMENTED
        }
    }
}

/// `StorPortAllocatePool(extension, bytes, tag, pointer)`.
fn allocate_pool(extension: u64, bytes: u32, pointer: u64) -> u32 {
    if pointer == 0 {
        return status::INVALID_PARAMETER;
    }
    match vm::allocate(bytes.into()) {
        Some(memory) => {
            let device = of_extension(extension).map_or(0, Port::number);
            lent::lend(device, "a piece of pool", memory, bytes.into());
            // SAFETY: the miniport's pointer, which it vouches for.
            unsafe { (pointer as *mut u64).write_unaligned(memory) };
            status::SUCCESS
        }
        None => status::INSUFFICIENT_RESOURCES,
    }
}

/// `PERF_CONFIGURATION_DATA` up to what is used of it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Performance {
    version: u32,
    size: u32,
    flags: u32,
    channels: u32,
    first: u32,
    last: u32,
}

/// `STOR_PERF_DPC_REDIRECTION`, `_CONCURRENT_CHANNELS`, `_INTERRUPT_MESSAGE_RANGES`,
/// `_OPTIMIZE_FOR_COMPLETION_DURING_STARTIO`.
const REDIRECTION: u32 = 1;
const CONCURRENT: u32 = 2;
const RANGES: u32 = 4;
const DURING_START_IO: u32 = 0x10;

/// `StorPortInitializePerfOpts(extension, query, data)`. Channels are never
/// concurrent, which is allowed.
fn performance(extension: u64, query: bool, data: u64) -> u32 {
    let (Some(port), true) = (of_extension(extension), data != 0) else {
        return status::INVALID_PARAMETER;
    };
    // SAFETY: the miniport's structure, which it vouches for.
    let data = unsafe { &mut *(data as *mut Performance) };
    let supported = REDIRECTION | CONCURRENT | RANGES | DURING_START_IO;
    if query {
        data.flags = supported;
        return status::SUCCESS;
    }
    let granted = port.with(|state| state.granted);
    let ranges = data.flags & RANGES != 0;
    if data.flags & !supported != 0 || ranges && (data.first > data.last || data.last >= granted) {
        return status::INVALID_PARAMETER;
    }
    let channels = (data.flags & REDIRECTION != 0 && ranges).then_some((data.first, data.last));
    port.with(|state| state.channels = channels);
    status::SUCCESS
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
fn start_io_parameters(extension: u64, parameters: u64) -> u32 {
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
    parameters.channel = parameters.message - first;
    status::SUCCESS
}

/// `StorPortQueryPerformanceCounter(extension, frequency, counter)`: microseconds since boot.
fn performance_counter(frequency: u64, counter: u64) -> u32 {
    for (at, value) in [(frequency, 1_000_000), (counter, time::now())] {
        if at != 0 {
            // SAFETY: the miniport's pointers, which it vouches for.
            unsafe { (at as *mut u64).write_unaligned(value) };
        }
    }
    status::SUCCESS
}

/// `StorPortGetMSIInfo(extension, message, information)`: only messages that were granted have some.
fn message_information(extension: u64, message: u32, at: u64) -> u32 {
    let Some(port) = of_extension(extension) else {
        return status::INVALID_PARAMETER;
    };
    let granted = port.with(|state| state.granted);
    if message >= granted || at == 0 {
        return status::UNSUCCESSFUL;
    }
    let (level, vector, processor) = port.message(message);
    let information = MessageInformation {
        id: message,
        data: vector,
        address: apic::message_address(processor),
        vector,
        level: level.into(),
        mode: 1, // Latched
    };
    // SAFETY: the miniport's pointer, which it vouches for.
    unsafe { (at as *mut MessageInformation).write(information) };
    status::SUCCESS
}
