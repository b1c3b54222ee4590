//! The drivers under the model: virtio drivers, one for the port-card, and one that is an image.
//!
//! Ours are correct unless told otherwise; see `mistake`.

pub mod args;
pub mod miniport;
pub mod mistake;
pub mod port_card;
pub mod virtio;

use crate::hal::pci::{Function, command};
use crate::nt::pnp::{Driver, WdfDevice};
use crate::nt::resources::Requirement;
use crate::nt::status::NtStatus;
use alloc::string::String;
use alloc::vec::Vec;
use args::Args;
use mistake::{Mistake, Mistakes};

/// Where interrupt objects are created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// In `EvtDevicePrepareHardware`, one for each message that was granted.
    #[default]
    Prepare,
    /// In `EvtDriverDeviceAdd`, one for each message that could be.
    Add,
}

/// By which registers a driver reaches a device that has both kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// The structures that the capabilities describe.
    Modern,
    /// The legacy registers in I/O ports.
    Legacy,
}

/// What the scenario tells a driver.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where it creates its interrupts.
    pub style: Style,
    /// What it does wrong.
    pub mistakes: Mistakes,
    /// Time limit of one request, and of a reset, in milliseconds.
    pub timeout_ms: u64,
    /// Queues to use at most.
    pub queues: u16,
    /// Requests in flight on a queue.
    pub depth: u16,
    /// The queues are polled, and have no vector.
    pub poll: bool,
    /// Whether registers are reached through the configuration access window.
    pub window: bool,
    /// The interface that it uses; `None`: the modern one if there is one.
    pub interface: Option<Interface>,
    /// Descriptors of a queue, at most.
    pub descriptors: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            style: Style::default(),
            mistakes: Mistakes::default(),
            timeout_ms: 2000,
            queues: 16,
            depth: 1,
            poll: false,
            window: false,
            interface: None,
            descriptors: 64,
        }
    }
}

/// How a command ended.
pub struct Outcome {
    /// `None`: well. Otherwise one word.
    pub reason: Option<&'static str>,
    /// `key=value`, separated by spaces.
    pub fields: String,
}

impl Outcome {
    /// It went well.
    pub fn ok(fields: String) -> Self {
        Self {
            reason: None,
            fields,
        }
    }

    /// It did not, for this reason.
    pub fn failed(reason: &'static str, fields: String) -> Self {
        Self {
            reason: Some(reason),
            fields,
        }
    }
}

/// How the device runs: what `MISFIRE: dev N started` says.
pub struct Running {
    /// `msix`, `msix-shared`, `msi`, `intx`.
    pub mode: &'static str,
    /// Distinct messages in use.
    pub used: usize,
    /// Queues, or ports.
    pub queues: usize,
}

/// What a driver does for the console.
pub trait Workload: Driver {
    /// How it runs.
    fn running(&self, device: &WdfDevice) -> Running;

    /// Begins a load.
    ///
    /// # Errors
    /// A word for what is wrong with the arguments.
    fn begin(&mut self, device: &mut WdfDevice, args: &Args) -> Result<(), &'static str>;

    /// Goes on with the load; the outcome when it is over.
    fn poll(&mut self, device: &mut WdfDevice) -> Option<Outcome>;

    /// When `poll` wants to be called again at the latest, in microseconds since boot.
    fn deadline(&self) -> u64;

    /// `key=value` for the `state` command.
    fn state(&mut self, device: &WdfDevice) -> String;

    /// Resets one queue and sets it up again.
    ///
    /// # Errors
    /// A word for what went wrong.
    fn reset_queue(&mut self, _queue: u16) -> Result<(), &'static str> {
        Err("unsupported")
    }

    /// Suspends the device by its status.
    ///
    /// # Errors
    /// A word for what went wrong.
    fn suspend(&mut self) -> Result<(), &'static str> {
        Err("unsupported")
    }

    /// Lets a suspended device go on.
    ///
    /// # Errors
    /// A word for what went wrong.
    fn resume(&mut self) -> Result<(), &'static str> {
        Err("unsupported")
    }

    /// A configuration change that nobody has asked about yet: `key=value`.
    fn take_change(&mut self) -> Option<String>;

    /// Whether nothing is under way that a start or a change has led to.
    fn is_settled(&self) -> bool {
        true
    }
}

/// The drivers of this kernel.
pub enum AnyDriver {
    /// virtio block.
    Block(alloc::boxed::Box<virtio::BlockDriver>),
    /// virtio console.
    Console(alloc::boxed::Box<virtio::ConsoleDriver>),
    /// virtio network.
    Net(alloc::boxed::Box<virtio::NetDriver>),
    /// virtio entropy.
    Rng(alloc::boxed::Box<virtio::RngDriver>),
    /// virtio SCSI.
    Scsi(alloc::boxed::Box<virtio::ScsiDriver>),
    /// Port-card.
    Ports(alloc::boxed::Box<port_card::PortCard>),
    /// An image of Windows.
    Miniport(alloc::boxed::Box<miniport::Miniport>),
}

macro_rules! either {
    ($self:ident, $driver:ident => $call:expr) => {
        match $self {
            Self::Block($driver) => $call,
            Self::Console($driver) => $call,
            Self::Net($driver) => $call,
            Self::Rng($driver) => $call,
            Self::Scsi($driver) => $call,
            Self::Ports($driver) => $call,
            Self::Miniport($driver) => $call,
        }
    };
}

impl Driver for AnyDriver {
    fn device_add(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        either!(self, driver => driver.device_add(device))
    }
    fn filter_requirements(&mut self, requirements: &mut Vec<Requirement>) {
        either!(self, driver => driver.filter_requirements(requirements))
    }
    fn prepare_hardware(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        either!(self, driver => driver.prepare_hardware(device))
    }
    fn d0_entry(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        either!(self, driver => driver.d0_entry(device))
    }
    fn interrupts_enabled(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        either!(self, driver => driver.interrupts_enabled(device))
    }
    fn d0_exit(&mut self, device: &mut WdfDevice) {
        either!(self, driver => driver.d0_exit(device))
    }
    fn release_hardware(&mut self, device: &mut WdfDevice) {
        either!(self, driver => driver.release_hardware(device))
    }
    fn surprise_removal(&mut self, device: &mut WdfDevice) {
        either!(self, driver => driver.surprise_removal(device))
    }
    fn dpc(&mut self, device: &mut WdfDevice, handle: usize) {
        either!(self, driver => driver.dpc(device, handle))
    }
    fn work(&mut self, device: &mut WdfDevice) {
        either!(self, driver => driver.work(device))
    }
}

impl Workload for AnyDriver {
    fn running(&self, device: &WdfDevice) -> Running {
        either!(self, driver => driver.running(device))
    }
    fn begin(&mut self, device: &mut WdfDevice, args: &Args) -> Result<(), &'static str> {
        either!(self, driver => driver.begin(device, args))
    }
    fn poll(&mut self, device: &mut WdfDevice) -> Option<Outcome> {
        either!(self, driver => driver.poll(device))
    }
    fn deadline(&self) -> u64 {
        either!(self, driver => driver.deadline())
    }
    fn state(&mut self, device: &WdfDevice) -> String {
        either!(self, driver => driver.state(device))
    }
    fn reset_queue(&mut self, queue: u16) -> Result<(), &'static str> {
        either!(self, driver => driver.reset_queue(queue))
    }
    fn suspend(&mut self) -> Result<(), &'static str> {
        either!(self, driver => driver.suspend())
    }
    fn resume(&mut self) -> Result<(), &'static str> {
        either!(self, driver => driver.resume())
    }
    fn take_change(&mut self) -> Option<String> {
        either!(self, driver => driver.take_change())
    }
    fn is_settled(&self) -> bool {
        either!(self, driver => driver.is_settled())
    }
}

/// The entry that a driver gives its first queue, and bytes of an entry.
const MESSAGE_OF_FIRST_QUEUE: usize = 1;
const ENTRY_BYTES: usize = 16;

/// Registers of the function that are the bus driver's, and that some mistaken drivers write. To be
/// called before interrupts are connected.
fn meddle(function: Function, mistakes: Mistakes) {
    if mistakes.has(Mistake::BUS_MASTER_OFF) {
        function.command(0, command::BUS_MASTER);
    }
    if mistakes.has(Mistake::LINE_FORBIDDEN) {
        function.command(command::INTERRUPT_DISABLE, 0);
    }
    if mistakes.has(Mistake::ENTRY_UNPROGRAMMED)
        && let Some(table) = function.message_table()
    {
        table.write(MESSAGE_OF_FIRST_QUEUE * ENTRY_BYTES, 0u32);
    }
}

/// Leaves no more than `most` messages in the requirements, whatever the table's size.
fn keep_messages(requirements: &mut Vec<Requirement>, most: usize) {
    let mut kept = 0;
    requirements.retain(|requirement| {
        kept += usize::from(requirement.is_message());
        !requirement.is_message() || kept <= most
    });
}
