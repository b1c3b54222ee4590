//! What `storport.sys` exports.

use super::abi::{HwInitializationData, OLD_INITIALIZATION_SIZE};
use super::entry::{is_dumping, registered};
use super::port::{Port, of_extension};
use super::srb::Address;
use super::{extended, locks, memory, notify, registry};
use crate::dbg_print;
use crate::hal::{cpu, time};
use crate::nt::checks::{self, Check};
use crate::nt::dispatch;
use crate::nt::kernel::{self, Routine, complete, find};
use crate::nt::status::NtStatus;
use crate::nt::surface;

/// In microseconds.
const MILLISECOND: u32 = 1000;

static ROUTINES: &[Routine] = &[
    Routine::new(
        "StorPortAllocateRegistryBuffer",
        registry::allocate as *const (),
    ),
    Routine::new("StorPortBusy", busy as *const ()),
    Routine::new("StorPortCompleteRequest", complete_all as *const ()),
    Routine::new("StorPortDebugPrint", debug_print as *const ()),
    Routine::new("StorPortDeviceBusy", device_busy as *const ()),
    Routine::new("StorPortDeviceReady", device_ready as *const ()),
    Routine::new(
        "StorPortExtendedFunction",
        extended::extended_function as *const (),
    ),
    Routine::new("StorPortFreeDeviceBase", memory::free as *const ()),
    Routine::new("StorPortFreeRegistryBuffer", registry::free as *const ()),
    Routine::new("StorPortGetBusData", bus_data as *const ()),
    Routine::new("StorPortGetDeviceBase", memory::device_base as *const ()),
    Routine::new(
        "StorPortGetPhysicalAddress",
        memory::physical_address as *const (),
    ),
    Routine::new(
        "StorPortGetScatterGatherList",
        scatter_gather_list as *const (),
    ),
    Routine::new(
        "StorPortGetUncachedExtension",
        memory::uncached_extension as *const (),
    ),
    Routine::new("StorPortInitialize", initialize as *const ()),
    Routine::new("StorPortLogError", log_error as *const ()),
    Routine::new("StorPortMoveMemory", move_memory as *const ()),
    Routine::new("StorPortNotification", notify::notification as *const ()),
    Routine::new("StorPortPause", pause as *const ()),
    Routine::new("StorPortPauseDevice", pause_device as *const ()),
    Routine::new("StorPortReadPortUchar", read_port8 as *const ()),
    Routine::new("StorPortReadPortUlong", read_port32 as *const ()),
    Routine::new("StorPortReadPortUshort", read_port16 as *const ()),
    Routine::new("StorPortReadRegisterUchar", read::<u8> as *const ()),
    Routine::new("StorPortReadRegisterUlong", read::<u32> as *const ()),
    Routine::new("StorPortReadRegisterUlong64", read::<u64> as *const ()),
    Routine::new("StorPortReadRegisterUshort", read::<u16> as *const ()),
    Routine::new("StorPortReady", resume as *const ()),
    Routine::new("StorPortRegistryRead", registry::read as *const ()),
    Routine::new("StorPortRegistryWrite", registry::write as *const ()),
    Routine::new("StorPortResume", resume as *const ()),
    Routine::new("StorPortResumeDevice", device_ready as *const ()),
    Routine::new(
        "StorPortSetDeviceQueueDepth",
        set_device_queue_depth as *const (),
    ),
    Routine::new("StorPortStallExecution", stall_execution as *const ()),
    Routine::new("StorPortSynchronizeAccess", synchronize as *const ()),
    Routine::new("StorPortWritePortUchar", write_port8 as *const ()),
    Routine::new("StorPortWritePortUlong", write_port32 as *const ()),
    Routine::new("StorPortWritePortUshort", write_port16 as *const ()),
    Routine::new("StorPortWriteRegisterUchar", write::<u8> as *const ()),
    Routine::new("StorPortWriteRegisterUlong", write::<u32> as *const ()),
    Routine::new("StorPortWriteRegisterUlong64", write::<u64> as *const ()),
    Routine::new("StorPortWriteRegisterUshort", write::<u16> as *const ()),
];

const _: () = complete(ROUTINES, surface::STORPORT);

/// The address of a routine of `storport.sys`.
pub fn routine(dll: &str, name: &str) -> Option<u64> {
    dll.eq_ignore_ascii_case("storport.sys")
        .then(|| find(ROUTINES, name))
        .flatten()
}

/// `StorPortInitialize`: the structure is as long as its first field says.
extern "win64" fn initialize(driver: u64, path: u64, data: u64, _context: u64) -> u32 {
    // The dump driver gives nothing, and takes nothing.
    if data == 0 || (driver == 0 || path == 0) && !is_dumping() {
        return NtStatus::INVALID_PARAMETER.0;
    }
    // SAFETY: the miniport vouches for the structure and its size.
    let size = unsafe { (data as *const u32).read() };
    if size < OLD_INITIALIZATION_SIZE {
        dbg_print!("NT: StorPortInitialize with a structure of {size} bytes");
        return NtStatus::REVISION_MISMATCH.0;
    }
    let mut copy = HwInitializationData::default();
    let length = (size as usize).min(size_of::<HwInitializationData>());
    // SAFETY: both have this many bytes; the copy is numbers throughout.
    unsafe {
        core::ptr::copy_nonoverlapping(data as *const u8, (&raw mut copy).cast(), length);
    }
    let wanted = [
        copy.initialize,
        copy.start_io,
        copy.interrupt,
        copy.find_adapter,
        copy.reset_bus,
    ];
    if wanted.contains(&0) {
        dbg_print!("NT: StorPortInitialize without a routine that every miniport has to have");
        return NtStatus::INVALID_PARAMETER.0;
    }
    registered(copy);
    NtStatus::SUCCESS.0
}

/// `StorPortGetBusData` of `PCIConfiguration`: configuration space from its beginning, as many bytes as
/// there is room for. A virtio device's window has its data there too (virtio 1.3, 4.1.4.9), and reading
/// that would be an access to the device that nobody meant: those bytes are 0.
extern "win64" fn bus_data(
    extension: u64,
    kind: u32,
    _bus: u32,
    _slot: u32,
    buffer: u64,
    length: u32,
) -> u32 {
    const PCI_CONFIGURATION: u32 = 4;
    const SPACE: u32 = 256;
    let function = of_extension(extension).and_then(|port| port.with(|state| state.function));
    let (Some(function), PCI_CONFIGURATION) = (function, kind) else {
        return 0;
    };
    let length = length.min(SPACE);
    let windows = function.windows();
    for at in (0..length).step_by(4) {
        let bytes = if windows.contains(&(at as u16)) {
            [0; 4]
        } else {
            function.read32(at as u16).to_le_bytes()
        };
        for (n, byte) in bytes.iter().take((length - at) as usize).enumerate() {
            // SAFETY: the miniport vouches for its buffer.
            unsafe { (buffer as *mut u8).add(at as usize + n).write(*byte) };
        }
    }
    length
}

/// `StorPortGetScatterGatherList`: NULL for a request without data.
extern "win64" fn scatter_gather_list(extension: u64, srb: u64) -> u64 {
    of_extension(extension).map_or(0, |port| port.list_of(srb))
}

/// `StorPortBusy`: nothing is started until so many requests are completed.
extern "win64" fn busy(extension: u64, requests: u32) -> u8 {
    with_port(extension, |port| port.with(|state| state.busy = requests))
}

/// `StorPortDeviceBusy`: nothing is started for any unit.
extern "win64" fn device_busy(
    extension: u64,
    _path: u8,
    _target: u8,
    _lun: u8,
    requests: u32,
) -> u8 {
    busy(extension, requests)
}

/// `StorPortDeviceReady`, `StorPortResumeDevice`.
extern "win64" fn device_ready(extension: u64, _path: u8, _target: u8, _lun: u8) -> u8 {
    resume(extension)
}

/// `StorPortPauseDevice`.
extern "win64" fn pause_device(
    extension: u64,
    _path: u8,
    _target: u8,
    _lun: u8,
    _seconds: u32,
) -> u8 {
    pause(extension, 0)
}

/// `StorPortCompleteRequest`: all that the miniport has of a unit, a target or a bus, with this status.
extern "win64" fn complete_all(extension: u64, path: u8, target: u8, unit: u8, status: u8) {
    let of = Address { path, target, unit };
    with_port(extension, |port| port.complete_all(of, status));
}

/// `StorPortDebugPrint(level, format, …)`.
extern "win64" fn debug_print(_level: u32, format: u64, a: u64, b: u64, c: u64, d: u64) {
    kernel::print(format, &[a, b, c, d]);
}

/// `StorPortLogError`: an entry of the event log.
extern "win64" fn log_error(
    _extension: u64,
    _srb: u64,
    _path: u8,
    _target: u8,
    _lun: u8,
    code: u32,
    id: u32,
) {
    dbg_print!("NT: the miniport logs error {code:#x}, {id:#x}");
}

/// `StorPortMoveMemory`.
extern "win64" fn move_memory(to: u64, from: u64, length: u32) {
    kernel::memory::move_memory(to, from, length.into());
}

/// `StorPortSynchronizeAccess`: the routine is called under the interrupt lock.
extern "win64" fn synchronize(extension: u64, routine: u64, context: u64) -> u8 {
    let port = of_extension(extension);
    port.map_or(0, |port| port.synchronized(routine, context))
}

fn with_port(extension: u64, act: impl FnOnce(&'static Port)) -> u8 {
    let port = of_extension(extension);
    port.map_or(0, |port| {
        act(port);
        1
    })
}

/// `StorPortPause`: nothing is started until `StorPortResume`.
extern "win64" fn pause(extension: u64, _seconds: u32) -> u8 {
    pause_or_go_on(extension, true)
}

/// `StorPortResume`.
extern "win64" fn resume(extension: u64) -> u8 {
    pause_or_go_on(extension, false)
}

fn pause_or_go_on(extension: u64, paused: bool) -> u8 {
    let port = of_extension(extension);
    port.map_or(0, |port| {
        port.with(|state| {
            state.paused = paused;
            state.busy = 0;
        });
        dispatch::request_round();
        1
    })
}

/// `StorPortSetDeviceQueueDepth`.
extern "win64" fn set_device_queue_depth(
    extension: u64,
    path: u8,
    target: u8,
    unit: u8,
    depth: u32,
) -> u8 {
    let unit = Address { path, target, unit };
    let is_set = (1..=254).contains(&depth);
    if let (true, Some(port)) = (is_set, of_extension(extension)) {
        port.set_depth(unit, depth);
    }
    is_set.into()
}

/// `StorPortStallExecution`: the processor is kept busy, for less than a millisecond. It has no device
/// extension, so whoever calls is the device that is being called.
extern "win64" fn stall_execution(microseconds: u32) {
    checks::check(
        locks::current_device(),
        Check::Stall,
        microseconds < MILLISECOND,
        format_args!("StorPortStallExecution is to wait for a millisecond or more"),
    );
    let end = time::now() + u64::from(microseconds);
    while time::now() < end {}
}

/// `StorPortReadRegisterUchar` and the others: one access of that width.
extern "win64" fn read<T: Copy>(_extension: u64, register: u64) -> T {
    // SAFETY: an address that `StorPortGetDeviceBase` gave; else it is a page fault, as it should be.
    unsafe { (register as *const T).read_volatile() }
}

extern "win64" fn read_port8(_extension: u64, port: u64) -> u8 {
    cpu::in8(port as u16)
}

extern "win64" fn read_port16(_extension: u64, port: u64) -> u16 {
    cpu::in16(port as u16)
}

extern "win64" fn read_port32(_extension: u64, port: u64) -> u32 {
    cpu::in32(port as u16)
}

extern "win64" fn write_port8(_extension: u64, port: u64, value: u8) {
    cpu::out8(port as u16, value);
}

extern "win64" fn write_port16(_extension: u64, port: u64, value: u16) {
    cpu::out16(port as u16, value);
}

extern "win64" fn write_port32(_extension: u64, port: u64, value: u32) {
    cpu::out32(port as u16, value);
}

/// `StorPortWriteRegisterUchar` and the others.
extern "win64" fn write<T: Copy>(_extension: u64, register: u64, value: T) {
    // SAFETY: as for `read`.
    unsafe { (register as *mut T).write_volatile(value) }
}
