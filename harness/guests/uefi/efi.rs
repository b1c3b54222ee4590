//! As much of UEFI's tables and protocols as it takes (UEFI 2.10).

use core::ffi::c_void;
use core::ptr::null_mut;

use crate::port::hush;

/// A handle of the firmware.
pub type Handle = *mut c_void;
/// What a service answers; 0 is success, the highest bit an error.
pub type Status = usize;
/// A GUID as it lies in memory.
pub type Guid = (u32, u16, u16, [u8; 8]);

const PCI_IO: Guid = (
    0x4cf5_b200,
    0x68b8,
    0x4ca5,
    [0x9e, 0xec, 0xb2, 0x3e, 0x3f, 0x50, 0x02, 0x9a],
);
const RANDOM: Guid = (
    0x3152_bca5,
    0xeade,
    0x433d,
    [0x86, 0x2e, 0xc0, 0x1c, 0xdc, 0x29, 0x1f, 0x44],
);

/// The system table (4.3) up to what is used of it.
#[repr(C)]
pub struct SystemTable {
    header: [u64; 3],
    vendor: *const u16,
    revision: u32,
    console: [usize; 6],
    runtime: *const c_void,
    boot: *const BootServices,
}

/// The boot services (4.4) up to what is used of them; what is not used is a word.
#[repr(C)]
struct BootServices {
    header: [u64; 3],
    raise_tpl: usize,
    restore_tpl: usize,
    allocate_pages: extern "efiapi" fn(u32, u32, usize, *mut u64) -> Status,
    memory: [usize; 2],
    allocate_pool: usize,
    free_pool: extern "efiapi" fn(*mut c_void) -> Status,
    events: [usize; 6],
    protocols: [usize; 3],
    handle_protocol: extern "efiapi" fn(Handle, *const Guid, *mut *mut c_void) -> Status,
    reserved: usize,
    locating: [usize; 4],
    images: [usize; 5],
    count: usize,
    stall: extern "efiapi" fn(usize) -> Status,
    set_watchdog_timer: extern "efiapi" fn(usize, u64, usize, *const u16) -> Status,
    connect: extern "efiapi" fn(Handle, *const Handle, *const c_void, bool) -> Status,
    disconnect: usize,
    opening: [usize; 4],
    locate_handles: extern "efiapi" fn(
        u32,
        *const Guid,
        *const c_void,
        *mut usize,
        *mut *mut Handle,
    ) -> Status,
}

/// `EFI_PCI_IO_PROTOCOL` (14.4).
#[repr(C)]
struct PciIo {
    polls: [usize; 2],
    memory: [usize; 2],
    io: [usize; 2],
    read: extern "efiapi" fn(*const Self, u32, u32, usize, *mut c_void) -> Status,
    write: usize,
    others: [usize; 6],
    location:
        extern "efiapi" fn(*const Self, *mut usize, *mut usize, *mut usize, *mut usize) -> Status,
}

/// `EFI_RNG_PROTOCOL` (37.5).
#[repr(C)]
pub struct Random {
    info: usize,
    get: extern "efiapi" fn(*const Self, *const Guid, usize, *mut u8) -> Status,
}

/// The firmware's boot services.
#[derive(Clone, Copy)]
pub struct Boot(*const BootServices);

impl Boot {
    /// Those that a system table names.
    ///
    /// # Safety
    /// The table is the firmware's.
    pub unsafe fn of(system: *const SystemTable) -> Self {
        // SAFETY: as the caller says.
        Self(unsafe { (*system).boot })
    }

    fn services(&self) -> &BootServices {
        // SAFETY: the firmware's table stays as long as its services are not left.
        unsafe { &*self.0 }
    }

    /// No watchdog ends the program.
    pub fn stay(&self) {
        called((self.services().set_watchdog_timer)(0, 0, 0, null_mut()));
    }

    /// Waits for so many microseconds.
    pub fn wait(&self, time: usize) {
        called((self.services().stall)(time));
    }

    /// So many bytes at the beginning of a page, which are nobody else's.
    pub fn pages(&self, bytes: usize) -> Option<&'static mut [u8]> {
        const ANY: u32 = 0;
        const LOADER_DATA: u32 = 2;
        const PAGE: usize = 4096;
        let mut address = 0;
        let status = (self.services().allocate_pages)(ANY, LOADER_DATA, bytes.div_ceil(PAGE), &mut address);
        // SAFETY: the firmware has given these pages to this program.
        called(status)
            .then(|| unsafe { core::slice::from_raw_parts_mut(address as *mut u8, bytes) })
    }

    /// A protocol of a handle.
    pub fn protocol<T>(&self, handle: Handle, guid: &Guid) -> Option<*mut T> {
        let mut found = null_mut();
        let status = (self.services().handle_protocol)(handle, guid, &mut found);
        (called(status) && !found.is_null()).then_some(found.cast())
    }

    /// What `look` finds first among the handles that have a protocol.
    pub fn first<T, U>(
        &self,
        guid: &Guid,
        mut look: impl FnMut(Handle, *mut T) -> Option<U>,
    ) -> Option<U> {
        const BY_PROTOCOL: u32 = 2;
        let (mut count, mut handles) = (0, null_mut());
        let services = self.services();
        let status =
            (services.locate_handles)(BY_PROTOCOL, guid, null_mut(), &mut count, &mut handles);
        if !called(status) {
            return None;
        }
        // SAFETY: the firmware says that so many handles lie there.
        let each = unsafe { core::slice::from_raw_parts(handles, count) };
        let found = each
            .iter()
            .find_map(|handle| look(*handle, self.protocol(*handle, guid)?));
        called((services.free_pool)(handles.cast()));
        found
    }

    /// The function in that slot of bus 0, or the first behind a bridge.
    pub fn function(&self, slot: usize) -> Option<Handle> {
        self.first(&PCI_IO, |handle, pci: *mut PciIo| {
            let [mut segment, mut bus, mut device, mut function] = [0; 4];
            // SAFETY: the protocol is the firmware's.
            let location = unsafe { (*pci).location };
            let status = location(pci, &mut segment, &mut bus, &mut device, &mut function);
            (called(status) && (bus > 0 || device == slot)).then_some(handle)
        })
    }

    /// Whether a function is a network adapter's.
    pub fn is_network(&self, handle: Handle) -> bool {
        const WORD: u32 = 2;
        const CLASS_AND_REVISION: u32 = 8;
        const NETWORK: u32 = 2;
        let Some(pci) = self.protocol::<PciIo>(handle, &PCI_IO) else {
            return false;
        };
        let mut class: u32 = 0;
        // SAFETY: the protocol is the firmware's.
        let read = unsafe { (*pci).read };
        let to = (&raw mut class).cast();
        called(read(pci, WORD, CLASS_AND_REVISION, 1, to)) && class >> 24 == NETWORK
    }

    /// Has the firmware's drivers take a device, and with `all` what comes of it.
    pub fn connect(&self, handle: Handle, all: bool) {
        called((self.services().connect)(
            handle,
            null_mut(),
            null_mut(),
            all,
        ));
    }

    /// The generator of random numbers, if there is one.
    pub fn random(&self) -> Option<*mut Random> {
        self.first(&RANDOM, |_, random: *mut Random| Some(random))
    }

    /// Reads so many random bytes, `size` at a time. All zeros are none.
    pub fn entropy(&self, mut bytes: u64, size: u64) -> bool {
        let mut buffer = [0; 4096];
        let size = size.clamp(1, buffer.len() as u64);
        let Some(random) = self.random() else {
            return false;
        };
        // SAFETY: the protocol is the firmware's.
        let get = unsafe { (*random).get };
        while bytes > 0 {
            let now = bytes.min(size) as usize;
            if !called(get(random, null_mut(), now, buffer.as_mut_ptr())) {
                return false;
            }
            bytes -= now as u64;
        }
        true
    }
}

/// The firmware has come back, and may have let interrupts in; whether it did what was asked.
pub fn called(status: Status) -> bool {
    hush();
    status == 0
}
