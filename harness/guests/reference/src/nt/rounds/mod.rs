//! Whether a driver that does not come back goes round without an end, and what it looks at on its way.
//!
//! It is let go on instruction by instruction. When a round ends where it began, with the same registers, the same
//! stack and the same memory, and the next one has the same registers at each instruction, then nothing but another
//! answer of what it looks at ends it. A wait that has a bound counts, or asks for the time: it is never twice in one
//! state, and nothing is said of it. Where a round begins is found as Brent's algorithm finds a cycle. What the driver
//! calls of the model is passed over; what it gets from there it has in registers.

mod finder;
mod operand;

use super::checks::{self, Check};
use super::{call, image, lent, storport, thunk};
use crate::hal::idt::Frame;
use crate::hal::processor::{self, Own};
use crate::hal::vm::{self, PAGE};
use crate::hal::{Local, cpu};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use finder::{Finder, Found, RESUME, Round, START, STEP, State, mix};
use operand::{LONGEST, Operand};

/// After so many looks of the timer it is begun anew.
const PATIENCE: u32 = 4;
/// Most places that are told.
const MOST_TOLD: usize = 8;

/// A driver that is let go on step by step.
struct Walk {
    device: usize,
    finder: Finder,
    /// What it read since the round began, and where in the image.
    read: Vec<(Operand, u64)>,
    /// It is in a routine that it called.
    back: Option<Back>,
    /// How often the timer has looked meanwhile.
    looks: u32,
}

/// Where a driver comes back to its image.
#[derive(Clone, Copy)]
struct Back {
    at: u64,
    /// With this stack, if that is known.
    stack: Option<u64>,
    /// The routine leaves nothing in rax.
    is_void: bool,
}

static WALKS: [Local<Option<Walk>>; processor::MOST] =
    [const { Local::new(None) }; processor::MOST];

/// The round that was found at the last look.
static LAST: Own<Option<Round>> = Own::new(None);

fn own<R>(act: impl FnOnce(&mut Option<Walk>) -> R) -> R {
    WALKS[processor::number()].with(act)
}

/// Nothing is known of the driver: a call begins, or has come back.
pub fn forget() {
    LAST.with(|last| *last = None);
    if own(Option::take).is_some() {
        cpu::set_breakpoint(None);
    }
}

/// The driver is let go on step by step from what the frame interrupts: the image, or a routine that it called.
pub fn begin(device: usize, frame: &mut Frame) {
    let goes_on = own(|own| {
        let walk = own.as_mut();
        walk.is_some_and(|walk| {
            walk.looks += 1;
            walk.looks < PATIENCE
        })
    });
    if goes_on {
        return;
    }
    let walk = |back| Walk {
        device,
        finder: Finder::new(),
        read: Vec::new(),
        back,
        looks: 0,
    };
    if image::contains(frame.rip) {
        cpu::set_breakpoint(None);
        frame.rflags |= STEP;
        own(|own| *own = Some(walk(None)));
    } else {
        let back = thunk::called_from();
        cpu::set_breakpoint(Some(back));
        let back = Back {
            at: back,
            stack: None,
            is_void: false,
        };
        own(|own| *own = Some(walk(Some(back))));
    }
}

/// A debug exception. Whether it is one of these.
pub fn stepped(frame: &mut Frame) -> bool {
    let is_there = cpu::take_breakpoint();
    own(|own| {
        let Some(walk) = own else {
            cpu::set_breakpoint(None);
            return is_there;
        };
        match walk.step(is_there, frame) {
            Some(Found::Round(round)) => {
                // What it looks at may have changed just now.
                if LAST.with(|last| last.replace(round)) == Some(round) {
                    walk.tell();
                }
                *own = None;
            }
            Some(Found::GivenUp) => *own = None,
            _ => {}
        }
        true
    })
}

impl Walk {
    fn step(&mut self, is_there: bool, frame: &mut Frame) -> Option<Found> {
        if let Some(back) = self.back {
            // Something else may come by.
            if !back.is_here(frame) {
                frame.rflags |= if is_there { RESUME } else { 0 };
                return None;
            }
            back.clear(frame);
            self.back = None;
            cpu::set_breakpoint(None);
        } else if !image::contains(frame.rip) {
            // SAFETY: it was just called, with where it comes back to on its stack.
            let back = unsafe { (frame.rsp as *const u64).read() };
            if image::contains(back) {
                let called = called(frame);
                self.note(called.1, back);
                self.back = Some(Back {
                    at: back,
                    stack: Some(frame.rsp + 8),
                    is_void: called.0,
                });
                cpu::set_breakpoint(Some(back));
                frame.rflags &= !STEP;
                return None;
            }
            frame.rflags &= !STEP;
            return Some(Found::GivenUp);
        }
        frame.rflags |= STEP;
        let device = self.device;
        let found = self
            .finder
            .step(&State::of(frame), || memory(device, frame.rsp));
        match found {
            Found::Begin => self.read.clear(),
            Found::Round(_) | Found::GivenUp => {
                frame.rflags &= !STEP;
                return Some(found);
            }
            Found::Nothing => {}
        }
        self.note(operand::of(&code(frame.rip), frame), frame.rip);
        Some(found)
    }

    fn note(&mut self, operand: Option<Operand>, place: u64) {
        let Some(operand) = operand.filter(|operand| is_looked_at(self.device, *operand)) else {
            return;
        };
        let is_known = self.read.iter().any(|(known, _)| *known == operand);
        if !is_known && self.read.len() <= MOST_TOLD {
            self.read.push((operand, place));
        }
    }

    fn tell(&self) {
        let place = |at| {
            let place = image::image().and_then(|image| image.place(at));
            place.unwrap_or_else(|| "?".into())
        };
        let routine = storport::current_routine();
        call::told();
        let text = match names(self.device, &self.read) {
            None => format!(
                "{routine} does not come back: it is at {}",
                place(self.finder.begin())
            ),
            Some((names, first)) => {
                let place = place(first);
                format!("{routine} waits without an end at {place}: it polls {names}")
            }
        };
        checks::broken(self.device, Check::Poll, format_args!("{text}"));
    }
}

/// The bytes of an instruction, as far as there are any.
fn code(rip: u64) -> [u8; LONGEST] {
    core::array::from_fn(|n| {
        let at = rip + n as u64;
        // SAFETY: the processor is about to read the instruction there, and what is behind it is mapped.
        match at / PAGE == rip / PAGE || vm::physical(at).is_some() {
            true => unsafe { (at as *const u8).read() },
            false => 0x90,
        }
    })
}

impl Back {
    fn is_here(&self, frame: &Frame) -> bool {
        frame.rip == self.at && self.stack.is_none_or(|stack| stack == frame.rsp)
    }

    /// What a routine leaves in the registers that it may change says nothing of the driver ("x64 calling convention").
    fn clear(&self, frame: &mut Frame) {
        const RAX: usize = 14;
        const CHANGED: [usize; 6] = [4, 5, 6, 7, 11, 12]; // r11 to r8, rdx, rcx
        const ARITHMETIC: u64 = 0x8d5;
        for n in CHANGED {
            frame.general[n] = 0;
        }
        if self.is_void {
            frame.general[RAX] = 0;
        }
        frame.rflags &= !ARITHMETIC;
    }
}

/// Of a routine of the model's at its first instruction: whether it has no result, and what it is about to read.
fn called(frame: &Frame) -> (bool, Option<Operand>) {
    const SECOND: usize = 11; // rdx
    const VOID: &[&str] = &[
        "KeStallExecutionProcessor",
        "StorPortDebugPrint",
        "StorPortMoveMemory",
        "StorPortNotification",
        "StorPortStallExecution",
    ];
    let image = image::image();
    let import = thunk::import_at(frame.rip).and_then(|n| image.as_ref()?.import(n));
    let Some((_, name)) = import else {
        return (false, None);
    };
    let second = frame.general[SECOND];
    let read = match name {
        _ if name.starts_with("StorPortReadRegister") => Some(Operand::Memory(second)),
        _ if name.starts_with("StorPortReadPort") => Some(Operand::Port(second as u16)),
        _ => None,
    };
    (
        VOID.contains(&name) || name.starts_with("StorPortWrite"),
        read,
    )
}

fn is_looked_at(device: usize, operand: Operand) -> bool {
    match operand {
        Operand::Port(_) => true,
        Operand::Memory(at) => {
            lent::name_of(device, at).is_some() || storport::port(device).register(at).is_some()
        }
    }
}

/// A number for what the driver has in memory, its stack from `rsp` on among it; not what the device writes as data.
fn memory(device: usize, rsp: u64) -> u64 {
    let stack = (rsp, call::stack_end().saturating_sub(rsp));
    let variables = image::image().map(|image| image.variables());
    let pieces = variables.unwrap_or_default().into_iter();
    let pieces = pieces.chain(lent::pieces(device)).chain([stack]);
    pieces.fold(START, |sum, (at, bytes)| sum_of(sum, at, bytes))
}

fn sum_of(mut sum: u64, at: u64, bytes: u64) -> u64 {
    /// A driver's stacks are no longer.
    const MOST: u64 = 1 << 20;
    let mut at = at.next_multiple_of(8);
    let end = at + bytes.min(MOST) / 8 * 8;
    while at < end {
        let next = ((at / PAGE + 1) * PAGE).min(end);
        // Of what is not in the driver's part of the address space there are stacks alone.
        if at >> 63 == 0 || vm::physical(at).is_some() {
            for word in (at..next).step_by(8) {
                // SAFETY: it is there, and holds numbers, whoever writes them.
                sum = mix(sum, unsafe { (word as *const u64).read_volatile() });
            }
        }
        at = next;
    }
    sum
}

/// In words: registers and ports, with memory that devices write, else the driver's own; and the first place that reads
/// one of them.
fn names(device: usize, read: &[(Operand, u64)]) -> Option<(String, u64)> {
    let port = storport::port(device);
    let register = |(bar, offset)| format!("the register at {offset:#x} of BAR {bar}");
    let of_device = |operand: Operand| match operand {
        Operand::Port(at) => Some(match port.port_register(at) {
            Some(known) => register(known),
            None => format!("the port {at:#x}"),
        }),
        Operand::Memory(at) => match port.register(at) {
            Some(known) => Some(register(known)),
            None => name(device, at, |name| {
                !["the device extension", "a request"].contains(&name)
            }),
        },
    };
    let of_driver = |operand: Operand| match operand {
        Operand::Memory(at) => name(device, at, |_| true),
        Operand::Port(_) => None,
    };
    let mut read = read.to_vec();
    read.sort_unstable();
    let named = |of: &dyn Fn(Operand) -> Option<String>| -> Vec<(String, u64)> {
        let all = read.iter().copied();
        all.filter_map(|(operand, place)| Some((of(operand)?, place)))
            .collect()
    };
    let mut all = named(&of_device);
    if all.is_empty() {
        all = named(&of_driver);
    }
    let first = all.iter().map(|(_, place)| *place).min()?;
    let mut names: Vec<String> = all.into_iter().map(|(name, _)| name).collect();
    let more = names.len() > MOST_TOLD;
    names.truncate(MOST_TOLD);
    let text = match names.split_last()? {
        _ if more => format!("{}, and more", names.join(", ")),
        (last, []) => last.clone(),
        (last, others) => format!("{} and {last}", others.join(", ")),
    };
    Some((text, first))
}

fn name(device: usize, at: u64, is_meant: impl Fn(&str) -> bool) -> Option<String> {
    let (name, offset) = lent::name_of(device, at)?;
    is_meant(name).then(|| format!("{name} at {offset:#x}"))
}
