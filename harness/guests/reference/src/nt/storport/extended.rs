//! `StorPortExtendedFunction`: the other half of what a miniport asks for.

use super::abi::{MessageInformation, function as kind, stor_status as status};
use super::port::of_extension;
use crate::dbg_print;
use crate::hal::{apic, vm};

/// `StorPortExtendedFunction`. Of the arguments behind the extension there are as many as the code says.
pub(super) extern "win64" fn extended_function(
    code: u32,
    extension: u64,
    a: u64,
    b: u64,
    c: u64,
    _d: u64,
) -> u32 {
    match code {
        kind::ALLOCATE_POOL => allocate_pool(a as u32, c),
        // Pool that is given back stays away: whoever still uses it is caught.
        kind::FREE_POOL => status::SUCCESS,
        kind::MESSAGE_INFORMATION => message_information(extension, a as u32, b),
        kind::SET_UNIT_ATTRIBUTES | kind::LOG_SYSTEM_EVENT => status::SUCCESS,
        kind::PERF_OPTIONS
        | kind::START_IO_PERF_PARAMETERS
        | kind::ACQUIRE_MSI_SPIN_LOCK
        | kind::RELEASE_MSI_SPIN_LOCK
        | kind::QUERY_PERFORMANCE_COUNTER => status::NOT_IMPLEMENTED,
        other => {
            dbg_print!(
                "NT: StorPortExtendedFunction({other}) is not modelled: STOR_STATUS_NOT_IMPLEMENTED"
            );
            status::NOT_IMPLEMENTED
        }
    }
}

/// `StorPortAllocatePool(extension, bytes, tag, pointer)`.
fn allocate_pool(bytes: u32, pointer: u64) -> u32 {
    if pointer == 0 {
        return status::INVALID_PARAMETER;
    }
    match vm::allocate(bytes.into()) {
        Some(memory) => {
            // SAFETY: the miniport's pointer, which it vouches for.
            unsafe { (pointer as *mut u64).write_unaligned(memory) };
            status::SUCCESS
        }
        None => status::INSUFFICIENT_RESOURCES,
    }
}

/// `StorPortGetMSIInfo(extension, message, information)`: only messages that were granted have some.
fn message_information(extension: u64, message: u32, at: u64) -> u32 {
    let Some(port) = of_extension(extension) else {
        return status::INVALID_PARAMETER;
    };
    let (granted, (level, vector)) = port.with(|state| (state.granted, state.levels));
    if message >= granted || at == 0 {
        return status::UNSUCCESSFUL;
    }
    let information = MessageInformation {
        id: message,
        data: vector,
        address: apic::MESSAGE_ADDRESS,
        vector,
        level: level.into(),
        mode: 1, // Latched
    };
    // SAFETY: the miniport's pointer, which it vouches for.
    unsafe { (at as *mut MessageInformation).write(information) };
    status::SUCCESS
}
