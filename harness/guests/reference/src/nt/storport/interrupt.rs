//! Interrupts of an adapter, and what runs at their IRQL.

use super::entry::{driver, is_dumping};
use super::locks::{self, Callback};
use super::port::{Line, Port};
use super::spin::{self, Lock};
use crate::dbg_print;
use crate::hal::cpu;
use crate::nt::checks::{self, Check};
use crate::nt::clocks::{self, Way};
use crate::nt::dispatch;
use crate::nt::vectors::irql;
use crate::nt::{lent, thunk};

impl Port {
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
        spin::take(self.number(), lock, Callback::Interrupt, 0, 0);
        clocks::learn(Way::Device(self.number()));
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
            dispatch::not_claimed(self.number());
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
        checks::kept(self.number(), Check::Poll);
        self.look_at_completed();
        lent::print(self.number());
        if line.asked > 0 {
            let Line {
                claimed,
                unclaimed,
                asked,
            } = line;
            let n = self.number();
            dbg_print!("NT: claims dev={n} claimed={claimed} unclaimed={unclaimed} asked={asked}");
        }
    }

    /// A routine of the miniport's under its interrupt lock. What it returns.
    pub(super) fn synchronized(&self, routine: u64, context: u64) -> u8 {
        let (extension, level) = self.with(|state| (state.extension, state.levels.0));
        let held = spin::has_interrupt_lock(self.number());
        let text = format_args!("StorPortSynchronizeAccess with the interrupt lock held");
        checks::check(self.number(), Check::Lock, !held, text);
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
}
