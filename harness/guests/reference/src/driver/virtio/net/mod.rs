//! A network device (virtio 1.3, 5.1).

mod control;
mod frame;
mod load;

use super::base::{Base, Tally};
use super::function::{Function, Wanted};
use super::registers::Registers;
use super::spec::{self, feature, net};
use crate::dbg_print;
use crate::driver::Settings;
use crate::driver::args::Args;
use crate::driver::mistake::Mistake;
use crate::nt::status::NtStatus;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use control::{Command, Control, Why};
use frame::BUFFER;
use load::Load;

/// Receive buffers of each pair.
const RECEIVE_BUFFERS: u16 = 8;
/// Most pairs that are used, and that a device can have (5.1.4).
const MOST_PAIRS: u16 = 8;
const POSSIBLE_PAIRS: core::ops::RangeInclusive<u16> = 1..=0x8000;

/// Places of a pair's queues.
fn receive(pair: usize) -> usize {
    2 * pair
}
fn transmit(pair: usize) -> usize {
    2 * pair + 1
}

/// What the driver knows of a network device.
pub struct Net {
    config: Config,
    /// Pairs in use.
    pairs: u16,
    control: Control,
    /// Frames received since the device was added.
    received: u64,
    load: Option<Load>,
    /// What the last load counted.
    counted: &'static str,
}

/// The configuration, as far as the features allow to read it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Config {
    mac: [u8; 6],
    status: u16,
    pairs: u16,
}

impl Config {
    /// What holds when the device does not say.
    const UNSAID: Self = Self {
        mac: [2, 0, 0, 0, 0, 1],
        status: net::LINK_UP,
        pairs: 1,
    };

    fn read(base: &mut Base) -> Self {
        let there = |feature| base.may_read(feature);
        let fields = [feature::NET_MAC, feature::NET_STATUS, feature::NET_MQ];
        let [mac, status, pairs] = fields.map(there);
        let read = |config: Registers| {
            let mut found = Self::UNSAID;
            if mac {
                for (at, byte) in found.mac.iter_mut().enumerate() {
                    *byte = config.read(net::MAC + at);
                }
            }
            if status {
                found.status = config.read(net::STATUS);
            }
            if pairs {
                let pairs = config.read(net::MAX_PAIRS);
                found.pairs = if POSSIBLE_PAIRS.contains(&pairs) {
                    pairs
                } else {
                    1
                };
            }
            found
        };
        if fields.iter().all(|&feature| !base.may_read(feature)) {
            return Self::UNSAID;
        }
        base.config(read).unwrap_or(Self::UNSAID)
    }

    fn link(&self) -> &'static str {
        if self.status & net::LINK_UP != 0 {
            "up"
        } else {
            "down"
        }
    }
}

impl Net {
    /// Takes the frames that have come.
    fn take_frames(&mut self, base: &mut Base) {
        let limit = base.time_limit();
        for pair in 0..self.pairs.into() {
            let (received, load) = (&mut self.received, &mut self.load);
            let mut tally = base.load.take();
            base.receive(receive(pair), |data, length| {
                *received += 1;
                if let (Some(load), Some(tally)) = (load.as_mut(), tally.as_mut()) {
                    load.take(limit, data, length, tally);
                }
            });
            base.load = tally;
        }
    }

    /// What the device has to be told after each reset.
    fn start_commands(&mut self, base: &Base) {
        self.control.start_again();
        if self.pairs > 1 {
            let pairs = self.pairs.to_le_bytes();
            let kind = spec::control::MQ_PAIRS_SET;
            let set = Command::new("pairs set", kind, &pairs, Why::Start);
            self.control.push(set);
        }
        if base.has(feature::NET_CTRL_RX) {
            let kind = spec::control::RX_PROMISC;
            let off = Command::new("promiscuous mode off", kind, &[0], Why::Start);
            self.control.push(off);
        }
    }
}

impl Function for Net {
    const FEATURES: u64 = feature::NET_MAC
        | feature::NET_STATUS
        | feature::NET_CTRL_VQ
        | feature::NET_CTRL_RX
        | feature::NET_CTRL_VLAN
        | feature::NET_GUEST_ANNOUNCE
        | feature::NET_MQ
        | feature::NET_CTRL_MAC_ADDR;
    /// 5.1.3.1.
    const REQUIRES: &'static [(u64, u64)] = &[
        (feature::NET_CTRL_RX, feature::NET_CTRL_VQ),
        (feature::NET_CTRL_VLAN, feature::NET_CTRL_VQ),
        (feature::NET_GUEST_ANNOUNCE, feature::NET_CTRL_VQ),
        (feature::NET_MQ, feature::NET_CTRL_VQ),
        (feature::NET_CTRL_MAC_ADDR, feature::NET_CTRL_VQ),
    ];

    fn new(_settings: Settings) -> Self {
        Self {
            config: Config::UNSAID,
            pairs: 0,
            control: Control::default(),
            received: 0,
            load: None,
            counted: "frames",
        }
    }

    fn set_up(&mut self, base: &mut Base) -> Result<Vec<Wanted>, NtStatus> {
        self.config = Config::read(base);
        dbg_print!("VIRTIO: link {}", self.config.link());
        let transport = base.registers()?;
        if base.makes(Mistake::CONFIG_WRITTEN)
            && let Some(config) = transport.device()
        {
            let mac = self.config.mac;
            (net::MAC..)
                .zip(mac)
                .for_each(|(at, byte)| config.write(at, byte));
        }
        let has_control = base.has(feature::NET_CTRL_VQ);
        let offered = if has_control { self.config.pairs } else { 1 };
        let there = transport.queues().saturating_sub(has_control.into()) / 2;
        let most = base.settings.queues.min(MOST_PAIRS).min(offered).min(there);
        self.pairs = most.min(base.queues_for_messages(has_control.into(), 2));
        let (pairs, depth) = (self.pairs, base.settings.depth);
        let mut wanted: Vec<_> = (0..pairs)
            .flat_map(|pair| {
                let receive = Wanted {
                    index: 2 * pair,
                    depth: RECEIVE_BUFFERS,
                };
                let index = 2 * pair + 1;
                [receive, Wanted { index, depth }]
            })
            .collect();
        self.control.place = None;
        if has_control && pairs > 0 {
            self.control.place = Some(wanted.len());
            let index = offered.saturating_mul(2);
            wanted.push(Wanted { index, depth: 1 });
        }
        Ok(wanted)
    }

    fn before_live(&mut self, base: &mut Base) {
        self.take_frames(base);
        if let Some(load) = &mut self.load {
            load.start_again(base);
        }
    }

    fn went_live(&mut self, base: &mut Base) {
        (0..self.pairs.into()).for_each(|pair| base.post(receive(pair), BUFFER));
        self.start_commands(base);
        self.control.go_on(base);
    }

    fn serve(&mut self, base: &mut Base) {
        self.take_frames(base);
        for pair in 0..self.pairs.into() {
            base.post(receive(pair), BUFFER);
            if let Some(queue) = base.active().get_mut(transmit(pair)) {
                queue.retire();
            }
        }
        self.control.go_on(base);
    }

    fn config_changed(&mut self, base: &mut Base) -> String {
        let before = self.config;
        self.config = Config::read(base);
        let link = self.config.link();
        if link != before.link() {
            dbg_print!("VIRTIO: link {link}");
        }
        let asked = self.config.status & net::ANNOUNCE != 0;
        if asked && base.has(feature::NET_GUEST_ANNOUNCE) {
            dbg_print!("VIRTIO: the device asks for an announcement");
            let kind = spec::control::ANNOUNCE_ACK;
            let acknowledge = Command::new("announcement acknowledged", kind, &[], Why::Answer);
            self.control.push(acknowledge);
        }
        format!("link={link} announce={}", u8::from(asked))
    }

    fn is_settled(&self) -> bool {
        !self.control.is_busy()
    }

    fn begin(&mut self, base: &mut Base, args: &Args) -> Result<(), &'static str> {
        let (Config { mac, status, .. }, pairs) = (self.config, self.pairs);
        let up = status & net::LINK_UP != 0;
        let load = Load::new(base, args, mac, pairs.into(), up)?;
        let commands = load.commands(base, mac, pairs);
        for command in commands {
            self.control.push(command);
        }
        self.counted = load.counted();
        self.load = Some(load);
        self.control.go_on(base);
        Ok(())
    }

    fn go_on(&mut self, base: &mut Base, tally: &mut Tally) -> bool {
        let Some(load) = &mut self.load else {
            return true;
        };
        let over = load.go_on(base, tally, !self.control.is_busy());
        if over || tally.reason.is_some() {
            self.control.end_load();
            self.load = None;
        }
        over
    }

    fn deadline(&self) -> u64 {
        self.load.as_ref().map_or(u64::MAX, Load::deadline)
    }

    fn counted(&self) -> &'static str {
        self.counted
    }

    fn state(&self) -> String {
        format!(
            "pairs={} link={} received={} refused={}",
            self.pairs,
            self.config.link(),
            self.received,
            self.control.refused
        )
    }
}
