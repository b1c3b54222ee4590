//! An adapter: what is known of it, and calls of its miniport's routines, each at its IRQL.

use super::abi::{PortConfiguration, control};
use super::locks::{self, Callback};
use super::packet::Packets;
use super::spin::{self, Lock};
use super::srb::Address;
use crate::hal::pci::{Bar, Function};
use crate::hal::{Local, cpu, vm};
use crate::nt::call::call;
use crate::nt::checks::{self, Check};
use crate::nt::dispatch::{DISPATCH_LEVEL, MOST_DEVICES, MOST_OBJECTS};
use crate::nt::watch;

/// Most pieces of registers of an adapter that are known.
const MOST_MAPPED: usize = 32;

/// Most units of an adapter.
pub const MOST_UNITS: usize = 16;

/// What is known of an adapter.
pub(super) struct State {
    pub function: Option<Function>,
    pub bars: [Bar; 6],
    pub extension: u64,
    pub configuration: u64,
    pub uncached: (u64, u32),
    /// The buffer for what the registry has: where, and how many bytes.
    pub registry_buffer: (u64, u32),
    pub granted: u32,
    pub levels: (u8, u32),
    /// The vector of each message, and the processor that it goes to.
    pub messages: [(u32, usize); MOST_OBJECTS],
    pub passive_routine: u64,
    /// Which processor's turn it is to ask for something.
    pub start_turn: u32,
    /// Requests that are on their way to the miniport.
    pub starting: u32,
    pub packets: Packets,
    pub changed: bool,
    pub timer: Option<(u64, u64)>,
    pub paused: bool,
    /// Requests that have to be completed before another is started.
    pub busy: u32,
    /// Messages that completions are to come on: the first and the last.
    pub channels: Option<(u32, u32)>,
    /// How often `HwStorStartIo` may be called at once, where it may; else 0.
    pub concurrent: u32,
    pub turn: u32,
    pub gone: bool,
    pub line: Line,
    /// What `StorPortGetDeviceBase` has mapped: where, how many bytes, and the physical address.
    pub mapped: [(u64, u32, u64); MOST_MAPPED],
    pub supports: [bool; control::TYPES],
    /// Likewise of `HwStorUnitControl`.
    pub unit_supports: [bool; control::TYPES],
    /// The units that were found, and the `STOR_ADDR_BTL8` of each.
    pub units: [(Address, u64); MOST_UNITS],
    pub unit_count: usize,
    /// Most requests of a unit at a time, as far as the miniport has said it.
    pub depths: [(Address, u32); MOST_UNITS],
    pub argument: u64,
    pub ranges: u64,
    pub initialized: bool,
    /// How often it has left D0, and the `STOR_POWER_ACTION` for which it did last.
    pub sleeps: u32,
    pub action: u32,
}

/// What the interrupt routine has said of its line.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub claimed: u32,
    /// Without those that it was only asked.
    pub unclaimed: u32,
    pub asked: u32,
}

/// An adapter.
pub struct Port {
    n: usize,
    state: Local<State>,
}

macro_rules! ports {
    ($($n:literal)*) => {
        [$(Port {
            n: $n,
            state: Local::new(State {
                function: None,
                bars: [Bar::NONE; 6],
                extension: 0,
                configuration: 0,
                uncached: (0, 0),
                registry_buffer: (0, 0),
                granted: 0,
                levels: (0, 0),
                messages: [(0, 0); MOST_OBJECTS],
                passive_routine: 0,
                start_turn: 0,
                starting: 0,
                packets: Packets::NONE,
                changed: false,
                timer: None,
                paused: false,
                busy: 0,
                channels: None,
                concurrent: 0,
                turn: 0,
                gone: false,
                line: Line {
                    claimed: 0,
                    unclaimed: 0,
                    asked: 0,
                },
                mapped: [(0, 0, 0); MOST_MAPPED],
                supports: [false; control::TYPES],
                unit_supports: [false; control::TYPES],
                units: [(
                    Address {
                        path: 0,
                        target: 0,
                        unit: 0,
                    },
                    0,
                ); MOST_UNITS],
                unit_count: 0,
                depths: [(
                    Address {
                        path: 0,
                        target: 0,
                        unit: 0,
                    },
                    0,
                ); MOST_UNITS],
                argument: 0,
                ranges: 0,
                initialized: false,
                sleeps: 0,
                action: 0,
            }),
        },)*]
    };
}

static PORTS: [Port; MOST_DEVICES] = ports!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

/// The adapter of device `n`.
pub fn port(n: usize) -> &'static Port {
    &PORTS[n]
}

/// The adapter whose device extension this is.
pub(super) fn of_extension(extension: u64) -> Option<&'static Port> {
    let is = |port: &&Port| extension != 0 && port.with(|state| state.extension) == extension;
    PORTS.iter().find(is)
}

fn in_bars(bars: &[Bar], address: u64, ports: bool) -> Option<(usize, u64)> {
    let bars = bars.iter().filter(|bar| bar.ports == ports);
    bars.into_iter().find_map(|bar| {
        let at = address.checked_sub(bar.start)?;
        (at < bar.length.into()).then_some((bar.number.into(), at))
    })
}

impl Port {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        self.state.with(act)
    }

    /// The number of its device.
    pub fn number(&self) -> usize {
        self.n
    }

    /// The configuration, as the miniport left it.
    pub fn configuration(&self) -> PortConfiguration {
        let at = self.with(|state| state.configuration);
        if at == 0 {
            return PortConfiguration::default();
        }
        // SAFETY: it is memory of this size, and a miniport may write anything into it.
        unsafe { (at as *const PortConfiguration).read() }
    }

    /// Calls the miniport at an IRQL, with what it runs at now below it. It returns at the IRQL that it was
    /// called at, and with the locks that it was called with.
    pub(super) fn call_at(&self, irql: u8, who: Callback, routine: u64, arguments: &[u64]) -> u64 {
        let before = cpu::priority();
        let irql = irql.max(before);
        cpu::set_priority(irql);
        let locks = spin::count();
        watch::again(self.n);
        vm::catch_up();
        let outer = locks::enter(self.n, who);
        let result = call(routine, arguments);
        locks::enter(outer.0, outer.1);
        let now = cpu::priority();
        checks::check(
            self.n,
            Check::Irql,
            now == irql,
            format_args!(
                "{} was called at IRQL {irql} and returned at {now}",
                who.name()
            ),
        );
        match spin::release_since(locks) {
            Some(lock) => checks::broken(
                self.n,
                Check::Lock,
                format_args!("{} returned with {lock} held", who.name()),
            ),
            None => checks::kept(self.n, Check::Lock),
        }
        cpu::set_priority(before);
        result
    }

    /// The bus has found the device: its registers are looked up. What was there before had another
    /// device extension.
    pub fn found(&self, function: Function) {
        let mut bars = [Bar::NONE; 6];
        for (bar, range) in bars.iter_mut().zip(function.ranges()) {
            *bar = range;
        }
        spin::forget(self.n);
        self.with(|state| {
            state.function = Some(function);
            state.bars = bars;
            state.gone = false;
            state.extension = 0;
            state.uncached = (0, 0);
            state.timer = None;
            state.changed = false;
            state.channels = None;
            state.concurrent = 0;
            state.busy = 0;
            state.paused = false;
            state.mapped = [(0, 0, 0); MOST_MAPPED];
            state.unit_count = 0;
            state.depths = [(Address::default(), 0); MOST_UNITS];
        });
    }

    /// Registers of the device are at `address`.
    pub(super) fn registers(&self, address: u64, length: u32, physical: u64) {
        self.with(|state| {
            if let Some(free) = state.mapped.iter_mut().find(|mapped| mapped.0 == 0) {
                *free = (address, length, physical);
            }
        });
    }

    /// `StorPortSetDeviceQueueDepth`.
    pub(super) fn set_depth(&self, unit: Address, depth: u32) {
        self.with(|state| {
            let own = |known: &&mut (Address, u32)| known.1 == 0 || known.0 == unit;
            if let Some(known) = state.depths.iter_mut().find(own) {
                *known = (unit, depth);
            }
        });
    }

    /// Most requests of a unit at a time: what the miniport has said of it, else of any.
    pub fn depth(&self, unit: Address) -> u32 {
        let configuration = self.configuration();
        let said = self.with(|state| {
            let mut known = state.depths.iter();
            known
                .find(|known| known.1 != 0 && known.0 == unit)
                .map(|known| known.1)
        });
        let own = said.unwrap_or(configuration.initial_lun_queue_depth);
        own.min(configuration.max_ios_per_lun).max(1)
    }

    /// Whether the device was pulled out.
    pub fn is_gone(&self) -> bool {
        self.with(|state| state.gone)
    }

    /// The BAR and the offset of a register, by the address that the miniport has of it.
    pub fn register(&self, address: u64) -> Option<(usize, u64)> {
        let (mapped, bars) = self.with(|state| (state.mapped, state.bars));
        let physical = mapped.into_iter().find_map(|(at, length, physical)| {
            let offset = address.checked_sub(at).filter(|_| at != 0)?;
            (offset < length.into()).then_some(physical + offset)
        })?;
        in_bars(&bars, physical, false)
    }

    /// Likewise, of a port.
    pub fn port_register(&self, port: u16) -> Option<(usize, u64)> {
        in_bars(&self.with(|state| state.bars), port.into(), true)
    }

    /// Calls the miniport's timer routine when it is due. When that is, in microseconds since boot.
    pub fn run_timer(&self, now: u64) -> u64 {
        let (due, extension) = self.with(|state| {
            let due = state.timer.filter(|(at, _)| *at <= now);
            if due.is_some() {
                state.timer = None;
            }
            (due, state.extension)
        });
        if let Some((_, routine)) = due {
            let before = cpu::priority();
            cpu::set_priority(before.max(DISPATCH_LEVEL));
            spin::take(self.n, Lock::StartIo, Callback::Timer, 0, 0);
            self.call_synchronized(Callback::Timer, routine, &[extension]);
            spin::give_back();
            cpu::set_priority(before);
        }
        self.with(|state| state.timer)
            .map_or(u64::MAX, |timer| timer.0)
    }

    /// Whether the miniport wants nothing to be started.
    pub fn is_paused(&self) -> bool {
        self.with(|state| state.paused || state.busy > 0)
    }

    /// Whether the miniport has said that something about its units has changed, since this was asked.
    pub fn take_change(&self) -> bool {
        self.with(|state| core::mem::take(&mut state.changed))
    }
}
