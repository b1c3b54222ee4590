//! In which order the locks of an adapter are taken.
//!
//! Source: `StorPortAcquireSpinLock`: locks that are taken in an incorrect order are a deadlock. Of two that are taken in
//! either order two processors may each have one, unless a third is held each time.

use super::spin::LOCKS;
use alloc::collections::BTreeMap;

/// A set of locks of an adapter, and of the DPCs that run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bits([u64; 4]);

impl Bits {
    /// Most that there may be.
    pub const MOST: usize = 256;

    /// The set with one more, or without it.
    pub fn with(mut self, n: usize, is_in: bool) -> Self {
        let word = &mut self.0[n / 64 % 4];
        *word = *word & !(1 << (n % 64)) | u64::from(is_in) << (n % 64);
        self
    }

    fn has(self, n: usize) -> bool {
        self.0[n / 64 % 4] & 1 << (n % 64) != 0
    }

    /// Those that are in both.
    pub fn and(self, other: Self) -> Self {
        Self(core::array::from_fn(|n| self.0[n] & other.0[n]))
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// What comes of a lock that is taken while another is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// That is known.
    Known,
    /// It is an order.
    Order,
    /// Processors may wait for each other.
    Circle,
}

/// For each lock those that were taken while it was held, with what else was held each time.
pub(super) struct Order(BTreeMap<(usize, usize), Bits>);

impl Order {
    pub const NONE: Self = Self(BTreeMap::new());

    /// Forgets what is known of some locks.
    pub fn forget(&mut self, which: impl Fn(usize) -> bool) {
        self.0
            .retain(|(first, then), _| !which(*first) && !which(*then));
    }

    /// `then` is taken while `first` is held, and `beside`.
    pub fn add(&mut self, first: usize, then: usize, beside: Bits) -> Added {
        let beside = beside.with(first, false).with(then, false);
        let known = self.0.get(&(first, then)).copied();
        let now = known.map_or(beside, |known| known.and(beside));
        if known == Some(now) {
            return Added::Known;
        }
        self.0.insert((first, then), now);
        /// Ways that are looked at.
        const MOST: u32 = 4096;
        let mut left = MOST;
        match self.leads(then, first) && self.meets(then, first, now, Bits::default(), &mut left) {
            true => Added::Circle,
            false => Added::Order,
        }
    }

    fn after(&self, first: usize) -> impl Iterator<Item = (usize, Bits)> + '_ {
        let range = self.0.range((first, 0)..=(first, LOCKS));
        range.map(|((_, then), beside)| (*then, *beside))
    }

    /// Whether `goal` was taken while `first` was held, or another that was taken under it.
    fn leads(&self, first: usize, goal: usize) -> bool {
        let (mut seen, mut ahead) = (Bits::default().with(first, true), alloc::vec![first]);
        while let Some(at) = ahead.pop() {
            for (next, _) in self.after(at) {
                if !seen.has(next) {
                    seen = seen.with(next, true);
                    ahead.push(next);
                }
            }
        }
        first != goal && seen.has(goal)
    }

    /// Whether there is such a way on which nothing is held all along.
    fn meets(&self, at: usize, goal: usize, beside: Bits, seen: Bits, left: &mut u32) -> bool {
        let seen = seen.with(at, true);
        self.after(at).any(|(next, other)| {
            *left = left.saturating_sub(1);
            let both = beside.and(other);
            match next == goal {
                _ if *left == 0 || seen.has(next) => false,
                true => both.is_empty(),
                false => self.meets(next, goal, both, seen, left),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(locks: &[usize]) -> Bits {
        locks
            .iter()
            .fold(Bits::default(), |bits, lock| bits.with(*lock, true))
    }

    #[test]
    fn two_locks_that_are_taken_in_either_order_are_a_circle() {
        let mut order = Order::NONE;
        assert_eq!(order.add(1, 2, held(&[1])), Added::Order);
        assert_eq!(order.add(1, 2, held(&[1])), Added::Known);
        assert_eq!(order.add(2, 3, held(&[2])), Added::Order);
        assert_eq!(order.add(1, 3, held(&[1])), Added::Order);
        assert_eq!(order.add(3, 1, held(&[3])), Added::Circle);
    }

    #[test]
    fn a_third_lock_that_is_held_each_time_lets_two_be_taken_in_either_order() {
        let mut order = Order::NONE;
        assert_eq!(order.add(9, 1, held(&[9])), Added::Order);
        assert_eq!(order.add(1, 2, held(&[9, 1])), Added::Order);
        assert_eq!(order.add(9, 2, held(&[9])), Added::Order);
        assert_eq!(order.add(2, 1, held(&[9, 2])), Added::Order);
        // Once without it.
        assert_eq!(order.add(1, 2, held(&[1])), Added::Circle);
    }

    #[test]
    fn what_is_forgotten_is_taken_in_any_order() {
        let mut order = Order::NONE;
        order.add(1, 200, held(&[1]));
        order.forget(|lock| lock >= 100);
        assert_eq!(order.add(200, 1, held(&[200])), Added::Order);
    }

    #[test]
    fn many_locks_in_one_order_are_looked_at_in_no_time() {
        let mut order = Order::NONE;
        for first in 0..40 {
            for then in first + 1..40 {
                assert_eq!(order.add(first, then, held(&[first])), Added::Order);
            }
        }
        assert_eq!(order.add(39, 0, held(&[39])), Added::Circle);
    }
}
