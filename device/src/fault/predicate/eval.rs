//! Typed expressions, and their values.

use super::Name;
use crate::endpoint::Nanos;
use crate::trace::{Device, Mode};

/// What is known when a trigger matches.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The device.
    pub device: &'a Device,
    /// `val`.
    pub val: Option<u64>,
    /// `q`.
    pub q: Option<u16>,
    /// `entry`.
    pub entry: Option<u16>,
    /// `width`.
    pub width: Option<u8>,
    /// `off`.
    pub off: Option<u64>,
    /// Time since DRIVER_OK.
    pub since_live: Option<Nanos>,
    /// Time since the last reset began.
    pub since_reset: Option<Nanos>,
    /// The answers to `seen(…)`, in the order of [`super::Used::seen`].
    pub seen: &'a [bool],
}

impl<'a> Facts<'a> {
    /// Nothing is known but the device.
    pub fn new(device: &'a Device) -> Self {
        Self {
            device,
            val: None,
            q: None,
            entry: None,
            width: None,
            off: None,
            since_live: None,
            since_reset: None,
            seen: &[],
        }
    }

    /// The value of a name; -1 for what is not known.
    fn value(&self, name: Name) -> i128 {
        fn or_none<T: Into<i128>>(value: Option<T>) -> i128 {
            value.map_or(-1, Into::into)
        }
        let millis = |time: Option<Nanos>| or_none(time.map(|t| t / 1_000_000));
        match name {
            Name::Val => or_none(self.val),
            Name::Queue => or_none(self.q),
            Name::Entry => or_none(self.entry),
            Name::Width => or_none(self.width),
            Name::Off => or_none(self.off),
            Name::Status => self.device.status.0.into(),
            Name::Epoch => self.device.epoch.into(),
            Name::Inflight => self
                .q
                .and_then(|q| self.device.queues.get(usize::from(q)))
                .map_or_else(|| self.device.inflight(), |q| q.inflight)
                .into(),
            Name::QueueSize => {
                let queue = self.q.unwrap_or(0);
                let known = self.device.queues.get(usize::from(queue));
                match known.map_or(0, |queue| queue.size) {
                    0 => self.device.shape.queue_size.of(queue).into(),
                    size => size.into(),
                }
            }
            Name::Granted => self.device.granted().map_or(-1, |n| n as i128),
            Name::SinceLive => millis(self.since_live),
            Name::SinceReset => millis(self.since_reset),
        }
    }
}

/// An expression that is true or false.
#[derive(Clone, Debug, PartialEq)]
pub enum Bool {
    Const(bool),
    Live,
    Mode {
        equal: bool,
        mode: Mode,
    },
    Fired(String),
    Seen(usize),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    Same {
        equal: bool,
        a: Box<Self>,
        b: Box<Self>,
    },
    Compare {
        how: Compare,
        a: Int,
        b: Int,
    },
    OneOf(Int, Vec<Int>),
    If(Box<(Self, Self, Self)>),
}

/// A comparison of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// An expression that is a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Int {
    Const(i128),
    Name(Name),
    Minus(Box<Self>),
    Of(Arithmetic, Box<(Self, Self)>),
    If(Box<(Bool, Self, Self)>),
}

/// An operation on two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Bits,
    Xor,
}

impl Bool {
    /// Its value; none after a division by zero.
    pub fn eval(&self, facts: &Facts<'_>) -> Option<bool> {
        Some(match self {
            Self::Const(value) => *value,
            Self::Live => facts.device.live(),
            Self::Mode { equal, mode } => (facts.device.mode() == *mode) == *equal,
            Self::Fired(id) => facts.device.fired.get(id).is_some_and(|n| *n > 0),
            Self::Seen(index) => facts.seen.get(*index).copied().unwrap_or(false),
            Self::Not(a) => !a.eval(facts)?,
            Self::And(all) => {
                for a in all {
                    if !a.eval(facts)? {
                        return Some(false);
                    }
                }
                true
            }
            Self::Or(any) => {
                for a in any {
                    if a.eval(facts)? {
                        return Some(true);
                    }
                }
                false
            }
            Self::Same { equal, a, b } => (a.eval(facts)? == b.eval(facts)?) == *equal,
            Self::Compare { how, a, b } => {
                let (a, b) = (a.eval(facts)?, b.eval(facts)?);
                match how {
                    Compare::Equal => a == b,
                    Compare::NotEqual => a != b,
                    Compare::Less => a < b,
                    Compare::LessOrEqual => a <= b,
                    Compare::Greater => a > b,
                    Compare::GreaterOrEqual => a >= b,
                }
            }
            Self::OneOf(a, list) => {
                let a = a.eval(facts)?;
                for b in list {
                    if b.eval(facts)? == a {
                        return Some(true);
                    }
                }
                false
            }
            Self::If(parts) => {
                let (condition, yes, no) = &**parts;
                if condition.eval(facts)? { yes } else { no }.eval(facts)?
            }
        })
    }
}

impl Int {
    /// Its value; none after a division by zero. What is too large stays at the largest.
    pub fn eval(&self, facts: &Facts<'_>) -> Option<i128> {
        match self {
            Self::Const(value) => Some(*value),
            Self::Name(name) => Some(facts.value(*name)),
            Self::Minus(a) => Some(a.eval(facts)?.saturating_neg()),
            Self::Of(how, both) => {
                let (a, b) = (both.0.eval(facts)?, both.1.eval(facts)?);
                match how {
                    Arithmetic::Add => Some(a.saturating_add(b)),
                    Arithmetic::Subtract => Some(a.saturating_sub(b)),
                    Arithmetic::Multiply => Some(a.saturating_mul(b)),
                    Arithmetic::Divide => a.checked_div(b),
                    Arithmetic::Remainder => a.checked_rem(b),
                    Arithmetic::Bits => Some(a & b),
                    Arithmetic::Xor => Some(a ^ b),
                }
            }
            Self::If(parts) => {
                let (condition, yes, no) = &**parts;
                if condition.eval(facts)? { yes } else { no }.eval(facts)
            }
        }
    }
}
