//! What an adapter is told while it lives: that it stops, is restarted, is reset, or is gone.

use super::abi::{control, power};
use super::entry::driver;
use super::locks::Callback;
use super::notice::Leaving;
use super::port::Port;
use super::spin::{self, Lock};
use crate::hal::{cpu, time, vm};
use crate::nt::checks::{self, Check};
use crate::nt::dispatch::{self, DISPATCH_LEVEL};
use crate::nt::trap::{self, Reason};
use crate::nt::{dpc, watch};

/// So long a request may be on its way to the miniport, in microseconds.
const PATIENCE: u64 = 3_000_000;

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

impl Port {
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
        watch::end(self.number());
        self.with(|state| state.gone = true);
        self.tell_surprise_removal();
        // What runs on another processor has not been told.
        dispatch::settle();
        dpc::flush();
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

    /// From now on the miniport knows that they are not there.
    fn forbid_registers(&self) {
        for (address, length, _) in self.with(|state| state.mapped) {
            if address != 0 {
                trap::set(self.number(), Reason::Gone, address, length.into());
            }
        }
        checks::kept(self.number(), Check::Gone);
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
        // The system goes to sleep, and the next time it hibernates.
        let action = self.with(|state| {
            if why == Leaving::Sleep {
                state.action = match state.sleeps % 2 {
                    0 => power::ACTION_SLEEP,
                    _ => power::ACTION_HIBERNATE,
                };
                state.sleeps += 1;
            }
            state.action
        });
        if self.with(|state| state.initialized) {
            self.leaves(why);
        }
        watch::end(self.number());
        if why == Leaving::Sleep && self.has(control::POWER) {
            self.power_adapter(power::D3);
        } else {
            self.control(Control::Stop);
        }
        self.quiet();
        if why == Leaving::Sleep && action == power::ACTION_HIBERNATE {
            self.call_control(0, control::SET_BOOT_CONFIG, 0);
        }
    }

    /// The `STOR_POWER_ACTION` that goes with a state.
    pub(super) fn action_for(&self, state: u32) -> u32 {
        match state {
            power::D3 => self.with(|state| state.action),
            _ => power::ACTION_NONE,
        }
    }

    /// `ScsiAdapterPower` with `STOR_ADAPTER_CONTROL_POWER`: a header of eight bytes, the action, the state.
    fn power_adapter(&self, state: u32) -> Option<bool> {
        const SIZE: u32 = 16;
        let at = vm::allocate(SIZE.into())?;
        // SAFETY: the memory has this size.
        unsafe {
            (at as *mut u32).write(1);
            ((at + 4) as *mut u32).write(SIZE);
            ((at + 8) as *mut u32).write(self.action_for(state));
            ((at + 12) as *mut u32).write(state);
        }
        self.call_control(DISPATCH_LEVEL, control::POWER, at)
    }

    /// `HwStorAdapterControl`, if the miniport supports what is asked. `None` when it does not, else whether it
    /// succeeded.
    ///
    /// `ScsiStopAdapter` and `ScsiRestartAdapter` come at the device's IRQL with the interrupt lock, as the table of
    /// `HW_ADAPTER_CONTROL` has it, and no type of it else above `DISPATCH_LEVEL` or with a lock. Those of
    /// `StorPortAcquireSpinLock` have no lock held for any type, and all allowed: what a miniport takes there is not judged.
    pub fn control(&self, what: Control) -> Option<bool> {
        if what == Control::SurpriseRemoval {
            return self.call_control(DISPATCH_LEVEL, what.kind(), 0);
        }
        let before = cpu::priority();
        let level = self.with(|state| state.levels.0).max(before);
        cpu::set_priority(level);
        let locks = spin::count();
        self.take_interrupt_locks(Callback::AdapterControl, 0, 0);
        let result = self.call_control(level, what.kind(), 0);
        spin::release_since(locks);
        cpu::set_priority(before);
        result
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
        spin::take(self.number(), Lock::StartIo, Callback::ResetBus, 0, 0);
        let arguments = [extension, 0];
        let done =
            self.call_synchronized(Callback::ResetBus, driver.reset_bus, &arguments) as u8 != 0;
        spin::give_back();
        cpu::set_priority(before);
        done
    }
}
