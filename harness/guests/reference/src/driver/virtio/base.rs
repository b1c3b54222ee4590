//! The part of a driver that is the same for all kinds of virtio devices.

use super::function::Wanted;
use super::interrupt::Isr;
use super::queue::Queue;
use super::registers::Registers;
use super::transport::Transport;
use super::vectors::Plan;
use crate::driver::Settings;
use crate::driver::mistake::Mistake;
use crate::hal::pci::Function;
use crate::hal::time;
use crate::nt::interrupt::Info;
use crate::nt::status::NtStatus;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// What a driver knows of its device and of how far it has come with it.
pub struct Base {
    pub settings: Settings,
    pub isr: &'static Isr,
    pub transport: Option<Transport>,
    /// Where the device is on the bus.
    pub function: Option<Function>,
    /// The messages that were granted and have an object, by number.
    pub messages: Vec<Info>,
    pub plan: Plan,
    /// How often the device was started.
    pub starts: u32,
    /// Vectors have been written since the device was added.
    pub programmed: bool,
    pub status: u8,
    pub features: u64,
    /// The queues in use.
    pub wanted: Vec<Wanted>,
    /// The queues' memory: those in use first, in the same order.
    pub queues: Vec<Queue>,
    /// The generation that the configuration was last read in.
    pub generation: u8,
    /// DRIVER_OK is set.
    pub live: bool,
    /// The driver has suspended the device, which is not live then.
    pub suspended: bool,
    pub needs_reset: bool,
    pub ring_error: bool,
    /// What the configuration said last, where nothing but another reading tells of a change.
    pub said: Option<String>,
    /// A change of the configuration that nobody has asked about yet.
    pub change: Option<String>,
    pub changes: u32,
    pub resets: u32,
    /// Resets without a load since the device was started.
    pub in_vain: u32,
    pub lost: u32,
    /// Interrupts of queues that led to nothing.
    pub fruitless: u32,
    /// The load that runs.
    pub load: Option<Tally>,
}

/// How a load goes.
#[derive(Debug, Default)]
pub struct Tally {
    pub finished: u64,
    pub errors: u64,
    pub lost: u32,
    pub timeouts: u32,
    /// Why it ends early.
    pub reason: Option<&'static str>,
    /// Resets since something was last finished.
    pub resets: u32,
}

impl Base {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            isr: Box::leak(Box::new(Isr::new(settings.mistakes))),
            transport: None,
            function: None,
            messages: Vec::new(),
            plan: Plan::IsrStatus,
            starts: 0,
            programmed: false,
            status: 0,
            features: 0,
            wanted: Vec::new(),
            queues: Vec::new(),
            generation: 0,
            live: false,
            suspended: false,
            needs_reset: false,
            ring_error: false,
            said: None,
            change: None,
            changes: 0,
            resets: 0,
            in_vain: 0,
            lost: 0,
            fruitless: 0,
            load: None,
        }
    }

    /// Whether the driver makes this mistake.
    pub fn makes(&self, mistake: Mistake) -> bool {
        self.settings.mistakes.has(mistake)
    }

    /// Whether the driver uses the legacy interface.
    pub fn is_legacy(&self) -> bool {
        self.transport
            .is_some_and(|transport| transport.is_legacy())
    }

    /// Whether all these features were accepted.
    pub fn has(&self, features: u64) -> bool {
        self.features & features == features
    }

    /// Whether a field of the configuration that comes with a feature is there.
    pub fn may_read(&self, feature: u64) -> bool {
        self.has(feature) || self.makes(Mistake::OPTIONAL_CONFIG_UNCHECKED)
    }

    /// How many queues, in groups of `each`, there is a message for beside the configuration and
    /// `others` queues: one group at least, which shares if it must. Without messages the line
    /// serves any number.
    pub fn queues_for_messages(&self, others: usize, each: usize) -> u16 {
        let messages = self.messages.len();
        if messages == 0 {
            return u16::MAX;
        }
        let groups = if self.makes(Mistake::ZERO_PAIRS) {
            (messages - 1) / each
        } else {
            (messages.saturating_sub(1 + others) / each).max(1)
        };
        groups as u16
    }

    /// Queues in use.
    pub fn used(&self) -> usize {
        self.wanted.len()
    }

    /// The queues in use. Before they are enabled for the first time there are none.
    pub fn active(&mut self) -> &mut [Queue] {
        let used = self.wanted.len().min(self.queues.len());
        &mut self.queues[..used]
    }

    /// The registers.
    ///
    /// # Errors
    /// They have not been found.
    pub fn registers(&self) -> Result<Transport, NtStatus> {
        self.transport.ok_or(NtStatus::DEVICE_NOT_READY)
    }

    /// Reads something of the configuration in one generation, and notes which. `None` without
    /// registers or without a configuration.
    pub fn config<T: PartialEq>(&mut self, read: impl Fn(Registers) -> T) -> Option<T> {
        let (value, generation) = self.transport?.config(self.settings.mistakes, read)?;
        self.generation = generation;
        Some(value)
    }

    /// Reads the function's status, which knows of interrupts: the one for what the device has used before
    /// was sent then, if it is ever.
    pub fn catch_up(&self) {
        if let Some(function) = self.function {
            function.status();
        }
    }

    /// When a request that is issued now is late, in microseconds since boot.
    pub fn time_limit(&self) -> u64 {
        time::now() + self.settings.timeout_ms * 1000
    }
}
