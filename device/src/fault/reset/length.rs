//! How long a reset takes.

use crate::endpoint::Nanos;
use crate::fault::args::Args;
use crate::fault::catalogue::Arg;
use crate::fault::error::FaultError;

/// Until a time is over, or for so many reads.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    time: Option<Nanos>,
    reads: Option<u64>,
}

impl Length {
    /// The arguments that tell it, in these words.
    pub const fn args(time: &'static str, reads: &'static str) -> [Arg; 2] {
        [
            Arg {
                name: "t",
                kind: "time",
                default: None,
                words: time,
            },
            Arg {
                name: "reads",
                kind: "number from 1 to 65535",
                default: Some("any, until the time is over"),
                words: reads,
            },
        ]
    }

    /// What they say; one of them has to be there.
    pub fn of(args: &Args<'_>) -> Result<Self, FaultError> {
        let (time, reads) = (args.time("t")?, args.integer("reads", 1..=65535)?);
        if time.is_none() && reads.is_none() {
            return Err(args.missing("t"));
        }
        Ok(Self { time, reads })
    }

    /// When the time is over for a reset that begins now, and how many reads it takes.
    pub const fn from(self, now: Nanos) -> (Option<Nanos>, Option<u64>) {
        let until = match self.time {
            Some(time) => Some(now.saturating_add(time)),
            None => None,
        };
        (until, self.reads)
    }
}
