//! The port-card's ISR.

use super::register;
use crate::driver::mistake::{Mistake, Mistakes};
use crate::hal::Local;
use crate::hal::mmio::Mmio;
use crate::nt::dispatch::{Claim, InterruptService};

/// The ISR and what it shares with the driver.
pub struct PortIsr {
    state: Local<State>,
    mistakes: Mistakes,
}

struct State {
    /// The registers, where they have to be read: with a line.
    registers: Option<Mmio>,
    /// Ports whose events have been read and not yet taken by the DPC.
    latched: u32,
}

impl PortIsr {
    /// An ISR that reads nothing yet.
    pub fn new(mistakes: Mistakes) -> Self {
        Self {
            state: Local::new(State {
                registers: None,
                latched: 0,
            }),
            mistakes,
        }
    }

    /// Which registers to read; `None` with messages, which say it all.
    pub fn read_from(&self, registers: Option<Mmio>) {
        self.state.with(|state| {
            *state = State {
                registers,
                latched: 0,
            }
        });
    }

    /// The ports whose events have been read since the last call.
    pub fn take(&self) -> u32 {
        self.state.with(|state| core::mem::take(&mut state.latched))
    }
}

impl InterruptService for PortIsr {
    fn isr(&self, _message: u32) -> Claim {
        self.state.with(|state| {
            let Some(registers) = state.registers else {
                return Claim::QueueDpc;
            };
            if self.mistakes.has(Mistake::INTX_ISR_NOT_READ) {
                return Claim::QueueDpc;
            }
            let enabled: u32 = registers.read(register::INT_ENABLE);
            let status = registers.read::<u32>(register::INT_STATUS) & enabled;
            if status == 0 {
                return Claim::NotMine;
            }
            registers.write(register::INT_STATUS, status);
            state.latched |= status;
            Claim::QueueDpc
        })
    }
}
