//! The network device (5.1), on a wire that ends in a loop: what is sent comes back.

mod config;
mod control;
mod filter;

#[cfg(test)]
mod tests;

pub use config::{default_mac, features, value};

use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_net as net;

use super::chain::{Chain, NoStatus};
use super::config::Configuration;
use super::device::{Device, Look, Memory, Offer};
use super::lane::Lane;
use crate::shape::Shape;
use crate::spec::{MacAddress, NetConfig, QueueRole, net_status};
use control::Command;
use filter::Filter;

/// `struct virtio_net_hdr` as VERSION_1 has it, without a hash report (5.1.6).
const HEADER_BYTES: usize = 12;
/// The same with the legacy interface, where `num_buffers` comes with MRG_RXBUF alone (5.1.6.1).
const SHORT_HEADER_BYTES: usize = 10;
/// An Ethernet header without and with a VLAN tag.
const ETHERNET_BYTES: usize = 14;
const TAG_BYTES: usize = 4;
/// The MTU up to which frames are forwarded although nobody agreed on one.
const USUAL_MTU: usize = 1500;
/// Bytes on the wire of a pair at the most, if that is enough for some frames.
const WIRE_BYTES: usize = 128 * 1024;
const LEAST_FRAMES: usize = 4;

/// A network interface whose frames come back, each on the pair on which it was sent.
pub struct Net {
    offer: Offer,
    /// What is on the wire, by pair.
    wires: Box<[Lane]>,
    filter: Filter,
    /// Pairs in use.
    pairs: u16,
    most_pairs: u16,
    /// The address that a reset gives back.
    mac: MacAddress,
    asked: Asked,
    frame: Box<[u8]>,
}

/// What the chain that was looked at last asks for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// To be filled with the first frame on the wire.
    Receive { pair: u16, length: usize },
    /// To be sent.
    Transmit { pair: u16, length: u64 },
    /// To be obeyed.
    Command(Command),
}

/// Whether the link is up; without the field it is (5.1.4.2).
fn is_up(offer: &Offer) -> bool {
    let status = offer.configuration.get(NetConfig::Status) as u16;
    offer.features() >> net::VIRTIO_NET_F_STATUS & 1 == 0 || status & net_status::LINK_UP != 0
}

impl Net {
    /// An interface of this shape.
    pub fn new(shape: &Shape) -> Self {
        let longest = usize::from(shape.mtu).max(USUAL_MTU) + ETHERNET_BYTES + TAG_BYTES;
        let wire = WIRE_BYTES.max(LEAST_FRAMES * (longest + size_of::<u32>()));
        let most_pairs = shape.pairs();
        let mac = shape.mac.unwrap_or(default_mac(0));
        Self {
            offer: Offer::new(shape, 0),
            wires: vec![Lane::new(wire); usize::from(most_pairs)].into_boxed_slice(),
            filter: Filter::new(mac),
            pairs: 1,
            most_pairs,
            mac,
            asked: Asked::Command(Command::Malformed),
            frame: vec![0; longest].into_boxed_slice(),
        }
    }

    fn role(&self, queue: u16) -> Option<QueueRole> {
        let many = self.offer.has(net::VIRTIO_NET_F_MQ);
        let role = QueueRole::net(queue, if many { self.most_pairs } else { 1 });
        let control = self.offer.has(net::VIRTIO_NET_F_CTRL_VQ);
        role.filter(|role| *role != QueueRole::Control || control)
    }

    /// Bytes before each frame.
    fn header_bytes(&self) -> usize {
        let whole =
            self.offer.has(VIRTIO_F_VERSION_1) || self.offer.has(net::VIRTIO_NET_F_MRG_RXBUF);
        if whole {
            HEADER_BYTES
        } else {
            SHORT_HEADER_BYTES
        }
    }

    fn status(&self) -> u16 {
        self.offer.configuration.get(NetConfig::Status) as u16
    }

    /// The first frame for the pair that fits into so many bytes. Frames that do not are lost.
    fn first_fitting(&mut self, pair: u16, room: u64) -> Option<usize> {
        let header = self.header_bytes();
        let wire = self.wires.get_mut(usize::from(pair))?;
        while let Some(length) = wire.first_frame() {
            if (length + header) as u64 <= room {
                return Some(length);
            }
            wire.drop_frame();
        }
        None
    }

    fn deliver(&mut self, memory: &Memory, chain: &Chain, pair: u16, length: usize) -> u32 {
        let bytes = self.header_bytes();
        let Some(wire) = self.wires.get_mut(usize::from(pair)) else {
            return 0;
        };
        let mut header = [0; HEADER_BYTES];
        // A frame lies in one buffer, whether buffers may be merged or not.
        header[HEADER_BYTES - 2] = 1;
        let mut buffers = chain.writer();
        let written = buffers.write(memory, &header[..bytes]);
        let written = written.and(wire.pop_frame(memory, &mut buffers));
        if !wire.is_empty() {
            self.offer.wake(2 * pair);
        }
        written.map_or(0, |()| (bytes + length) as u32)
    }

    fn send(&mut self, memory: &Memory, chain: &Chain, pair: u16) {
        let mut header = [0; HEADER_BYTES];
        let bytes = self.header_bytes();
        let mut buffers = chain.reader();
        let length = chain.readable_bytes().saturating_sub(bytes as u64);
        let frame = usize::try_from(length).ok();
        let frame = frame.filter(|n| *n >= ETHERNET_BYTES);
        let Some(frame) = frame.and_then(|n| self.frame.get_mut(..n)) else {
            return;
        };
        let read = buffers.read(memory, &mut header[..bytes]);
        if read.and_then(|()| buffers.read(memory, frame)).is_err() {
            return;
        }
        // What was not agreed on is not done: no checksums, no segments (5.1.6.2.1).
        let [flags, segmentation, ..] = header;
        if flags != 0 || u32::from(segmentation) != net::VIRTIO_NET_HDR_GSO_NONE {
            return;
        }
        if is_up(&self.offer)
            && self.filter.passes(frame, &self.offer)
            && let Some(wire) = self.wires.get_mut(usize::from(pair))
            && wire.push_frame(frame)
        {
            self.offer.wake(2 * pair);
        }
    }

    /// Obeys a command; returns whether it could.
    fn obey(&mut self, memory: &Memory, chain: &Chain, command: Command) -> bool {
        let has = |bit| self.offer.has(bit);
        match command {
            Command::Receive(mode, on) => {
                let feature = if mode.is_extra() {
                    net::VIRTIO_NET_F_CTRL_RX_EXTRA
                } else {
                    net::VIRTIO_NET_F_CTRL_RX
                };
                has(feature) && self.filter.set_mode(mode, on)
            }
            Command::MacTable => {
                has(net::VIRTIO_NET_F_CTRL_RX) && self.filter.read_tables(memory, chain)
            }
            Command::Mac(mac) => {
                let may = has(net::VIRTIO_NET_F_CTRL_MAC_ADDR);
                if may {
                    self.set_mac(mac);
                }
                may
            }
            Command::AddVlan(id) => has(net::VIRTIO_NET_F_CTRL_VLAN) && self.filter.vlan(id, true),
            Command::DeleteVlan(id) => {
                has(net::VIRTIO_NET_F_CTRL_VLAN) && self.filter.vlan(id, false)
            }
            Command::Announced => {
                let may = has(net::VIRTIO_NET_F_GUEST_ANNOUNCE);
                if may {
                    let status = self.status() & !net_status::ANNOUNCE;
                    let configuration = &mut self.offer.configuration;
                    configuration.put(NetConfig::Status, status.into());
                }
                may
            }
            Command::Pairs(pairs) => {
                let may = has(net::VIRTIO_NET_F_MQ) && (1..=self.most_pairs).contains(&pairs);
                if may {
                    for unused in self.wires.iter_mut().skip(pairs.into()) {
                        unused.clear();
                    }
                    // What waits on a pair that comes into use goes on.
                    (self.pairs..pairs).for_each(|pair| self.offer.wake(2 * pair + 1));
                    self.pairs = pairs;
                }
                may
            }
            Command::Unknown(..) | Command::Malformed => false,
        }
    }

    fn set_mac(&mut self, mac: MacAddress) {
        self.filter.set_mac(mac);
        for (field, byte) in NetConfig::ALL.iter().zip(mac.0) {
            self.offer.configuration.put(*field, byte.into());
        }
    }
}

impl Device for Net {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn offer_mut(&mut self) -> &mut Offer {
        &mut self.offer
    }

    fn look(&mut self, memory: &Memory, queue: u16, chain: &Chain) -> Result<Look, NoStatus> {
        self.asked = match self.role(queue) {
            Some(QueueRole::Receive(pair)) if pair < self.pairs => {
                match self.first_fitting(pair, chain.writable_bytes()) {
                    Some(length) => Asked::Receive { pair, length },
                    None => return Ok(Look::Wait),
                }
            }
            Some(QueueRole::Transmit(pair)) if pair < self.pairs => {
                let header = self.header_bytes() as u64;
                let length = chain.readable_bytes().saturating_sub(header);
                Asked::Transmit { pair, length }
            }
            Some(QueueRole::Control) => {
                chain.needs_answer()?;
                Asked::Command(Command::read(memory, chain))
            }
            _ => return Ok(Look::Wait),
        };
        Ok(Look::Take)
    }

    fn words(&self, _queue: u16) -> String {
        match self.asked {
            Asked::Receive { pair, length } => format!("receive {pair}, {length} bytes"),
            Asked::Transmit { pair, length } => format!("transmit {pair}, {length} bytes"),
            Asked::Command(command) => command.to_string(),
        }
    }

    fn serve(&mut self, memory: &Memory, _queue: u16, chain: &Chain) -> Result<u32, NoStatus> {
        match self.asked {
            Asked::Receive { pair, length } => Ok(self.deliver(memory, chain, pair, length)),
            Asked::Transmit { pair, .. } => {
                self.send(memory, chain, pair);
                Ok(0)
            }
            Asked::Command(command) => {
                let ack = if self.obey(memory, chain, command) {
                    net::VIRTIO_NET_OK
                } else {
                    net::VIRTIO_NET_ERR
                };
                let written = chain.writer().write(memory, &[ack as u8]);
                written.map(|()| 1).map_err(|_| NoStatus)
            }
        }
    }

    fn begin(&mut self) {
        self.wires.iter_mut().for_each(Lane::clear);
        self.pairs = 1;
        self.set_mac(self.mac);
        self.filter = Filter::new(self.mac);
    }

    /// A driver of the legacy interface may write the address (5.1.4.3).
    fn written(&mut self, offset: u32, bytes: &[u8]) {
        let mut mac = NetConfig::ALL
            .iter()
            .map(|f| self.offer.configuration.get(*f) as u8);
        let mut address = [0; size_of::<MacAddress>()];
        address.fill_with(|| mac.next().unwrap_or(0));
        let at = address.iter_mut().skip(offset as usize);
        at.zip(bytes).for_each(|(old, new)| *old = *new);
        self.set_mac(MacAddress(address));
    }

    fn changed(&mut self, _before: &Configuration) {
        if !is_up(&self.offer) {
            self.wires.iter_mut().for_each(Lane::clear);
        }
    }
}
