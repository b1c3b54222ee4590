//! Requests: how they get to the miniport, and back.

use super::entry::{driver, is_dumping};
use super::layout::{CDB, PENDING, long, put};
use super::locks::Callback;
use super::packet::{Packet, State, status_of};
use super::port::{Port, port};
use super::spin;
use crate::dbg_print;
use crate::hal::{cpu, exclusive, processor};
use crate::nt::checks::{self, Check};
use crate::nt::clocks::{self, Way};
use crate::nt::dispatch::{self, DISPATCH_LEVEL};
use crate::nt::smp::{self, Job};
use crate::nt::thunk;
use crate::nt::trap::{self, Reason};

/// Most requests of an adapter.
pub const MOST: usize = 67;
/// Those below this are of loads.
const LOADS: usize = 64;

/// Where a unit is: its bus, its target, and its number there (`STOR_ADDR_BTL8`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The bus.
    pub path: u8,
    /// The target.
    pub target: u8,
    /// The unit.
    pub unit: u8,
}

impl Address {
    /// `SP_UNTAGGED`: any bus, target or unit.
    pub const ANY: u8 = 0xff;

    fn includes(self, other: Self) -> bool {
        let is = |own: u8, other: u8| own == Self::ANY || own == other;
        is(self.path, other.path) && is(self.target, other.target) && is(self.unit, other.unit)
    }
}

/// What is asked of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The unit.
    pub to: Address,
    /// The command.
    pub cdb: [u8; CDB],
    /// How much of it is one.
    pub length: u8,
    /// Bytes of data.
    pub bytes: u32,
    /// They go to the device.
    pub out: bool,
    /// In seconds, as the class driver sets it.
    pub timeout: u32,
    /// What it is: [`EXECUTE`], or one of the others.
    pub function: u32,
    /// What it is about, where it is no command.
    pub about: About,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Its function and its command say it.
    Unit,
    /// A `STOR_PNP_ACTION`, with the flags.
    Pnp(u32, u32),
    /// A `STOR_DEVICE_POWER_STATE` and a `STOR_POWER_ACTION`, with the flags.
    Power(u32, u32, u32),
}

/// `SRB_FUNCTION_EXECUTE_SCSI`, `_RESET_DEVICE`, `_RESET_LOGICAL_UNIT`.
pub const EXECUTE: u32 = 0;
pub const RESET_DEVICE: u32 = 0x13;
pub const RESET_LOGICAL_UNIT: u32 = 0x20;
/// `SRB_FUNCTION_FLUSH`, `_POWER`, `_PNP`.
pub const FLUSH: u32 = 0x08;
pub const POWER: u32 = 0x24;
pub const PNP: u32 = 0x25;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Well, with so many bytes.
    Well(u32),
    /// It may be asked for again: the unit was busy, or the bus was reset.
    Again,
    /// With this status and SCSI status.
    Failed(u8, u8),
}

impl Port {
    /// Gives request `n` to the miniport, after [`Port::room`]: `HwStorBuildIo` at `DISPATCH_LEVEL`
    /// without a lock, then `HwStorStartIo` under the StartIo lock, unless the miniport is done with it.
    /// The data begins `offset` bytes into the room.
    pub fn start(&self, n: usize, request: &Request, offset: u32) {
        let (packet, turn) = self.with(|state| {
            state.packets.each[n].state = State::Started;
            state.start_turn = state.start_turn.wrapping_add(1);
            (state.packets.each[n], state.start_turn)
        });
        // Without memory nobody gets it, and it is late.
        if packet.srb == 0 {
            return;
        }
        self.break_seal(n);
        self.look_at_data(n);
        packet.fill(request, offset, n as u8 + 1);
        let given = packet.give(request, offset);
        self.with(|state| state.packets.each[n].given = Some(given));
        // Loads come from all processors; what the class driver and PnP ask for comes from the first.
        let from = if n < LOADS && !is_dumping() {
            turn as usize % processor::count()
        } else {
            0
        };
        self.with(|state| state.starting += 1);
        let job = Job {
            act: |[device, n]| port(device).give(n),
            arguments: [self.number(), n],
        };
        smp::send(from, job);
    }

    /// What a completed request had is looked at again, and is the miniport's from here on.
    fn break_seal(&self, n: usize) {
        let packet = self.with(|state| {
            let packet = &mut state.packets.each[n];
            core::mem::replace(
                packet,
                Packet {
                    seal: None,
                    ..*packet
                },
            )
        });
        let Some(seal) = packet.seal else { return };
        let text = "the extension of a request was written";
        self.check_late(packet.places[0], packet.sum(self) == seal, text);
        let [_, (address, length)] = packet.own(self);
        trap::clear(address, length);
    }

    /// Looks at requests that were completed and not started again.
    pub(super) fn look_at_completed(&self) {
        for n in 0..MOST {
            self.break_seal(n);
            self.look_at_data(n);
            self.look_at_pool(n);
        }
    }

    /// Gives a request to the miniport, on this processor.
    fn give(&self, n: usize) {
        let Some(driver) = driver() else { return };
        let (packet, extension) = self.with(|state| (state.packets.each[n], state.extension));
        clocks::learn(Way::Request(self.number(), n));
        let before = cpu::priority();
        cpu::set_priority(before.max(DISPATCH_LEVEL));
        let go_on = driver.build_io == 0
            || self.call_at(
                DISPATCH_LEVEL,
                Callback::BuildIo,
                driver.build_io,
                &[extension, packet.srb],
            ) as u8
                != 0;
        if go_on {
            let locks = spin::count();
            if let Some(lock) = self.start_io_lock() {
                spin::take(self.number(), lock, Callback::StartIo, 0, 0);
            }
            let arguments = [extension, packet.srb];
            let taken = self.call_synchronized(Callback::StartIo, driver.start_io, &arguments);
            spin::release_since(locks);
            if taken as u8 == 0 {
                dbg_print!("NT: HwStorStartIo returned FALSE");
            }
        }
        clocks::hand_on(Way::Device(self.number()));
        self.with(|state| state.starting -= 1);
        // What waited for this is let in now.
        cpu::set_priority(before);
    }

    /// Calls a routine that the port driver synchronizes with the interrupt routine where the miniport is half duplex
    /// ("Half-Duplex Mode", which is the mode of a miniport that does not ask for another); else at `DISPATCH_LEVEL`.
    pub(super) fn call_synchronized(&self, who: Callback, routine: u64, arguments: &[u64]) -> u64 {
        // StorSynchronizeHalfDuplex is 0.
        if self.configuration().synchronization_model != 0 {
            return self.call_at(DISPATCH_LEVEL, who, routine, arguments);
        }
        let before = cpu::priority();
        let level = self.with(|state| state.levels.0).max(before);
        cpu::set_priority(level);
        let locks = spin::count();
        self.take_interrupt_locks(who, 0, 0);
        let result = self.call_at(level, who, routine, arguments);
        spin::release_since(locks);
        cpu::set_priority(before);
        result
    }

    /// `RequestComplete`.
    pub(super) fn completed(&self, srb: u64) {
        // As soon as it is completed it may be started again, on another processor.
        exclusive(|| self.complete_one(srb));
    }

    fn complete_one(&self, srb: u64) {
        if self.with(|state| state.packets.take_left(srb)) {
            return;
        }
        let known = self.with(|state| {
            let each = &mut state.packets.each;
            let is = |packet: &Packet| srb != 0 && packet.srb == srb;
            let n = each.iter().position(is)?;
            let before = core::mem::replace(&mut each[n].state, State::Completed);
            Some((n, before))
        });
        let n = self.number();
        match known {
            Some((own, State::Started)) => {
                clocks::hand_on(Way::Request(n, own));
                checks::check(
                    n,
                    Check::Srb,
                    status_of(srb) != PENDING,
                    format_args!("a request is completed with SRB_STATUS_PENDING"),
                );
                self.trap(srb);
                self.with(|state| {
                    let out = state.packets.each.iter();
                    let out = out.filter(|packet| packet.state == State::Started).count();
                    // Who has nothing can't be waited for.
                    state.busy = state.busy.saturating_sub(1).min(out as u32);
                });
                dispatch::progress();
                dispatch::request_round();
            }
            Some(_) => checks::broken(
                n,
                Check::Srb,
                format_args!("a request is completed that the miniport does not have any more"),
            ),
            None => checks::broken(
                n,
                Check::Srb,
                format_args!("something is completed that is no request"),
            ),
        }
    }

    /// `StorPortCompleteRequest`: completes all that the miniport has of a unit, or of several: `Address::ANY` in a place
    /// is for all.
    pub(super) fn complete_all(&self, of: Address, status: u8) {
        for n in 0..MOST {
            let packet = self.with(|state| state.packets.each[n]);
            let is_meant = packet.given.is_none_or(|given| of.includes(given.to));
            if packet.state == State::Started && is_meant {
                put(packet.srb + long::STATUS, status);
                self.completed(packet.srb);
            }
        }
    }

    /// How request `n` ended, once.
    pub fn take_ended(&self, n: usize) -> Option<Ended> {
        let packet = self.with(|state| {
            let packet = &mut state.packets.each[n];
            let ended = packet.state == State::Completed;
            ended.then(|| {
                packet.state = State::Free;
                *packet
            })
        })?;
        self.release(&packet);
        Some(packet.ended())
    }

    /// The miniport has no business with a request that it has completed, and its device neither.
    fn trap(&self, srb: u64) {
        let packet = self.with(|state| state.packets.each.iter().find(|p| p.srb == srb).copied());
        if let Some(packet) = packet {
            packet.take_back();
            for (address, length) in packet.own(self) {
                trap::set(self.number(), Reason::Completed, address, length);
            }
            let seal = Some(packet.sum(self));
            self.with(|state| {
                let mut each = state.packets.each.iter_mut();
                if let Some(packet) = each.find(|packet| packet.srb == srb) {
                    packet.completed_at(thunk::called_from());
                    packet.seal = seal;
                }
            });
        }
    }

    /// The request is its owner's again; its extension is nobody's until it is started again.
    fn release(&self, packet: &Packet) {
        let [(address, length), _] = packet.own(self);
        trap::clear(address, length);
        checks::kept(self.number(), Check::Touch);
    }

    /// A reset of the bus is over: the miniport has to have completed request `n`.
    pub fn expect_ended(&self, n: usize) {
        let ended = self.with(|state| state.packets.each[n].state != State::Started);
        let text = format_args!("a reset of the bus has not completed a request");
        checks::check(self.number(), Check::Srb, ended, text);
    }

    /// Waits for request `n` no longer. A miniport that has not completed it keeps it, with its memory: the
    /// next one gets other memory.
    pub fn forget(&self, n: usize) {
        self.with(|state| {
            let packets = &mut state.packets;
            if packets.each[n].state == State::Started {
                packets.left[packets.next_left % MOST] = packets.each[n].srb;
                packets.next_left += 1;
                packets.each[n] = Packet::default();
            }
        });
    }

    /// The list of a request's data.
    pub(super) fn list_of(&self, srb: u64) -> u64 {
        self.with(|state| {
            let mut packets = state.packets.each.iter();
            let packet = packets.find(|packet| packet.srb == srb && packet.state == State::Started);
            packet.map_or(0, |packet| packet.list)
        })
    }
}
