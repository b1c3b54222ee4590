//! `StorPortExtendedFunction`: the other half of what a miniport asks for.

use super::abi::{MessageInformation, function as kind, stor_status as status};
use super::dump;
use super::entry::is_dumping;
use super::locks;
use super::names;
use super::performance;
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
        kind::PERF_OPTIONS => performance::options(extension, a as u8 != 0, b),
        kind::START_IO_PERF_PARAMETERS => performance::start_io_parameters(extension, b),
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
