//! Memory: physical addresses, the common buffer, registers, pool.

use super::dump;
use super::port::{Port, of_extension};
use crate::dbg_print;
use crate::hal::pci::Bar;
use crate::hal::vm::{self, PAGE, Rights};
use crate::nt::checks::{self, Check};
use crate::nt::lent;

/// How many pages are looked at for memory that lies together.
const TOGETHER: u64 = 64;

/// `StorPortGetPhysicalAddress`: where `address` is for the device, and how many bytes lie together from
/// there on.
pub(super) extern "win64" fn physical_address(
    extension: u64,
    _srb: u64,
    address: u64,
    length: u64,
) -> u64 {
    let device = of_extension(extension).map_or(0, Port::number);
    let Some(physical) = vm::physical(address) else {
        let text = format_args!("StorPortGetPhysicalAddress of an address that is not mapped");
        checks::broken(device, Check::Address, text);
        put(length, 0);
        return 0;
    };
    checks::kept(device, Check::Address);
    let first = PAGE - address % PAGE;
    let is_next =
        |n: &u64| vm::physical(address + first + n * PAGE) == Some(physical + first + n * PAGE);
    let pages = (0..TOGETHER).take_while(is_next).count() as u64;
    put(length, (first + pages * PAGE) as u32);
    physical
}

/// Writes a number for the miniport, if it wants one.
fn put(at: u64, value: u32) {
    if at != 0 {
        // SAFETY: the miniport's pointer, which a miniport vouches for.
        unsafe { (at as *mut u32).write_unaligned(value) };
    }
}

/// `StorPortGetUncachedExtension`: memory that lies together, once; whoever asks again gets the same.
pub(super) extern "win64" fn uncached_extension(
    extension: u64,
    _configuration: u64,
    bytes: u32,
) -> u64 {
    let Some(port) = of_extension(extension) else {
        return 0;
    };
    let (known, size) = port.with(|state| state.uncached);
    if known != 0 {
        if bytes > size {
            dbg_print!("NT: StorPortGetUncachedExtension of {bytes} bytes, after one of {size}");
            return 0;
        }
        return known;
    }
    dump::limit(port, bytes);
    let memory = vm::allocate_pages(u64::from(bytes).div_ceil(PAGE)).unwrap_or(0);
    if memory != 0 {
        // To the end of its last page: what is behind that is not there.
        let length = u64::from(bytes).next_multiple_of(PAGE);
        lent::lend(port.number(), "the common buffer", memory, length);
    }
    port.with(|state| state.uncached = (memory, bytes));
    memory
}

/// `StorPortFreeDeviceBase`: what is given back stays away, so that whoever
/// still uses it finds what it left.
pub(super) extern "win64" fn free(_extension: u64, _address: u64) {}

/// `StorPortGetDeviceBase`: registers, which have to be the device's. A port is its own address.
pub(super) extern "win64" fn device_base(
    extension: u64,
    _interface: u32,
    _bus: u32,
    start: u64,
    length: u32,
    io_space: u8,
) -> u64 {
    let bars = of_extension(extension).map(|port| port.with(|state| state.bars));
    let end = start.saturating_add(length.into());
    let ports = io_space != 0;
    let inside = |bar: &Bar| {
        bar.ports == ports && bar.start <= start && end <= bar.start + u64::from(bar.length)
    };
    if !bars.iter().flatten().any(inside) {
        let text = format_args!("StorPortGetDeviceBase of memory that is not the device's");
        let device = of_extension(extension).map_or(0, Port::number);
        checks::broken(device, Check::Address, text);
        return 0;
    }
    if ports {
        return start;
    }
    let address = vm::map(start, length.into(), Rights::Registers).unwrap_or(0);
    if let Some(port) = of_extension(extension) {
        port.registers(address, length, start);
    }
    address
}
