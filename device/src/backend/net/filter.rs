//! Which frames are received (5.1.6.5.1 to 5.1.6.5.3).

use virtio_bindings::virtio_net as net;

use super::super::chain::{Chain, Cursor};
use super::super::device::{Memory, Offer};
use super::control::{HEADER_BYTES, Mode};
use crate::spec::MacAddress;

/// Addresses in a table; with more, everything passes.
const MOST_ADDRESSES: usize = 64;
const ADDRESS_BYTES: u64 = 6;
/// VLAN ids.
const VLANS: u16 = 4096;
/// The EtherType of a tagged frame (IEEE 802.1Q).
const TAGGED: [u8; 2] = [0x81, 0x00];

/// What passes.
#[derive(Clone, Debug)]
pub struct Filter {
    mac: MacAddress,
    modes: [bool; Mode::ALL.len()],
    unicast: Table,
    multicast: Table,
    vlans: [u64; VLANS as usize / 64],
}

/// Addresses, or all of them.
#[derive(Clone, Debug)]
struct Table {
    addresses: [MacAddress; MOST_ADDRESSES],
    count: usize,
    all: bool,
}

impl Table {
    const EMPTY: Self = Self {
        addresses: [MacAddress([0; 6]); MOST_ADDRESSES],
        count: 0,
        all: false,
    };

    fn holds(&self, mac: MacAddress) -> bool {
        self.all || self.addresses[..self.count].contains(&mac)
    }

    /// Reads a number and so many addresses; `left` is what the driver wrote behind.
    fn read(memory: &Memory, data: &mut Cursor<'_>, left: &mut u64) -> Option<Self> {
        let mut count = [0; 4];
        data.read(memory, &mut count).ok()?;
        let count = u64::from(u32::from_le_bytes(count));
        *left = left
            .checked_sub(4)?
            .checked_sub(count.checked_mul(ADDRESS_BYTES)?)?;
        let mut table = Self::EMPTY;
        if count > MOST_ADDRESSES as u64 {
            table.all = true;
            data.skip(count * ADDRESS_BYTES).ok()?;
            return Some(table);
        }
        for address in &mut table.addresses[..count as usize] {
            data.read(memory, &mut address.0).ok()?;
        }
        table.count = count as usize;
        Some(table)
    }
}

impl Filter {
    /// As after a reset: everything passes until the driver says what it wants.
    pub fn new(mac: MacAddress) -> Self {
        let mut modes = [false; Mode::ALL.len()];
        modes[Mode::Promiscuous as usize] = true;
        Self {
            mac,
            modes,
            unicast: Table::EMPTY,
            multicast: Table::EMPTY,
            vlans: [0; VLANS as usize / 64],
        }
    }

    /// The device's own address.
    pub fn set_mac(&mut self, mac: MacAddress) {
        self.mac = mac;
    }

    pub fn set_mode(&mut self, mode: Mode, on: bool) -> bool {
        self.modes[mode as usize] = on;
        true
    }

    /// Whether `id` is one; then its frames pass from now on, or do not.
    pub fn vlan(&mut self, id: u16, pass: bool) -> bool {
        let Some(word) = self.vlans.get_mut(usize::from(id / 64)) else {
            return false;
        };
        let bit = 1 << (id % 64);
        *word = if pass { *word | bit } else { *word & !bit };
        true
    }

    /// Takes both tables of a command over, or none; returns whether they are whole.
    pub fn read_tables(&mut self, memory: &Memory, chain: &Chain) -> bool {
        let header = HEADER_BYTES as u64;
        let mut left = chain.readable_bytes().saturating_sub(header);
        let mut data = chain.reader();
        if data.skip(header).is_err() {
            return false;
        }
        let unicast = Table::read(memory, &mut data, &mut left);
        let multicast = Table::read(memory, &mut data, &mut left);
        let (Some(unicast), Some(multicast)) = (unicast, multicast) else {
            return false;
        };
        (self.unicast, self.multicast) = (unicast, multicast);
        true
    }

    /// Whether `frame`, which has an Ethernet header, is received.
    pub fn passes(&self, frame: &[u8], offer: &Offer) -> bool {
        let mode = |mode: Mode| self.modes[mode as usize];
        if let [.., high, low, tag_high, tag_low] = frame.get(..16).unwrap_or_default()
            && [*high, *low] == TAGGED
            && offer.has(net::VIRTIO_NET_F_CTRL_VLAN)
        {
            let id = u16::from_be_bytes([*tag_high, *tag_low]) % VLANS;
            if self.vlans[usize::from(id / 64)] >> (id % 64) & 1 == 0 {
                return false;
            }
        }
        let Some(Ok(to)) = frame.get(..6).map(<[u8; 6]>::try_from) else {
            return false;
        };
        if mode(Mode::Promiscuous) {
            return true;
        }
        let to = MacAddress(to);
        if to.0 == [0xff; 6] {
            !mode(Mode::NoBroadcast)
        } else if to.is_group() {
            !mode(Mode::NoMulti) && (mode(Mode::AllMulti) || self.multicast.holds(to))
        } else {
            !mode(Mode::NoUni) && (mode(Mode::AllUni) || to == self.mac || self.unicast.holds(to))
        }
    }
}
