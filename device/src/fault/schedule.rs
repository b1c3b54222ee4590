//! Which matches fire, when their count restarts, and how long a fault goes on.

use super::error::{FaultError, nearest};
use crate::endpoint::Nanos;

/// `nth`: which matches fire, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nth {
    /// `3`, `2..5` (5 included), `2..`.
    Range {
        /// The first.
        from: u64,
        /// The last; none: no end.
        to: Option<u64>,
    },
    /// `*/10`: the 10th, the 20th, ….
    Multiple(u64),
    /// `p=0.01`: each with this probability, from the seed.
    Chance(f64),
}

/// `per`: when the count of matches restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// Never.
    #[default]
    Run,
    /// With each driver: after a function reset, or when bus mastering was switched off.
    Instance,
    /// With each reset of the device.
    Epoch,
}

/// `until`: how long a fault goes on after it has fired. While it goes on, every match fires,
/// whatever `nth` says; afterwards none does until `per` restarts the count.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Until {
    /// It does not go on: each firing is on its own.
    #[default]
    Once,
    /// Until the device is reset.
    Reset,
    /// For this long.
    For(Nanos),
    /// For this many matches, the first included.
    Nth(u64),
    /// Until another fault fires.
    Fault(String),
    /// For the rest of the run.
    Forever,
}

const NTH_FORMS: &str = "expected a number such as 3, \"2..5\", \"2..\", \"*/10\" or \"p=0.01\"";

impl Nth {
    /// Reads `nth`.
    ///
    /// # Errors
    /// What is wrong, and which forms there are.
    pub(super) fn parse(value: &toml::Value) -> Result<Self, FaultError> {
        let wrong = || FaultError::new(format!("nth = {value}: {NTH_FORMS}"));
        let one = |from| Self::Range {
            from,
            to: Some(from),
        };
        let nth = match value {
            toml::Value::Integer(n) => one(u64::try_from(*n).map_err(|_| wrong())?),
            toml::Value::String(text) => Self::from_text(text).ok_or_else(wrong)?,
            _ => return Err(wrong()),
        };
        match nth {
            Self::Range { from: 0, .. } | Self::Multiple(0) => Err(FaultError::new(format!(
                "nth = {value}: matches are counted from 1"
            ))),
            Self::Range { from, to: Some(to) } if to < from => Err(FaultError::new(format!(
                "nth = {value}: the last comes before the first"
            ))),
            Self::Chance(p) if !(p > 0.0 && p <= 1.0) => Err(FaultError::new(format!(
                "nth = {value}: expected a probability above 0 and up to 1"
            ))),
            nth => Ok(nth),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(n) = text.strip_prefix("*/") {
            return n.trim().parse().ok().map(Self::Multiple);
        }
        if let Some(p) = text.strip_prefix("p=") {
            return p.trim().parse().ok().map(Self::Chance);
        }
        let number = |n: &str| n.trim().parse::<u64>().ok();
        match text.split_once("..") {
            Some((from, "")) => Some(Self::Range {
                from: number(from)?,
                to: None,
            }),
            Some((from, to)) => Some(Self::Range {
                from: number(from)?,
                to: Some(number(to)?),
            }),
            None => number(text).map(|n| Self::Range {
                from: n,
                to: Some(n),
            }),
        }
    }

    fn picks(self, match_number: u64, rng: &mut fastrand::Rng) -> bool {
        match self {
            Self::Range { from, to } => {
                match_number >= from && to.is_none_or(|to| match_number <= to)
            }
            Self::Multiple(n) => match_number.is_multiple_of(n),
            Self::Chance(p) => rng.f64() < p,
        }
    }
}

impl Default for Nth {
    fn default() -> Self {
        Self::Range {
            from: 1,
            to: Some(1),
        }
    }
}

impl Per {
    /// Reads `per`.
    ///
    /// # Errors
    /// The words that there are.
    pub(super) fn parse(text: &str) -> Result<Self, FaultError> {
        match text {
            "run" => Ok(Self::Run),
            "instance" => Ok(Self::Instance),
            "epoch" => Ok(Self::Epoch),
            _ => Err(FaultError::new(format!(
                "per = \"{text}\": expected \"run\", \"instance\" or \"epoch\""
            ))
            .help(nearest(text, ["run", "instance", "epoch"]))),
        }
    }
}

impl Until {
    /// Reads `until`.
    ///
    /// # Errors
    /// The forms that there are.
    pub(super) fn parse(text: &str) -> Result<Self, FaultError> {
        let wrong = || {
            FaultError::new(format!(
                "until = \"{text}\": expected \"once\", \"reset\", \"forever\", a time such as \"5s\", \"nth=20\" or \"fault:<id>\""
            ))
        };
        match text {
            "once" => Ok(Self::Once),
            "reset" => Ok(Self::Reset),
            "forever" => Ok(Self::Forever),
            _ => {
                if let Some(n) = text.strip_prefix("nth=") {
                    return match n.trim().parse() {
                        Ok(n) if n > 0 => Ok(Self::Nth(n)),
                        _ => Err(wrong()),
                    };
                }
                if let Some(id) = text.strip_prefix("fault:") {
                    return Ok(Self::Fault(id.trim().to_owned()));
                }
                duration(text)
                    .map(Self::For)
                    .ok_or_else(|| wrong().help(nearest(text, ["once", "reset", "forever"])))
            }
        }
    }
}

/// Reads a time with its unit, such as `1500ms`, in nanoseconds.
pub(super) fn duration(text: &str) -> Option<Nanos> {
    humantime::parse_duration(text)
        .ok()
        .and_then(|d| u64::try_from(d.as_nanos()).ok())
}

/// What a fault can count from: the state of the device at a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Era {
    pub epoch: u32,
    pub instance: u32,
}

/// The count of one armed fault.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    nth: Nth,
    per: Per,
    until: Until,
    era: Era,
    matches: u64,
    life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Waiting,
    Going { since: Nanos, epoch: u32, nth: u64 },
    Spent,
}

impl Counter {
    pub fn new(nth: Nth, per: Per, until: Until) -> Self {
        Self {
            nth,
            per,
            until,
            era: Era {
                epoch: 0,
                instance: 0,
            },
            matches: 0,
            life: Life::Waiting,
        }
    }

    /// Trigger and predicate match: does the fault fire?
    pub fn matched(&mut self, now: Nanos, era: Era, rng: &mut fastrand::Rng) -> bool {
        let restarts = match self.per {
            Per::Run => false,
            Per::Instance => era.instance != self.era.instance,
            Per::Epoch => era.epoch != self.era.epoch,
        };
        if restarts {
            (self.matches, self.life) = (0, Life::Waiting);
        }
        self.era = era;
        self.matches = self.matches.saturating_add(1);
        self.settle(now, era.epoch);
        let fires = match &mut self.life {
            Life::Spent => false,
            Life::Going { nth, .. } => {
                *nth = nth.saturating_add(1);
                true
            }
            Life::Waiting => {
                let picked = self.nth.picks(self.matches, rng);
                if picked && self.until != Until::Once {
                    self.life = Life::Going {
                        since: now,
                        epoch: era.epoch,
                        nth: 1,
                    };
                }
                picked
            }
        };
        if let (Life::Going { nth, .. }, Until::Nth(last)) = (self.life, &self.until)
            && nth >= *last
        {
            self.life = Life::Spent;
        }
        fires
    }

    /// Whether what a firing set up still holds.
    pub fn goes_on(&mut self, now: Nanos, epoch: u32) -> bool {
        self.settle(now, epoch);
        self.until == Until::Once || matches!(self.life, Life::Going { .. })
    }

    /// Whether a lifetime of its own, beyond that of one firing, is not over.
    pub fn lasts(&mut self, now: Nanos, epoch: u32) -> bool {
        self.until != Until::Once && self.until != Until::Reset && self.goes_on(now, epoch)
    }

    /// When the lifetime ends, if it ends at a time.
    pub fn ends_at(&self) -> Option<Nanos> {
        match (self.life, &self.until) {
            (Life::Going { since, .. }, Until::For(time)) => Some(since.saturating_add(*time)),
            _ => None,
        }
    }

    /// The fault `id` fired. Returns whether this ends the lifetime.
    pub fn other_fired(&mut self, id: &str) -> bool {
        let ends =
            matches!((&self.life, &self.until), (Life::Going { .. }, Until::Fault(f)) if f == id);
        if ends {
            self.life = Life::Spent;
        }
        ends
    }

    fn settle(&mut self, now: Nanos, epoch_now: u32) {
        if let Life::Going { since, epoch, .. } = self.life {
            let over = match self.until {
                Until::For(time) => now.saturating_sub(since) >= time,
                Until::Reset => epoch != epoch_now,
                _ => false,
            };
            if over {
                self.life = Life::Spent;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERA: Era = Era {
        epoch: 0,
        instance: 0,
    };

    fn text(value: &str) -> toml::Value {
        toml::Value::String(value.into())
    }

    /// The matches, of the first 12, that fire.
    fn fires(nth: &str, until: &str) -> Vec<u64> {
        let mut counter = Counter::new(
            Nth::parse(&text(nth)).unwrap(),
            Per::Run,
            Until::parse(until).unwrap(),
        );
        let mut rng = fastrand::Rng::with_seed(1);
        (1..=12)
            .filter(|i| counter.matched(i * 1_000_000_000, ERA, &mut rng))
            .collect()
    }

    #[test]
    fn nth_says_which_matches_fire() {
        assert_eq!(fires("1", "once"), [1]);
        assert_eq!(fires("3", "once"), [3]);
        assert_eq!(fires("2..5", "once"), [2, 3, 4, 5]);
        assert_eq!(fires("10..", "once"), [10, 11, 12]);
        assert_eq!(fires("*/5", "once"), [5, 10]);
        assert_eq!(fires("p=1", "once").len(), 12);
    }

    #[test]
    fn until_keeps_a_fault_going_and_then_it_is_spent() {
        assert_eq!(fires("3", "forever"), (3..=12).collect::<Vec<_>>());
        assert_eq!(fires("2", "nth=3"), [2, 3, 4]);
        assert_eq!(fires("2..", "3s"), [2, 3, 4]);
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed() {
        let draw = || {
            let mut counter = Counter::new(Nth::Chance(0.3), Per::Run, Until::Once);
            let mut rng = fastrand::Rng::with_seed(7);
            (0..100)
                .map(|_| counter.matched(0, ERA, &mut rng))
                .collect::<Vec<_>>()
        };
        let fired = draw().iter().filter(|f| **f).count();
        assert_eq!(draw(), draw());
        assert!((15..45).contains(&fired), "{fired} of 100 at p=0.3");
    }

    #[test]
    fn the_count_restarts_with_each_epoch() {
        let mut counter = Counter::new(Nth::default(), Per::Epoch, Until::Once);
        let mut rng = fastrand::Rng::with_seed(1);
        let fired: Vec<_> = [0, 0, 1, 1, 2]
            .map(|epoch| counter.matched(0, Era { epoch, ..ERA }, &mut rng))
            .into();
        assert_eq!(fired, [true, false, true, false, true]);
    }

    #[test]
    fn a_lifetime_ends_with_a_reset_or_another_fault() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut counter = Counter::new(Nth::default(), Per::Run, Until::Reset);
        let fired: Vec<_> = [0, 0, 1]
            .map(|epoch| counter.matched(0, Era { epoch, ..ERA }, &mut rng))
            .into();
        assert_eq!(fired, [true, true, false]);

        let mut counter = Counter::new(Nth::default(), Per::Run, Until::Fault("x".into()));
        assert!(counter.matched(0, ERA, &mut rng));
        assert!(!counter.other_fired("y"));
        assert!(counter.matched(0, ERA, &mut rng));
        assert!(counter.other_fired("x"));
        assert!(!counter.matched(0, ERA, &mut rng));
    }

    #[test]
    fn what_is_no_count_is_refused_with_the_forms() {
        for bad in ["", "two", "0", "5..2", "*/0", "p=0", "p=1.5", "1..x"] {
            let error = Nth::parse(&text(bad)).unwrap_err();
            assert!(
                error.message.starts_with(&format!("nth = \"{bad}\"")),
                "{error}"
            );
        }
        assert!(Nth::parse(&toml::Value::Integer(-1)).is_err());
        assert!(Nth::parse(&toml::Value::Boolean(true)).is_err());
        let error = Until::parse("forevr").unwrap_err();
        assert_eq!(error.help.as_deref(), Some("did you mean `forever`?"));
        assert!(Per::parse("boot").is_err());
    }
}
