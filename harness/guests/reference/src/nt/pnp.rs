//! A device's life under PnP and the framework: resources, the driver's callbacks in their order,
//! connecting, and how it ends.

use super::bus::Slot;
use super::dispatch::{self, InterruptService};
use super::interrupt::{Config, Info, Objects, Place};
use super::policy::{self, Assignment, Capabilities, Grant, Inf, Kind, Os};
use super::resources::{Requirement, Resources};
use super::status::{NtStatus, Traced};
use super::vectors::Vectors;
use crate::dbg_print;
use crate::hal::pci::Function;
use alloc::vec::Vec;

/// `CM_PROB_FAILED_START`.
const FAILED_START: u32 = 10;
/// `CM_PROB_NORMAL_CONFLICT`: not enough free resources.
const NORMAL_CONFLICT: u32 = 12;
/// `CM_PROB_FAILED_POST_START`: the driver has reported a failure.
const FAILED_POST_START: u32 = 43;

/// What the system and the INF say about a device's interrupts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// Version of Windows.
    pub os: Os,
    /// The INF.
    pub inf: Inf,
    /// What is handed out.
    pub grant: Grant,
}

/// Why a device does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The device's status.
    pub status: NtStatus,
    /// The problem number that Device Manager shows.
    pub problem: u32,
}

/// The framework's device, as its driver sees it.
pub struct WdfDevice {
    /// Number of the device.
    pub index: usize,
    /// Its place in configuration space.
    pub function: Function,
    /// What PnP has handed out.
    pub resources: Resources,
    slot: Slot,
    capabilities: Capabilities,
    policy: Policy,
    objects: Objects,
    service: Option<&'static dyn InterruptService>,
    assignment: Assignment,
    line_only: bool,
    line_wanted: bool,
    failed: Option<NtStatus>,
    asleep: bool,
    removed: bool,
}

/// What a driver supplies.
pub trait Driver {
    /// `EvtDriverDeviceAdd`.
    ///
    /// # Errors
    /// The device does not start.
    fn device_add(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus>;

    /// `EvtDeviceFilterRemoveResourceRequirements`: the driver may change what is asked for.
    fn filter_requirements(&mut self, requirements: &mut Vec<Requirement>);

    /// `EvtDevicePrepareHardware`.
    ///
    /// # Errors
    /// The device does not start, with this status.
    fn prepare_hardware(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus>;

    /// `EvtDeviceD0Entry`.
    ///
    /// # Errors
    /// The device does not start: power failure.
    fn d0_entry(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus>;

    /// `EvtDeviceD0EntryPostInterruptsEnabled`.
    ///
    /// # Errors
    /// The device does not start: power failure.
    fn interrupts_enabled(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus>;

    /// `EvtDeviceD0ExitPreInterruptsDisabled`, and `EvtDeviceD0Exit` where interrupts never were
    /// connected: the device must be quiet afterwards.
    fn d0_exit(&mut self, device: &mut WdfDevice);

    /// `EvtDeviceReleaseHardware`.
    fn release_hardware(&mut self, device: &mut WdfDevice);

    /// `EvtDeviceSurpriseRemoval`: the function is gone already. `d0_exit` and `release_hardware` follow.
    fn surprise_removal(&mut self, _device: &mut WdfDevice) {}

    /// `EvtInterruptDpc`.
    fn dpc(&mut self, device: &mut WdfDevice, handle: usize);

    /// What a work item does at `PASSIVE_LEVEL` after the DPCs.
    fn work(&mut self, device: &mut WdfDevice);
}

impl WdfDevice {
    /// `WdfInterruptCreate`.
    ///
    /// # Errors
    /// As `Objects::create`; `INSUFFICIENT_RESOURCES` beyond the model's limit.
    pub fn interrupt_create(
        &mut self,
        config: Config,
        service: &'static dyn InterruptService,
    ) -> Result<usize, NtStatus> {
        if self.objects.len() == dispatch::MOST_OBJECTS {
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
        self.service = Some(service);
        self.objects.create(config, &self.resources)
    }

    /// `WdfInterruptGetInfo`.
    pub fn interrupt_info(&self, handle: usize) -> Option<Info> {
        self.objects.info(handle)
    }

    /// How many interrupt objects there are.
    pub fn interrupt_count(&self) -> usize {
        self.objects.len()
    }

    /// How messages reach the driver; `None` for a line.
    pub fn message_kind(&self) -> Option<Kind> {
        match self.assignment {
            Assignment::Messages(kind, _) => Some(kind),
            _ => None,
        }
    }

    /// How many messages were granted.
    pub fn granted(&self) -> usize {
        self.assignment.granted()
    }

    /// The resource requirements have changed: messages are to be filtered out, and the device
    /// stopped and started again with its line. `false` when it has none, or has it already.
    pub fn request_line(&mut self) -> bool {
        let possible = self.capabilities.line.is_some() && !self.line_only;
        self.line_wanted |= possible;
        possible
    }

    /// Whether the driver has asked for its line and not got it yet.
    pub fn line_is_wanted(&self) -> bool {
        self.line_wanted
    }

    /// Whether D0 is left for D3, and not for good: the `TargetState` of `EvtDeviceD0Exit`.
    pub fn goes_to_sleep(&self) -> bool {
        self.asleep
    }

    /// Whether D0 is left since the device is removed, and not stopped.
    pub fn is_removed(&self) -> bool {
        self.removed
    }

    /// `WdfDeviceSetFailed`: the driver gives the device up.
    pub fn set_failed(&mut self, status: NtStatus) {
        self.failed = Some(status);
    }
}

/// What a device needs next, after its DPCs and work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// A stop and a start with other resources.
    Restart,
    /// To be stopped for good.
    Fail(Failure),
}

/// A device and its driver.
pub struct Device<D> {
    /// The framework's part.
    pub wdf: WdfDevice,
    /// The driver's part.
    pub driver: D,
    /// Whether it runs.
    pub started: bool,
}

impl<D: Driver> Device<D> {
    /// A device that the bus has found. It is not started.
    ///
    /// # Errors
    /// What `EvtDriverDeviceAdd` returned.
    pub fn add(
        index: usize,
        function: Function,
        policy: Policy,
        driver: D,
    ) -> Result<Self, Failure> {
        function.place_bars();
        let slot = Slot::new(function);
        let mut device = Self {
            wdf: WdfDevice {
                index,
                function,
                resources: Resources::default(),
                slot,
                capabilities: slot.capabilities(),
                policy,
                objects: Objects::default(),
                service: None,
                assignment: Assignment::Nothing,
                line_only: false,
                line_wanted: false,
                failed: None,
                asleep: false,
                removed: false,
            },
            driver,
            started: false,
        };
        device.wdf.objects.enter(Place::DeviceAdd);
        device
            .driver
            .device_add(&mut device.wdf)
            .map_err(|status| Failure {
                status,
                problem: FAILED_START,
            })?;
        Ok(device)
    }

    /// `IRP_MN_START_DEVICE`. A driver that asks for its line is started a second time.
    ///
    /// # Errors
    /// Why it does not run; everything is released then.
    pub fn start(&mut self, vectors: &mut Vectors) -> Result<(), Failure> {
        let first = self.start_once(vectors);
        if !self.take_line_wanted() {
            return first;
        }
        if first.is_ok() {
            self.stop(vectors);
        }
        self.start_once(vectors)
    }

    fn take_line_wanted(&mut self) -> bool {
        let wanted = core::mem::take(&mut self.wdf.line_wanted);
        if wanted {
            self.wdf.line_only = true;
            dbg_print!("PNP: resource requirements changed, starting with a line-based interrupt");
        }
        wanted
    }

    fn start_once(&mut self, vectors: &mut Vectors) -> Result<(), Failure> {
        self.allocate(vectors)?;
        self.wdf.failed = None;
        self.wdf.slot.start(&self.wdf.assignment);
        self.wdf.objects.enter(Place::PrepareHardware);
        self.wdf.objects.assign(&self.wdf.resources);
        let prepared = self.driver.prepare_hardware(&mut self.wdf);
        self.wdf.objects.enter(Place::Started);
        if let Err(status) = prepared {
            self.wdf.slot.stop(&self.wdf.assignment, false);
            self.release(vectors);
            return Err(Failure {
                status,
                problem: FAILED_START,
            });
        }
        self.power_up().inspect_err(|_| self.release(vectors))
    }

    /// The requirements, the driver's filter, and what PnP makes of them.
    fn allocate(&mut self, vectors: &mut Vectors) -> Result<(), Failure> {
        let wdf = &mut self.wdf;
        let mut list = policy::requirements(wdf.capabilities, wdf.policy.inf);
        self.driver.filter_requirements(&mut list);
        if wdf.line_only {
            list.retain(|requirement| !requirement.is_message());
        }
        let kind = if wdf.capabilities.msix > 0 {
            Kind::Msix
        } else {
            Kind::Msi
        };
        let (os, grant) = (wdf.policy.os, wdf.policy.grant);
        let (entries, limit) = (wdf.capabilities.msix, os.message_limit());
        if entries > limit {
            dbg_print!("PNP: {entries} messages in the table, the system's limit is {limit}");
        }
        wdf.assignment =
            policy::assign(&list, kind, os, grant, vectors).map_err(|status| Failure {
                status,
                problem: NORMAL_CONFLICT,
            })?;
        wdf.resources = wdf.assignment.resources();
        Ok(())
    }

    /// Into D0: the driver, the interrupts, the driver again. A failure on the way is a power
    /// failure to PnP, whatever the status was.
    fn power_up(&mut self) -> Result<(), Failure> {
        const POWER_FAILURE: Failure = Failure {
            status: NtStatus::DEVICE_POWER_FAILURE,
            problem: FAILED_START,
        };
        if let Err(status) = self.driver.d0_entry(&mut self.wdf) {
            dbg_print!("WDF: EvtDeviceD0Entry returned {status}");
            self.driver.d0_exit(&mut self.wdf);
            self.wdf.slot.stop(&self.wdf.assignment, false);
            return Err(POWER_FAILURE);
        }
        if let Err((status, info)) = self.connect() {
            print_connect_failure(status, &info, &raw const self.wdf as u64);
            self.driver.d0_exit(&mut self.wdf);
            self.wdf.slot.stop(&self.wdf.assignment, false);
            return Err(POWER_FAILURE);
        }
        self.wdf.slot.unmask(&self.wdf.assignment);
        self.started = true;
        if let Err(status) = self.driver.interrupts_enabled(&mut self.wdf) {
            dbg_print!("WDF: EvtDeviceD0EntryPostInterruptsEnabled returned {status}");
            self.power_down();
            return Err(POWER_FAILURE);
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<(), (NtStatus, Info)> {
        let WdfDevice {
            index,
            objects,
            service,
            ..
        } = &mut self.wdf;
        let Some(service) = *service else {
            return Ok(());
        };
        objects.connect(
            |handle, info| dispatch::connect(*index, handle, info, service),
            |handle, info| {
                dispatch::disconnect(*index, handle, info);
            },
        )
    }

    fn power_down(&mut self) {
        self.started = false;
        self.driver.d0_exit(&mut self.wdf);
        let mut last = false;
        let index = self.wdf.index;
        self.wdf
            .objects
            .disconnect(|handle, info| last |= dispatch::disconnect(index, handle, info));
        self.wdf.slot.stop(&self.wdf.assignment, last);
    }

    fn release(&mut self, vectors: &mut Vectors) {
        self.driver.release_hardware(&mut self.wdf);
        self.wdf.objects.revoke();
        self.wdf.assignment.release(vectors);
        self.wdf.assignment = Assignment::Nothing;
        self.wdf.resources = Resources::default();
    }

    /// Stops the device: the driver, then the interrupts, then the resources.
    pub fn stop(&mut self, vectors: &mut Vectors) {
        if self.started {
            self.power_down();
            self.release(vectors);
        }
    }

    /// `IRP_MN_REMOVE_DEVICE`: stops the device for good.
    pub fn remove(&mut self, vectors: &mut Vectors) {
        self.wdf.removed = true;
        self.stop(vectors);
    }

    /// `IRP_MN_SET_POWER` to D3: the resources stay the device's.
    pub fn sleep(&mut self) {
        if self.started {
            self.wdf.asleep = true;
            self.power_down();
            self.wdf.slot.set_power(3);
        }
    }

    /// `IRP_MN_SET_POWER` to D0. The bus restores configuration space and messages, since a function may
    /// have lost them.
    ///
    /// # Errors
    /// Why it does not run; everything is released then.
    pub fn wake(&mut self, vectors: &mut Vectors) -> Result<(), Failure> {
        if !core::mem::take(&mut self.wdf.asleep) {
            return Ok(());
        }
        self.wdf.slot.set_power(0);
        self.wdf.slot.start(&self.wdf.assignment);
        self.power_up().inspect_err(|_| self.release(vectors))
    }

    /// What the next start is granted: a rebalance stops a device and starts it with other resources.
    pub fn set_grant(&mut self, grant: Grant) {
        self.wdf.policy.grant = grant;
    }

    /// `IRP_MN_SURPRISE_REMOVAL`: the bus has found the function gone. The driver learns of it, is taken
    /// out of D0 and gives its resources back; nothing of the bus touches the function any more.
    pub fn surprise_remove(&mut self, vectors: &mut Vectors) {
        self.driver.surprise_removal(&mut self.wdf);
        if !core::mem::take(&mut self.started) {
            return;
        }
        self.driver.d0_exit(&mut self.wdf);
        let mut last = false;
        let index = self.wdf.index;
        self.wdf
            .objects
            .disconnect(|handle, info| last |= dispatch::disconnect(index, handle, info));
        self.wdf.slot.forget(&self.wdf.assignment, last);
        self.release(vectors);
    }

    /// Runs the DPCs that wait, then the driver's work.
    pub fn run(&mut self) -> Need {
        if !self.started {
            return Need::Nothing;
        }
        let Self { wdf, driver, .. } = self;
        dispatch::run_dpcs(wdf.index, |handle| driver.dpc(wdf, handle));
        driver.work(wdf);
        if let Some(status) = wdf.failed.take() {
            return Need::Fail(Failure {
                status,
                problem: FAILED_POST_START,
            });
        }
        if self.take_line_wanted() {
            return Need::Restart;
        }
        Need::Nothing
    }
}

fn print_connect_failure(status: NtStatus, info: &Info, lock: u64) {
    dbg_print!(
        "FxInterrupt::Connect - IoConnectInterrupt(Ex) Failed, SpinLock 0x{:016X}, Vector {:#x}, \
         IRQL {:#x}, Synchronize IRQL {:#x}, Mode {:#x}, ShareVector {}, ProcessorGroup 0, \
         ProcessorEnableMask {:#x}, FloatingSave False, {}",
        lock,
        info.vector,
        info.irql,
        info.irql,
        info.mode,
        if info.mode == 0 { "True" } else { "False" },
        info.affinity,
        Traced(status)
    );
}
