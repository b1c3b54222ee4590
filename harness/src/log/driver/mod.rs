//! What drivers of others print about their interrupts: one file for each format, and what each line says.
//!
//! A line that none of them knows can be given a meaning by the guest file ([`Patterns`]).

mod guide;
mod misfire_log;
mod patterns;
mod selftest;
mod trace;
mod wdf;
mod words;

pub use patterns::{MEANINGS, Pattern, PatternError, Patterns};

use super::Said;
pub(super) use words::{after, between, keyed, number, text};

/// A format of lines.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// Who prints it.
    pub about: &'static str,
    /// Lines of it.
    pub examples: &'static [&'static str],
    read: fn(&str) -> Option<Said>,
}

/// Every format, in the order in which a line is tried.
pub const FORMATS: &[Format] = &[
    misfire_log::FORMAT,
    guide::FORMAT,
    trace::FORMAT,
    wdf::FORMAT,
    selftest::FORMAT,
];

/// What a driver's line says.
pub(super) fn said(line: &str) -> Option<Said> {
    FORMATS.iter().find_map(|format| (format.read)(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_of_a_format_is_read_by_that_format_alone() {
        for format in FORMATS {
            assert!(!format.examples.is_empty(), "{}", format.name);
            for line in format.examples {
                let readers: Vec<&str> = FORMATS
                    .iter()
                    .filter(|format| (format.read)(line).is_some())
                    .map(|format| format.name)
                    .collect();
                assert_eq!(readers, [format.name], "{line}");
                // What the machine puts before a line is no obstacle.
                let behind = format!("12:00:01.5 [CPU 1] {line}\r");
                assert_eq!((format.read)(&behind), (format.read)(line), "{line}");
            }
        }
    }

    #[test]
    fn a_line_that_is_cut_off_says_nothing_or_less_and_never_panics() {
        for line in FORMATS.iter().flat_map(|format| format.examples) {
            for end in 0..line.len() {
                let _ = said(&line[..end]);
            }
        }
    }
}
