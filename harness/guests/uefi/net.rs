//! Frames, through `EFI_SIMPLE_NETWORK_PROTOCOL` (UEFI 2.10, 24.1).

use core::ffi::c_void;
use core::ptr::null_mut;

use crate::efi::{Boot, Guid, Status, called};

const NETWORK: Guid = (
    0xa198_32b9,
    0xac25,
    0x11d3,
    [0x9a, 0x2d, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d],
);
/// Bytes of the largest frame, and of what stands before its data: two addresses and the kind.
const MOST: usize = 1514;
const HEADER: usize = 14;
/// A kind of frames that nobody else sends (IEEE 802, local experiments).
const KIND: [u8; 2] = [0x88, 0xb5];
/// How long a frame may be on its way, in looks of so many microseconds.
const LOOKS: u32 = 20_000;
const LOOK: usize = 50;

#[repr(C)]
struct Network {
    revision: u64,
    start: Plain,
    stop: Plain,
    initialize: extern "efiapi" fn(*const Self, usize, usize) -> Status,
    reset: usize,
    shutdown: Plain,
    filters:
        extern "efiapi" fn(*const Self, u32, u32, bool, usize, *const c_void) -> Status,
    others: [usize; 4],
    status: extern "efiapi" fn(*const Self, *mut u32, *mut *mut c_void) -> Status,
    transmit: extern "efiapi" fn(
        *const Self,
        usize,
        usize,
        *const u8,
        *const c_void,
        *const c_void,
        *const c_void,
    ) -> Status,
    receive: extern "efiapi" fn(
        *const Self,
        *mut usize,
        *mut usize,
        *mut u8,
        *mut c_void,
        *mut c_void,
        *mut c_void,
    ) -> Status,
    event: usize,
    mode: *const Mode,
}

type Plain = extern "efiapi" fn(*const Network) -> Status;

/// `EFI_SIMPLE_NETWORK_MODE` up to what is used of it.
#[repr(C)]
struct Mode {
    words: [u32; 8],
    filters: [u8; 16 * 32],
    address: [u8; 32],
}

/// An adapter that runs.
pub struct Net {
    boot: Boot,
    network: *const Network,
}

impl Net {
    /// Starts the first adapter, which takes frames to its own address and to all.
    pub fn open(boot: &Boot) -> Option<Self> {
        const UNICAST: u32 = 1;
        const BROADCAST: u32 = 4;
        let network = boot.first(&NETWORK, |_, network: *mut Network| Some(network))?;
        let net = Self {
            boot: *boot,
            network,
        };
        let own = net.own();
        let is_up = called((own.start)(network)) && called((own.initialize)(network, 0, 0));
        // An adapter without filters takes everything.
        called((own.filters)(network, UNICAST | BROADCAST, 0, false, 0, null_mut()));
        is_up.then_some(net)
    }

    fn own(&self) -> &Network {
        // SAFETY: the protocol is the firmware's.
        unsafe { &*self.network }
    }

    /// Whether each frame to the adapter's own address comes back as it was sent.
    pub fn frames(&self, count: u64, size: u64) -> bool {
        let size = (size as usize).clamp(HEADER, MOST);
        let (mut frame, mut found) = ([0; MOST], [0; MOST]);
        // SAFETY: the protocol names its mode.
        let address = unsafe { (*self.own().mode).address };
        frame[..6].copy_from_slice(&address[..6]);
        frame[6..12].copy_from_slice(&address[..6]);
        frame[12..HEADER].copy_from_slice(&KIND);
        (0..count).all(|n| {
            for (at, place) in frame[HEADER..size].iter_mut().enumerate() {
                *place = (n as u8).wrapping_add(at as u8);
            }
            self.send(&frame[..size]) && self.take(&frame[..size], &mut found)
        })
    }

    fn send(&self, frame: &[u8]) -> bool {
        let (own, none) = (self.own(), null_mut());
        let bytes = frame.as_ptr();
        if !called((own.transmit)(self.network, 0, frame.len(), bytes, none, none, none)) {
            return false;
        }
        (0..LOOKS).any(|_| {
            let mut sent = null_mut();
            let looked = called((own.status)(self.network, null_mut(), &mut sent));
            let is_sent = looked && core::ptr::eq(sent.cast(), bytes);
            if !is_sent {
                self.boot.wait(LOOK);
            }
            is_sent
        })
    }

    fn take(&self, sent: &[u8], found: &mut [u8; MOST]) -> bool {
        let (own, none) = (self.own(), null_mut());
        (0..LOOKS).any(|_| {
            let mut length = found.len();
            let to = found.as_mut_ptr();
            let is_there = called((own.receive)(
                self.network,
                null_mut(),
                &mut length,
                to,
                none,
                none,
                none,
            ));
            if !is_there {
                self.boot.wait(LOOK);
            }
            // A device may fill short frames up.
            is_there && found.get(..sent.len()) == Some(sent)
        })
    }
}
