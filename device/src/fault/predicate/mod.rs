//! `where`: a boolean expression over what is known when a trigger matches.
//!
//! The language is the Common Expression Language: [`cel`] parses it. The tree is then checked once,
//! when the file is read, and lowered to typed nodes, so that evaluation needs no allocation, can't
//! meet an unknown name or a wrong type, and can't fail. Three additions to CEL's names: the argument
//! of `fired(…)` and `seen(…)` is an id or an access and may be written without quotes, and
//! `bits(a, b)` and `xor(a, b)` stand for the operators `&` and `^` that CEL does not have.

mod check;
mod eval;
mod quote;
#[cfg(test)]
mod tests;

pub use eval::Facts;

use std::ops::Range;

use eval::{Bool, Int};

use super::error::FaultError;
use crate::spec::Field;
use crate::trace::{Access, Op};

/// The longest expression that is accepted, in bytes.
const MAX_LENGTH: usize = 1000;

/// A name that an expression can use for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// The value written, or the value read after a read; for `complete` the length.
    Val,
    /// The queue: selected, notified, or that of the interrupt or chain.
    Queue,
    /// The table entry of the message.
    Entry,
    /// Width of the access in bytes.
    Width,
    /// Offset of the access in bytes from the start of its BAR, or of configuration space.
    Off,
    /// `device_status` as the device holds it.
    Status,
    /// Resets so far.
    Epoch,
    /// Chains that the backend holds: of the queue at hand, or of all.
    Inflight,
    /// Messages that were granted; -1 unless the MSI-X table was read.
    Granted,
    /// Elements of the queue at hand.
    QueueSize,
    /// Milliseconds since DRIVER_OK; -1 while not live.
    SinceLive,
    /// Milliseconds since the last reset began; -1 before the first.
    SinceReset,
}

impl Name {
    /// Every name, as it is spelt.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("val", Self::Val),
        ("len", Self::Val),
        ("q", Self::Queue),
        ("entry", Self::Entry),
        ("width", Self::Width),
        ("off", Self::Off),
        ("status", Self::Status),
        ("epoch", Self::Epoch),
        ("inflight", Self::Inflight),
        ("granted", Self::Granted),
        ("queue_size", Self::QueueSize),
        ("since_live_ms", Self::SinceLive),
        ("since_reset_ms", Self::SinceReset),
    ];

    /// How it is spelt.
    pub fn text(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, n)| *n == self)
            .map_or("", |(text, _)| text)
    }
}

/// An access as triggers and `seen(…)` name it: `dev.0.rd`, `isr.rd`, `cc.queue_enable.wr`, `ntf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The register.
    pub field: Field,
    /// Read or write.
    pub op: Op,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The register is unknown, or neither `.rd` nor `.wr` follows it.
    pub(super) fn parse(text: &str) -> Result<Self, FaultError> {
        if text == "ntf" {
            return Ok(Self {
                field: Field::Notify,
                op: Op::Write,
            });
        }
        let (name, op) = match text.rsplit_once('.') {
            Some((name, "rd")) => (name, Op::Read),
            Some((name, "wr")) => (name, Op::Write),
            _ => {
                return Err(FaultError::new(format!(
                    "`{text}` is not an access: expected a register and `.rd` or `.wr`, such as `isr.rd`"
                )));
            }
        };
        let field = name.parse::<Field>().map_err(|unknown| {
            FaultError::new(unknown.to_string()).help(super::error::nearest(name, Field::names()))
        })?;
        Ok(Self { field, op })
    }

    /// Whether this access is meant. A byte of device configuration is met by any access that covers it,
    /// and a register of the modern interface also by way of the legacy one.
    pub fn matches(&self, access: &Access) -> bool {
        self.op == access.op
            && match (self.field, access.field) {
                (Field::Device(byte), Some(Field::Device(first))) => {
                    (first..first.saturating_add(access.width.into())).contains(&byte)
                }
                (field, at) => at == Some(field) || access.register() == Some(field),
            }
    }
}

/// A checked expression that is true or false.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    root: Bool,
    used: Used,
}

/// A checked expression that is a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    root: Int,
    used: Used,
}

/// What an expression speaks of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Used {
    /// Names, each with its place in the expression.
    pub names: Vec<(Name, Range<usize>)>,
    /// Where it speaks of what only the registers tell: `mode`, `live`, `status`, `epoch`.
    pub transport: Option<Range<usize>>,
    /// Ids in `fired(…)`.
    pub fired: Vec<(String, Range<usize>)>,
    /// Accesses in `seen(…)`; [`Facts::seen`] has one answer for each.
    pub seen: Vec<Pattern>,
}

impl Predicate {
    /// Reads and checks an expression. Errors have their place in `text`.
    ///
    /// # Errors
    /// It does not parse, uses an unknown name, mixes types, or is not true or false.
    ///
    /// ```
    /// use misfire_device::fault::Predicate;
    /// assert!(Predicate::parse("q == 1 && val != 0xFFFF").is_ok());
    /// let error = Predicate::parse("mode == 1").unwrap_err();
    /// assert_eq!(error.message, "`==` compares a word with a number");
    /// ```
    pub fn parse(text: &str) -> Result<Self, FaultError> {
        let (root, used) = check::boolean(text)?;
        Ok(Self { root, used })
    }

    /// Whether it holds. A division by zero makes it false.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        self.root.eval(facts).unwrap_or(false)
    }

    /// What it speaks of.
    pub fn used(&self) -> &Used {
        &self.used
    }
}

impl Number {
    /// Reads and checks an expression. Errors have their place in `text`.
    ///
    /// # Errors
    /// Those of [`Predicate::parse`], with a number expected.
    pub fn parse(text: &str) -> Result<Self, FaultError> {
        let (root, used) = check::number(text)?;
        Ok(Self { root, used })
    }

    /// Its value. 0 after a division by zero; what is beyond 64 bits is cut off.
    pub fn value(&self, facts: &Facts<'_>) -> u64 {
        self.root.eval(facts).unwrap_or(0) as u64
    }

    /// What it speaks of.
    pub fn used(&self) -> &Used {
        &self.used
    }
}
