//! Rounds of a machine, found by the states that it is in.

use crate::hal::idt::Frame;

/// So many instructions of the image are looked at.
const MOST_STEPS: u32 = 1 << 14;
/// Of the flags: an exception after each instruction; interrupts on; no breakpoint for the next instruction.
pub const STEP: u64 = 1 << 8;
const INTERRUPTS: u64 = 1 << 9;
pub const RESUME: u64 = 1 << 16;

/// A processor between two instructions of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Where it is.
    pub rip: u64,
    rsp: u64,
    flags: u64,
    general: [u64; 15],
}

impl State {
    /// That of a frame.
    pub fn of(frame: &Frame) -> Self {
        Self {
            rip: frame.rip,
            rsp: frame.rsp,
            flags: frame.rflags & !(STEP | INTERRUPTS | RESUME),
            general: frame.general,
        }
    }

    fn sum(&self) -> u64 {
        let first = mix(mix(mix(START, self.rip), self.rsp), self.flags);
        self.general.iter().fold(first, |sum, word| mix(sum, *word))
    }
}

/// The number for nothing.
pub const START: u64 = 0xcbf2_9ce4_8422_2325;

/// A number for one more word.
pub fn mix(sum: u64, word: u64) -> u64 {
    (sum ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(29)
}

/// A round: how many instructions it has, and a number for the states in it, wherever it is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    steps: u32,
    sum: u64,
}

impl Round {
    const NONE: Self = Self { steps: 0, sum: 0 };
}

/// Rounds of a machine, found by its states.
#[derive(Clone, Debug)]
pub struct Finder {
    steps: u32,
    /// Where the round under way began, with what memory held then.
    begin: Option<(State, u64)>,
    now: Round,
    before: Option<Round>,
}

/// What comes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No round yet.
    Nothing,
    /// A round begins here, or where one may.
    Begin,
    /// Two rounds were the same.
    Round(Round),
    /// Too many steps.
    GivenUp,
}

impl Finder {
    /// Of a machine in no state yet.
    pub const fn new() -> Self {
        Self {
            steps: 0,
            begin: None,
            now: Round::NONE,
            before: None,
        }
    }

    /// The machine is in a state; `memory` is a number for what its memory holds, which is asked for seldom.
    pub fn step(&mut self, state: &State, memory: impl FnOnce() -> u64) -> Found {
        self.steps += 1;
        let mut found = Found::Nothing;
        let is_begin = self.begin.is_some_and(|(begin, _)| begin == *state);
        if is_begin || self.steps.is_power_of_two() {
            let holds = memory();
            let is_round = is_begin && self.begin.is_some_and(|(_, held)| held == holds);
            if is_round && self.before == Some(self.now) {
                return Found::Round(self.now);
            }
            if is_round {
                self.before = Some(self.now);
                self.now = Round::NONE;
            }
            if self.steps.is_power_of_two() && self.before.is_none() {
                self.begin = Some((*state, holds));
                self.now = Round::NONE;
                found = Found::Begin;
            }
        }
        self.now.steps += 1;
        self.now.sum = self.now.sum.wrapping_add(state.sum());
        match self.steps {
            MOST_STEPS => Found::GivenUp,
            _ => found,
        }
    }

    /// Where the round began.
    pub fn begin(&self) -> u64 {
        self.begin.map_or(0, |(begin, _)| begin.rip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: State = State {
        rip: 0,
        rsp: 0,
        flags: 0,
        general: [0; 15],
    };

    /// Runs a machine of one register and one word of memory; `next` is what an instruction does.
    fn run(next: impl Fn(&mut State, &mut u64)) -> Found {
        let (mut state, mut memory, mut finder) = (FIRST, 0, Finder::new());
        loop {
            let held = memory;
            match finder.step(&state, || held) {
                Found::Nothing | Found::Begin => next(&mut state, &mut memory),
                found => return found,
            }
        }
    }

    #[test]
    fn a_machine_that_goes_round_is_found_with_the_length_of_its_round() {
        for (before, length) in [(0, 1), (0, 3), (1, 5), (40, 7), (3000, 900)] {
            let found = run(|state, _| {
                let last = before + length;
                state.rip = if state.rip + 1 == last {
                    before
                } else {
                    state.rip + 1
                };
            });
            let is = matches!(found, Found::Round(round) if u64::from(round.steps) == length);
            assert!(is, "{before}, {length}: {found:?}");
        }
    }

    #[test]
    fn a_machine_that_counts_is_never_said_to_go_round() {
        let in_register = run(|state, _| {
            state.rip = (state.rip + 1) % 4;
            state.general[3] += u64::from(state.rip == 0);
        });
        assert_eq!(in_register, Found::GivenUp);
        let in_memory = run(|state, memory| {
            state.rip = (state.rip + 1) % 4;
            *memory += u64::from(state.rip == 0);
        });
        assert_eq!(in_memory, Found::GivenUp);
    }

    #[test]
    fn what_differs_from_round_to_round_and_is_forgotten_is_no_round() {
        // The time, as it is read into a register that holds nothing any more at the beginning.
        let time = core::cell::Cell::new(0);
        let found = run(|state, _| {
            time.set(time.get() + 1);
            state.rip = (state.rip + 1) % 4;
            state.general[14] = if state.rip == 2 { time.get() } else { 0 };
        });
        assert_eq!(found, Found::GivenUp);
    }

    #[test]
    fn a_round_has_the_same_number_wherever_it_begins() {
        let from = |first: u64| {
            run(move |state, _| {
                state.rip = match state.rip {
                    0 => 100 + first,
                    104 => 100,
                    at => at + 1,
                }
            })
        };
        assert_eq!(from(0), from(3));
    }
}
