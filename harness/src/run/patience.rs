//! How long something is waited for.

use std::time::{Duration, Instant};

/// The longest that is waited in one go.
const SLICE: Duration = Duration::from_millis(10);
/// What one go counts at most: a machine without a free processor lets the guest stand still too.
const MOST: Duration = Duration::from_millis(15);
/// How many times the limit may pass as long as something happens, and how much more than the limit.
const TIMES: u32 = 4;
const LONGEST_MORE: Duration = Duration::from_secs(2);
/// How much may be recorded meanwhile: a guest that goes round and round gets no further with more of it.
const MOST_RECORDED: usize = 10_000;
/// The same for a guest that finds out itself what it waits for, and says so.
const MOST_RECORDED_WATCHED: usize = 100_000;

/// Waits for as long as something happens, and for the limit when nothing does; not without an end.
///
/// So a limit says how long everything has to be quiet, and not how fast the machine has to be.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    /// How long is waited at the most, whatever happens.
    most: Duration,
    most_recorded: usize,
    /// How long nothing has happened.
    quiet: Duration,
    /// How long has been waited.
    waited: Duration,
    /// How much had happened at the last look.
    seen: usize,
    /// Where it ended at the first look.
    first: Option<usize>,
    /// When the last look was.
    since: Instant,
}

impl Patience {
    /// With this limit.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            most: Self::most(limit),
            most_recorded: MOST_RECORDED,
            quiet: Duration::ZERO,
            waited: Duration::ZERO,
            seen: 0,
            first: None,
            since: Instant::now(),
        }
    }

    /// The guest watches its driver, and says when it waits without an end.
    pub(super) fn watched(mut self, watched: bool) -> Self {
        if watched {
            self.most_recorded = MOST_RECORDED_WATCHED;
        }
        self
    }

    /// From now on it may be quiet no longer than `limit`.
    pub(super) fn at_most(&mut self, limit: Duration) {
        self.limit = self.limit.min(limit);
    }

    /// The most that is waited with this limit, on a machine that has processors free.
    pub(super) fn most(limit: Duration) -> Duration {
        limit
            .saturating_mul(TIMES)
            .min(limit.saturating_add(LONGEST_MORE))
    }

    /// Until when to wait before the next look.
    pub(super) fn slice(&self) -> Instant {
        self.since + SLICE
    }

    /// Whether it is over, with so many things recorded by now, so many of which are something that happened.
    pub(super) fn is_over(&mut self, recorded: usize, happened: usize) -> bool {
        let first = *self.first.get_or_insert(recorded);
        if recorded.saturating_sub(first) > self.most_recorded {
            return true;
        }
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.since).min(MOST);
        if passed < SLICE {
            return false;
        }
        self.since = now;
        self.waited += passed;
        self.quiet += passed;
        if happened != self.seen {
            self.seen = happened;
            self.quiet = Duration::ZERO;
        }
        self.quiet >= self.limit || self.waited >= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks until it is over, each time a slice later; `happens` says what was recorded by then.
    fn looks(patience: &mut Patience, happens: impl Fn(usize) -> usize) -> usize {
        let over = |look: &usize| {
            patience.since = Instant::now() - SLICE;
            patience.is_over(happens(*look), happens(*look))
        };
        (1..10_000).find(over).unwrap()
    }

    #[test]
    fn it_lasts_as_long_as_nothing_happens() {
        let mut patience = Patience::new(SLICE * 20);
        assert!((14..=20).contains(&looks(&mut patience, |_| 0)));
    }

    #[test]
    fn what_happens_prolongs_it_but_not_without_end() {
        let limit = SLICE * 20;
        let once = looks(&mut Patience::new(limit), |look| usize::from(look >= 10));
        assert!((24..=30).contains(&once), "{once}");
        let always = looks(&mut Patience::new(limit), |look| look);
        assert!((54..=80).contains(&always), "{always}");
    }

    #[test]
    fn a_limit_that_becomes_shorter_counts_what_was_quiet_before() {
        let mut patience = Patience::new(SLICE * 100);
        patience.since = Instant::now() - SLICE;
        assert!(!patience.is_over(0, 0));
        patience.at_most(SLICE * 2);
        patience.since = Instant::now() - SLICE;
        assert!(patience.is_over(0, 0));
    }

    #[test]
    fn a_guest_that_goes_round_and_round_is_not_waited_for() {
        let mut patience = Patience::new(SLICE * 1000);
        assert_eq!(looks(&mut patience, |look| look * 1000), 12);
    }

    #[test]
    fn a_machine_that_stood_still_has_waited_for_one_go() {
        let mut patience = Patience::new(SLICE * 3);
        patience.since = Instant::now() - SLICE * 1000;
        assert!(!patience.is_over(0, 0));
    }
}
