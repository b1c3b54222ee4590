//! The line, between what the device wants and what the outside is shown.

use crate::endpoint::Nanos;
use crate::trace::Cause;

/// The interrupt line. It is a level: whatever faults do to it, what is shown stays one.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the device wants.
    pub meant: bool,
    /// What the outside was shown last.
    pub shown: bool,
    /// Held up although the device does not want it, until the driver reads the ISR status.
    pub extra: bool,
    /// Held up until then, whatever the driver does.
    pub up_until: Option<Nanos>,
    /// Held down although the device wants it, until its next interrupt.
    pub dropped: bool,
    /// Held down until then.
    pub rises: Option<Nanos>,
    /// Held down by this fault until a command of the host.
    pub kept: Option<usize>,
    /// The event that raised it last.
    pub cause: Cause,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            meant: false,
            shown: false,
            extra: false,
            up_until: None,
            dropped: false,
            rises: None,
            kept: None,
            cause: Cause::None,
        }
    }
}

impl Line {
    /// No fault holds it up or down.
    pub fn is_free(&self) -> bool {
        !self.extra && self.up_until.is_none() && !self.dropped && !self.is_late()
    }

    /// The device wants another level.
    pub fn wants(&mut self, level: bool) {
        self.meant = level;
        if !level {
            self.let_go();
        }
    }

    /// It comes late: at a time, or with a command of the host.
    pub fn is_late(&self) -> bool {
        self.rises.is_some() || self.kept.is_some()
    }

    /// What was late comes. One rise is enough for all that it stands for.
    pub fn comes(&mut self) {
        self.rises = None;
        self.kept = None;
    }

    /// Nothing holds it down any more.
    pub fn let_go(&mut self) {
        self.dropped = false;
        self.comes();
    }

    /// The level to show; `allowed` tells whether the function may assert it at all.
    pub fn level(&self, allowed: bool) -> bool {
        let held_up = self.extra || self.up_until.is_some();
        (held_up && allowed) || (self.meant && !self.dropped && !self.is_late())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_held_down_follows_the_device_once_it_is_let_go() {
        let mut line = Line {
            rises: Some(5),
            ..Line::default()
        };
        line.wants(true);
        assert!(!line.level(true));
        line.let_go();
        assert!(line.level(true));
    }

    #[test]
    fn a_delayed_rise_is_forgotten_when_the_device_lowers_the_line() {
        let mut line = Line {
            meant: true,
            rises: Some(5),
            ..Line::default()
        };
        line.wants(false);
        assert!(line.is_free());
        assert!(!line.level(true));
    }

    #[test]
    fn a_line_is_not_held_up_where_it_may_not_be_asserted() {
        let line = Line {
            extra: true,
            ..Line::default()
        };
        assert!(line.level(true));
        assert!(!line.level(false));
    }
}
