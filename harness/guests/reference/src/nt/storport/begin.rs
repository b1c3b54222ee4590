//! How an adapter begins: `HwStorFindAdapter`, what the miniport can control, `HwStorInitialize`, the passive routine.

use super::abi::{
    AccessRange, DEFAULT_BREAKS, DMA64_SYSTEM, EXTENDED_SRB, HwInitializationData,
    PortConfiguration, UNINITIALIZED, control, found,
};
use super::entry::{driver, is_dumping, text};
use super::locks::Callback;
use super::port::Port;
use super::spin;
use crate::dbg_print;
use crate::hal::pci::Function;
use crate::hal::{cpu, vm};
use crate::nt::checks::{self, Check};
use crate::nt::status::NtStatus;
use crate::nt::{lent, watch};
use alloc::string::String;

impl Port {
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
            found::FOUND => checks::kept(self.number(), Check::Found),
            found::NOT_FOUND => return Err(NtStatus::NO_SUCH_DEVICE),
            found::ERROR | found::BAD_CONFIG => {
                dbg_print!("NT: HwStorFindAdapter returned {result}");
                return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
            }
            other => {
                let text =
                    format_args!("HwStorFindAdapter returned {other}, which is none of its values");
                checks::broken(self.number(), Check::Found, text);
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
        lent::lend(self.number(), "the device extension", extension, size);
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
        checks::check(self.number(), Check::Control, kept, text);
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
    pub(super) fn watch_writes(&self) {
        let size = driver().map_or(0, |driver| driver.device_extension_size);
        let ranges = self.with(|state| {
            let (uncached, bytes) = state.uncached;
            [(state.extension, size.into()), (uncached, bytes.into())]
        });
        watch::begin(self.number(), &ranges);
    }
}
