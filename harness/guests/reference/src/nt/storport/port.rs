//! An adapter, from the image's entry to its end: the miniport's callbacks in their order, each at its
//! IRQL.

use super::abi::{
    AccessRange, DEFAULT_BREAKS, DMA64_SYSTEM, EXTENDED_SRB, HwInitializationData,
    PortConfiguration, UNINITIALIZED, control, found, power,
};
use super::locks::{self, Callback};
use super::notice::Leaving;
use super::spin::{self, Lock};
use super::srb::Packets;
use crate::dbg_print;
use crate::hal::pci::{Bar, Function};
use crate::hal::{Local, cpu, time, vm};
use crate::nt::call::call;
use crate::nt::checks::{self, Check};
use crate::nt::dispatch::{self, DISPATCH_LEVEL, MOST_DEVICES, MOST_OBJECTS};
use crate::nt::lent;
use crate::nt::status::NtStatus;
use crate::nt::trap::{self, Reason};
use crate::nt::vectors::irql;
use crate::nt::{dpc, image, thunk, watch};
use alloc::string::String;

/// Where the driver keeps its registry path, which is opaque to a miniport.
const PATH: &str = "misfire\0";

/// So long a request may be on its way to the miniport, in microseconds.
const PATIENCE: u64 = 3_000_000;

/// Most pieces of registers of an adapter that are known.
const MOST_MAPPED: usize = 32;

/// A crash dump is being written: the dump driver is in the place of the port driver.
static DUMPING: Local<bool> = Local::new(false);

/// Whether a crash dump is being written.
pub(super) fn is_dumping() -> bool {
    DUMPING.with(|dumping| *dumping)
}

/// What the image has told of itself.
static DRIVER: Local<Option<HwInitializationData>> = Local::new(None);

/// What is known of an adapter.
pub(super) struct State {
    pub function: Option<Function>,
    pub bars: [Bar; 6],
    pub extension: u64,
    pub configuration: u64,
    pub uncached: (u64, u32),
    pub granted: u32,
    pub levels: (u8, u32),
    /// The vector of each message, and the processor that it goes to.
    messages: [(u32, usize); MOST_OBJECTS],
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
    pub turn: u32,
    pub gone: bool,
    line: Line,
    /// What `StorPortGetDeviceBase` has mapped: where, and how many bytes.
    mapped: [(u64, u32); MOST_MAPPED],
    supports: [bool; control::TYPES],
    /// Likewise of `HwStorUnitControl`.
    pub unit_supports: [bool; control::TYPES],
    /// `STOR_ADDR_BTL8` of the unit.
    pub unit_address: u64,
    argument: u64,
    ranges: u64,
    initialized: bool,
}

/// What the interrupt routine has said of its line.
#[derive(Clone, Copy)]
struct Line {
    claimed: u32,
    /// Without those that it was only asked.
    unclaimed: u32,
    asked: u32,
}

/// An adapter.
pub struct Port {
    n: usize,
    state: Local<State>,
}

/// What `HwStorAdapterControl` is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// `ScsiStopAdapter`.
    Stop,
    /// `ScsiRestartAdapter`.
    Restart,
    /// `ScsiAdapterSurpriseRemoval`.
    SurpriseRemoval,
}

impl Control {
    fn kind(self) -> u32 {
        match self {
            Self::Stop => control::STOP,
            Self::Restart => control::RESTART,
            Self::SurpriseRemoval => control::SURPRISE_REMOVAL,
        }
    }
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
                turn: 0,
                gone: false,
                line: Line {
                    claimed: 0,
                    unclaimed: 0,
                    asked: 0,
                },
                mapped: [(0, 0); MOST_MAPPED],
                supports: [false; control::TYPES],
                unit_supports: [false; control::TYPES],
                unit_address: 0,
                argument: 0,
                ranges: 0,
                initialized: false,
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

/// What the image has told of itself.
pub(super) fn driver() -> Option<HwInitializationData> {
    DRIVER.with(|driver| *driver)
}

/// `StorPortInitialize` was called with this.
pub(super) fn registered(data: HwInitializationData) {
    DRIVER.with(|driver| *driver = Some(data));
}

/// Loads the image a second time and calls its entry as the dump driver does, with nothing. Whether it
/// registered.
pub(super) fn dump_entry() -> bool {
    DUMPING.with(|dumping| *dumping = true);
    DRIVER.with(|driver| *driver = None);
    if !image::load_again() {
        return false;
    }
    let Some(image) = image::image() else {
        return false;
    };
    let status = NtStatus(call(image.entry(), &[0, 0]) as u32);
    if status != NtStatus::SUCCESS {
        dbg_print!("NT: DriverEntry of {} returned {status}", image.name);
    }
    driver().is_some()
}

/// Loads the image and calls its entry, once; `dumps`: a crash dump will be written with it.
///
/// # Errors
/// `NO_SUCH_DEVICE` without an image; the status that the entry returned; `DRIVER_INTERNAL_ERROR` when it
/// did not register with the port driver.
pub fn driver_entry(dumps: bool) -> Result<(), NtStatus> {
    if driver().is_some() {
        return Ok(());
    }
    if !image::load(dumps) {
        return Err(NtStatus::NO_SUCH_DEVICE);
    }
    let image = image::image().ok_or(NtStatus::NO_SUCH_DEVICE)?;
    let object = vm::allocate(512).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let path = text(PATH).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let status = NtStatus(call(image.entry(), &[object, path]) as u32);
    image::discard();
    if status != NtStatus::SUCCESS {
        dbg_print!("NT: DriverEntry of {} returned {status}", image.name);
        return Err(status);
    }
    if driver().is_none() {
        dbg_print!(
            "NT: DriverEntry of {} did not call StorPortInitialize",
            image.name
        );
        return Err(NtStatus::DRIVER_INTERNAL_ERROR);
    }
    Ok(())
}

fn text(text: &str) -> Option<u64> {
    let at = vm::allocate(text.len() as u64)?;
    // SAFETY: the memory was just taken and has this size.
    unsafe { core::ptr::copy_nonoverlapping(text.as_ptr(), at as *mut u8, text.len()) };
    Some(at)
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
        self.with(|state| {
            state.function = Some(function);
            state.bars = bars;
            state.gone = false;
            state.extension = 0;
            state.uncached = (0, 0);
            state.timer = None;
            state.changed = false;
            state.channels = None;
            state.busy = 0;
            state.paused = false;
            state.mapped = [(0, 0); MOST_MAPPED];
        });
    }

    /// `HwStorFindAdapter` at `PASSIVE_LEVEL`, and what the miniport can control. Messages are on by now,
    /// and none comes.
    ///
    /// # Errors
    /// `NO_SUCH_DEVICE`, or `DEVICE_CONFIGURATION_ERROR` where the miniport says that something is wrong.
    pub fn find_adapter(
        &self,
        function: Function,
        granted: u32,
        levels: (u8, u32),
        argument: &str,
    ) -> Result<(), NtStatus> {
        let driver = driver().ok_or(NtStatus::NO_SUCH_DEVICE)?;
        self.prepare(&driver, argument)?;
        let (extension, configuration, argument) = self.with(|state| {
            state.granted = granted;
            state.levels = levels;
            state.passive_routine = 0;
            state.initialized = false;
            (state.extension, state.configuration, state.argument)
        });
        self.preset(&driver, function);
        let mut again = 0u64;
        let again = &raw mut again as u64;
        let result = self.call_at(
            0,
            Callback::FindAdapter,
            driver.find_adapter,
            &[extension, 0, 0, argument, configuration, again],
        ) as u32;
        match result {
            found::FOUND => checks::kept(self.n, Check::Found),
            found::NOT_FOUND => return Err(NtStatus::NO_SUCH_DEVICE),
            found::ERROR | found::BAD_CONFIG => {
                dbg_print!("NT: HwStorFindAdapter returned {result}");
                return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
            }
            other => {
                let text =
                    format_args!("HwStorFindAdapter returned {other}, which is none of its values");
                checks::broken(self.n, Check::Found, text);
                return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
            }
        }
        if !is_dumping() {
            self.ask_what_is_supported(&driver);
        }
        Ok(())
    }

    /// Memory that an adapter has as long as its device: the device extension is zeroed only once.
    fn prepare(&self, driver: &HwInitializationData, argument: &str) -> Result<(), NtStatus> {
        if self.with(|state| state.extension) != 0 {
            return Ok(());
        }
        let memory = |bytes: u64| vm::allocate(bytes).ok_or(NtStatus::INSUFFICIENT_RESOURCES);
        let extension = memory(driver.device_extension_size.into())?;
        let configuration = memory(size_of::<PortConfiguration>() as u64)?;
        let ranges =
            memory(u64::from(driver.access_ranges.clamp(1, 64)) * size_of::<AccessRange>() as u64)?;
        let argument =
            text(&(String::from(argument) + "\0")).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        let size = driver.device_extension_size.into();
        lent::lend(self.n, "the device extension", extension, size);
        self.with(|state| {
            state.extension = extension;
            state.configuration = configuration;
            state.ranges = ranges;
            state.argument = argument;
        });
        Ok(())
    }

    /// Writes the configuration as the port driver presets it.
    fn preset(&self, driver: &HwInitializationData, function: Function) {
        let (at, ranges) = self.with(|state| (state.configuration, state.ranges));
        let count = driver.access_ranges.min(64);
        let configuration = PortConfiguration {
            length: size_of::<PortConfiguration>() as u32,
            bus_number: function.bus().into(),
            interface: driver.interface,
            maximum_transfer_length: UNINITIALIZED,
            physical_breaks: DEFAULT_BREAKS,
            number_of_ranges: count,
            ranges,
            scatter_gather: 1,
            master: 1,
            dma_32_bit: 1,
            map_buffers: driver.map_buffers,
            need_physical_addresses: driver.need_physical_addresses,
            tagged_queuing: driver.tagged_queuing,
            auto_request_sense: driver.auto_request_sense,
            multiple_request_per_lu: driver.multiple_request_per_lu,
            targets: 8,
            srb_type: u8::from(driver.srb_type_flags & EXTENDED_SRB != 0),
            // PCI_SLOT_NUMBER: the device in the lower five bits, then the function.
            slot: function.slot().into(),
            device_extension_size: driver.device_extension_size,
            lu_extension_size: driver.lu_extension_size,
            srb_extension_size: driver.srb_extension_size,
            dma_64_bit: DMA64_SYSTEM,
            logical_units: 8,
            max_number_of_io: 1000,
            max_ios_per_lun: 255,
            initial_lun_queue_depth: 20,
            // DUMP_MODE_CRASH.
            dump_mode: is_dumping().into(),
            ..PortConfiguration::default()
        };
        // SAFETY: `prepare` took memory of these sizes.
        unsafe {
            (at as *mut PortConfiguration).write(configuration);
            let mut place = ranges as *mut AccessRange;
            for range in self
                .with(|state| state.bars)
                .into_iter()
                .take(count as usize)
            {
                place.write(AccessRange {
                    start: range.start,
                    length: range.length,
                    in_memory: (range.length != 0 && !range.ports).into(),
                });
                place = place.add(1);
            }
        }
    }

    fn ask_what_is_supported(&self, driver: &HwInitializationData) {
        if driver.adapter_control == 0 {
            return;
        }
        let all = self.ask_list(
            Callback::AdapterControl,
            driver.adapter_control,
            control::TYPES,
        );
        self.with(|state| state.supports = all);
    }

    /// Has the miniport fill a `SCSI_SUPPORTED_CONTROL_TYPE_LIST` at `PASSIVE_LEVEL`: how many types, then a
    /// BOOLEAN for each. None behind it may be set.
    pub(super) fn ask_list(
        &self,
        who: Callback,
        routine: u64,
        types: usize,
    ) -> [bool; control::TYPES] {
        const BEHIND: usize = 8;
        let mut supports = [false; control::TYPES];
        let Some(list) = vm::allocate((4 + types + BEHIND) as u64) else {
            return supports;
        };
        let extension = self.with(|state| state.extension);
        // SAFETY: the list has this size.
        unsafe { (list as *mut u32).write(types as u32) };
        // Both kinds of query are 0.
        let query = control::QUERY_SUPPORTED;
        self.call_at(0, who, routine, &[extension, query.into(), list]);
        // SAFETY: the same.
        let said = |n: usize| unsafe { ((list + 4) as *const u8).add(n).read() } != 0;
        for (n, supported) in supports.iter_mut().enumerate().take(types) {
            *supported = said(n);
        }
        let kept = (types..types + BEHIND).all(|n| !said(n));
        let text = format_args!(
            "{} sets an element behind the list that it was given",
            who.name()
        );
        checks::check(self.n, Check::Control, kept, text);
        supports
    }

    /// `HwStorInitialize` at the device's IRQL, then the passive routine, if the miniport named one.
    ///
    /// # Errors
    /// `DEVICE_CONFIGURATION_ERROR` when one of them says that it failed.
    pub fn initialize(&self) -> Result<(), NtStatus> {
        let driver = driver().ok_or(NtStatus::NO_SUCH_DEVICE)?;
        let (extension, level) = self.with(|state| {
            state.initialized = true;
            (state.extension, state.levels.0)
        });
        let before = cpu::priority();
        cpu::set_priority(level.max(before));
        let locks = spin::count();
        self.take_interrupt_locks(Callback::Initialize, 0, 0);
        let well = self.call_at(level, Callback::Initialize, driver.initialize, &[extension]);
        spin::release_since(locks);
        cpu::set_priority(before);
        if well as u8 == 0 {
            dbg_print!("NT: HwStorInitialize returned FALSE");
            self.with(|state| state.initialized = false);
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        let passive = self.with(|state| core::mem::take(&mut state.passive_routine));
        if passive != 0 && self.call_at(0, Callback::Passive, passive, &[extension]) as u8 == 0 {
            dbg_print!("NT: HwStorPassiveInitializeRoutine returned FALSE");
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        self.watch_writes();
        Ok(())
    }

    /// From here on routines of the miniport run on several processors.
    fn watch_writes(&self) {
        let size = driver().map_or(0, |driver| driver.device_extension_size);
        let ranges = self.with(|state| {
            let (uncached, bytes) = state.uncached;
            [(state.extension, size.into()), (uncached, bytes.into())]
        });
        watch::begin(self.n, &ranges);
    }

    /// Whether the miniport has said that it can be asked for this.
    pub fn supports(&self, what: Control) -> bool {
        self.with(|state| state.supports[what.kind() as usize])
    }

    /// Whether it can be restarted where it was stopped for D3.
    pub fn can_restart(&self) -> bool {
        self.has(control::POWER) || self.supports(Control::Restart)
    }

    /// Whether it supports a type of `SCSI_ADAPTER_CONTROL_TYPE`.
    pub(super) fn has(&self, kind: u32) -> bool {
        self.with(|state| state.supports[kind as usize])
    }

    /// The device was pulled out: the miniport is told if it can be, and whatever it still has is over.
    pub fn surprise_removal(&self) {
        self.settle();
        watch::end(self.n);
        self.with(|state| state.gone = true);
        self.tell_surprise_removal();
        if self.supports(Control::SurpriseRemoval) {
            self.forbid_registers();
            self.control(Control::SurpriseRemoval);
        } else {
            // What it is asked for is no removal, and it may not know.
            self.control(Control::Stop);
            self.forbid_registers();
        }
        self.quiet();
    }

    /// Registers of the device are at `address`.
    pub(super) fn registers(&self, address: u64, length: u32) {
        self.with(|state| {
            if let Some(free) = state.mapped.iter_mut().find(|mapped| mapped.0 == 0) {
                *free = (address, length);
            }
        });
    }

    /// From now on the miniport knows that they are not there.
    fn forbid_registers(&self) {
        for (address, length) in self.with(|state| state.mapped) {
            if address != 0 {
                trap::set(self.n, Reason::Gone, address, length.into());
            }
        }
        checks::kept(self.n, Check::Gone);
    }

    /// Whether the device was pulled out.
    pub fn is_gone(&self) -> bool {
        self.with(|state| state.gone)
    }

    /// `ScsiRestartAdapter`, after which interrupts are the miniport's again.
    pub fn restart(&self) -> Option<bool> {
        if self.has(control::POWER) {
            self.with(|state| state.initialized = true);
            let well = self.power_adapter(power::D0);
            self.watch_writes();
            return well;
        }
        self.call_control(0, control::SET_RUNNING_CONFIG, 0);
        self.with(|state| state.initialized = true);
        let well = self.control(Control::Restart);
        self.watch_writes();
        well
    }

    /// The adapter stops: `ScsiStopAdapter`, or for D3 `ScsiAdapterPower`, if the miniport has that.
    pub fn stop(&self, why: Leaving) {
        self.settle();
        if self.with(|state| state.initialized) {
            self.leaves(why);
        }
        watch::end(self.n);
        if why == Leaving::Sleep && self.has(control::POWER) {
            self.power_adapter(power::D3);
        } else {
            self.control(Control::Stop);
        }
        self.quiet();
    }

    /// `ScsiAdapterPower` with `STOR_ADAPTER_CONTROL_POWER`: a header of eight bytes, the action, the state.
    fn power_adapter(&self, state: u32) -> Option<bool> {
        const SIZE: u32 = 16;
        let at = vm::allocate(SIZE.into())?;
        // SAFETY: the memory has this size.
        unsafe {
            (at as *mut u32).write(1);
            ((at + 4) as *mut u32).write(SIZE);
            ((at + 12) as *mut u32).write(state);
        }
        self.call_control(DISPATCH_LEVEL, control::POWER, at)
    }

    /// `HwStorAdapterControl` at the device's IRQL, if the miniport supports what is asked. `None` when it
    /// does not, else whether it succeeded.
    pub fn control(&self, what: Control) -> Option<bool> {
        let level = self.with(|state| state.levels.0);
        self.call_control(level, what.kind(), 0)
    }

    fn call_control(&self, level: u8, kind: u32, parameters: u64) -> Option<bool> {
        let driver = driver()?;
        let (extension, supported) =
            self.with(|state| (state.extension, state.supports[kind as usize]));
        let asked = supported && driver.adapter_control != 0;
        // ScsiAdapterControlSuccess is 0.
        asked.then(|| {
            self.call_at(
                level,
                Callback::AdapterControl,
                driver.adapter_control,
                &[extension, kind.into(), parameters],
            ) as u32
                == 0
        })
    }

    /// The adapter is stopped: its interrupts are none of the miniport's any more.
    pub fn quiet(&self) {
        self.with(|state| {
            state.initialized = false;
            state.timer = None;
        });
        dpc::flush();
    }

    /// Waits until no request is on its way to the miniport on another processor. At `PASSIVE_LEVEL`.
    pub(super) fn settle(&self) {
        const LOOKS: u32 = 10_000;
        let is_settled = || self.with(|state| state.starting) == 0;
        let at_once = (0..LOOKS).any(|_| {
            cpu::pause();
            is_settled()
        });
        if !at_once {
            time::poll(PATIENCE, is_settled);
        }
    }

    /// `HwStorResetBus` at `DISPATCH_LEVEL`, under the StartIo lock.
    pub fn reset_bus(&self) -> bool {
        let Some(driver) = driver() else { return false };
        self.settle();
        let before = cpu::priority();
        cpu::set_priority(before.max(DISPATCH_LEVEL));
        let extension = self.with(|state| state.extension);
        spin::take(self.n, Lock::StartIo, Callback::ResetBus, 0, 0);
        let done = self.call_at(
            DISPATCH_LEVEL,
            Callback::ResetBus,
            driver.reset_bus,
            &[extension, 0],
        ) as u8
            != 0;
        spin::give_back();
        cpu::set_priority(before);
        done
    }

    /// An interrupt: `HwStorInterrupt` for a line, else the routine for messages that the miniport named.
    /// Whether it is the miniport's. Runs at the interrupt's IRQL.
    pub fn interrupt(&self, message: Option<u32>) -> bool {
        let Some(driver) = driver() else { return false };
        let (extension, initialized) = self.with(|state| (state.extension, state.initialized));
        if !initialized {
            return false;
        }
        let lock = self.lock_of(message.unwrap_or(0));
        // Where messages share a lock, they have the highest of their IRQLs.
        if lock == Lock::Message(0) {
            let highest = self.with(|state| state.levels.0);
            cpu::set_priority(cpu::priority().max(highest));
        }
        let level = cpu::priority();
        spin::take(self.n, lock, Callback::Interrupt, 0, 0);
        let claimed = match message {
            Some(message) => {
                let routine = self.configuration().message_routine;
                if routine == 0 {
                    self.call_at(level, Callback::Interrupt, driver.interrupt, &[extension])
                } else {
                    self.call_at(
                        level,
                        Callback::Interrupt,
                        routine,
                        &[extension, message.into()],
                    )
                }
            }
            None => self.call_at(level, Callback::Interrupt, driver.interrupt, &[extension]),
        };
        spin::give_back();
        let claimed = claimed as u8 != 0;
        if message.is_none() && !is_dumping() {
            self.with(|state| match claimed {
                true => state.line.claimed += 1,
                false => state.line.unclaimed += 1,
            });
        }
        claimed
    }

    /// Calls the interrupt routine as when another device on the line has interrupted.
    pub fn ask_line(&self) {
        let (level, granted) = self.with(|state| (state.levels.0, state.granted));
        if granted > 0 {
            return;
        }
        let before = cpu::priority();
        cpu::set_priority(level.max(before));
        let claimed = self.interrupt(None);
        cpu::set_priority(before);
        if !claimed {
            dispatch::not_claimed(self.n);
        }
        self.with(|state| {
            state.line.asked += 1;
            state.line.unclaimed -= u32::from(!claimed);
        });
    }

    /// Prints what is only known at the end.
    pub fn print(&self) {
        let (line, extension) = self.with(|state| (state.line, state.extension));
        if extension == 0 {
            return;
        }
        checks::kept(self.n, Check::Poll);
        lent::print(self.n);
        if line.asked > 0 {
            let Line {
                claimed,
                unclaimed,
                asked,
            } = line;
            let n = self.n;
            dbg_print!("NT: claims dev={n} claimed={claimed} unclaimed={unclaimed} asked={asked}");
        }
    }

    /// Watches the registers that are mapped, or the common buffer: the next access says what is waited for.
    pub fn watch(&self, registers: bool) {
        if !registers {
            let (address, length) = self.with(|state| state.uncached);
            return trap::set(self.n, Reason::PolledMemory, address, length.into());
        }
        for (address, length) in self.with(|state| state.mapped) {
            if address != 0 {
                trap::set(self.n, Reason::Polled, address, length.into());
            }
        }
    }

    /// The BAR and the offset of a register, by its physical address; and likewise of the common buffer.
    pub fn register(&self, physical: u64) -> Option<(usize, u64)> {
        let bars = self.with(|state| state.bars);
        bars.into_iter().filter(|bar| !bar.ports).find_map(|bar| {
            let at = physical.checked_sub(bar.start)?;
            (at < bar.length.into()).then_some((bar.number.into(), at))
        })
    }

    /// Where in the common buffer an address is.
    pub fn in_common_buffer(&self, address: u64) -> u64 {
        address.saturating_sub(self.with(|state| state.uncached.0))
    }

    /// A routine of the miniport's under its interrupt lock. What it returns.
    pub(super) fn synchronized(&self, routine: u64, context: u64) -> u8 {
        let (extension, level) = self.with(|state| (state.extension, state.levels.0));
        let held = spin::has_interrupt_lock(self.n);
        let text = format_args!("StorPortSynchronizeAccess with the interrupt lock held");
        checks::check(self.n, Check::Lock, !held, text);
        let before = cpu::priority();
        cpu::set_priority(level.max(before));
        let locks = spin::count();
        self.take_interrupt_locks(locks::current(), thunk::called_from(), 0);
        let result = self.call_at(
            level,
            Callback::Synchronized,
            routine,
            &[extension, context],
        );
        spin::release_since(locks);
        cpu::set_priority(before);
        result as u8
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
            self.call_at(DISPATCH_LEVEL, Callback::Timer, routine, &[extension]);
            spin::give_back();
            cpu::set_priority(before);
        }
        self.with(|state| state.timer)
            .map_or(u64::MAX, |timer| timer.0)
    }

    /// Where messages go: the vector of each, and the processor.
    pub fn set_messages(&self, messages: impl Iterator<Item = (u32, usize)>) {
        self.with(|state| {
            for (own, message) in state.messages.iter_mut().zip(messages) {
                *own = message;
            }
        });
    }

    /// IRQL, vector and processor of a message.
    pub(super) fn message(&self, message: u32) -> (u8, u32, usize) {
        let known = self.with(|state| state.messages.get(message as usize).copied());
        let (vector, processor) = known.unwrap_or((self.with(|state| state.levels.1), 0));
        (irql(vector as u8), vector, processor)
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
