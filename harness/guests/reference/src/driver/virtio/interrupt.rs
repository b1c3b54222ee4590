//! The ISR of a virtio driver.

use super::registers::Registers;
use super::spec::isr;
use crate::driver::mistake::{Mistake, Mistakes};
use crate::hal::Local;
use crate::nt::dispatch::{Claim, InterruptService};

/// What the ISR needs, apart from the driver's other state, which it may interrupt anywhere.
pub struct Isr {
    state: Local<State>,
    mistakes: Mistakes,
}

struct State {
    /// The ISR status register, where it has to be read: without MSI-X.
    register: Option<Registers>,
    /// The register that is read although the message says it all.
    needless: Option<Registers>,
    /// Bits read and not yet taken by the DPC.
    latched: u8,
    /// The driver is ready to be interrupted.
    ready: bool,
    /// The driver's other code holds its lock.
    locked: bool,
}

impl Isr {
    /// An ISR that reads nothing yet.
    pub fn new(mistakes: Mistakes) -> Self {
        Self {
            state: Local::new(State {
                register: None,
                needless: None,
                latched: 0,
                ready: false,
                locked: false,
            }),
            mistakes,
        }
    }

    /// Which register to read; `None` with MSI-X, where the message says it all.
    pub fn read_from(&self, register: Option<Registers>) {
        self.state.with(|state| {
            *state = State {
                register,
                needless: None,
                latched: 0,
                ready: state.ready,
                locked: false,
            }
        });
    }

    /// With MSI-X: reads the register for each message all the same.
    pub fn look_at(&self, register: Registers) {
        self.state.with(|state| state.needless = Some(register));
    }

    /// Whether the driver is ready to be interrupted.
    pub fn set_ready(&self, ready: bool) {
        self.state.with(|state| state.ready = ready);
    }

    /// The driver's other code takes its lock, or lets it go.
    pub fn lock(&self, taken: bool) {
        self.state.with(|state| state.locked = taken);
    }

    /// The bits that have been read since the last call.
    pub fn take(&self) -> u8 {
        self.state.with(|state| core::mem::take(&mut state.latched))
    }
}

impl InterruptService for Isr {
    fn isr(&self, message: u32) -> Claim {
        self.state.with(|state| {
            if self.mistakes.has(Mistake::EARLY_MESSAGE_IGNORED) && !state.ready {
                return Claim::Mine;
            }
            let Some(register) = state.register else {
                if let Some(needless) = state.needless {
                    let _: u8 = needless.read(0);
                }
                if message == 0 && self.mistakes.has(Mistake::MESSAGE_ID_AS_BOOLEAN) {
                    return Claim::NotMine;
                }
                return Claim::QueueDpc;
            };
            if self.mistakes.has(Mistake::INTX_ISR_NOT_READ) {
                state.latched = isr::QUEUE | isr::CONFIG;
                return Claim::QueueDpc;
            }
            let status: u8 = register.read(0);
            if status == 0 {
                assert!(
                    !self.mistakes.has(Mistake::ISR_ZERO_FATAL),
                    "a line that is up for nothing"
                );
                return if self.mistakes.has(Mistake::CLAIMS_ISR_ZERO) {
                    Claim::Mine
                } else {
                    Claim::NotMine
                };
            }
            if self.mistakes.has(Mistake::ISR_RESERVED_BITS_FATAL) {
                assert!(status & !(isr::QUEUE | isr::CONFIG) == 0, "known bits");
            }
            if self.mistakes.has(Mistake::ISR_EQUALITY_TEST) && status != isr::QUEUE {
                return Claim::Mine;
            }
            // The driver's other code, which holds the lock, goes on when this has returned.
            while state.locked && self.mistakes.has(Mistake::LOCK_IN_ISR) {
                core::hint::spin_loop();
            }
            state.latched |= status & (isr::QUEUE | isr::CONFIG);
            Claim::QueueDpc
        })
    }
}
