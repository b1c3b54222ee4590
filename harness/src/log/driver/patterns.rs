//! Lines of drivers that are not known here: the guest file says what they mean.

use regex_lite::{Captures, Regex};

use super::misfire_log::PREFIX;

/// The most that a captured word may be long, bytes.
const LONGEST: usize = 128;

/// A meaning that a line can have.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    /// How a guest file calls it.
    pub word: &'static str,
    /// The groups that its pattern has to have.
    pub groups: &'static [&'static str],
    /// Those that it may have.
    pub optional: &'static [&'static str],
    /// What misfire_log.h prints for it, before the values.
    line: &'static str,
    /// Values that always stand there.
    fixed: &'static str,
}

/// Every meaning.
pub const MEANINGS: &[Meaning] = &[
    meaning("messages", &["count"], &[], "resource", "kind=message raw"),
    meaning("line", &[], &[], "resource", "kind=line raw level=0"),
    meaning(
        "interrupt",
        &["number", "vector"],
        &[],
        "interrupt",
        "signaled=1",
    ),
    meaning(
        "connect-failed",
        &["vector", "status"],
        &[],
        "connect-failed",
        "",
    ),
    meaning("config-vector", &["wrote"], &["read"], "config-vector", ""),
    meaning(
        "queue-vector",
        &["queue", "wrote"],
        &["read"],
        "queue-vector",
        "",
    ),
    meaning("config-uses", &["vector"], &[], "config-uses", ""),
    meaning("queue-uses", &["queue", "vector"], &[], "queue-uses", ""),
    meaning("needs-reset", &[], &[], "needs-reset", ""),
    meaning("lost", &["queue"], &[], "lost", ""),
    meaning("timed-out", &["queue"], &[], "timed-out", ""),
    meaning("unclaimed", &["unclaimed"], &[], "count", "line"),
];

const fn meaning(
    word: &'static str,
    groups: &'static [&'static str],
    optional: &'static [&'static str],
    line: &'static str,
    fixed: &'static str,
) -> Meaning {
    Meaning {
        word,
        groups,
        optional,
        line,
        fixed,
    }
}

/// A pattern of the guest file.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    meaning: &'static Meaning,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (self.regex.as_str(), self.meaning.word) == (other.regex.as_str(), other.meaning.word)
    }
}

/// A pattern can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is no regular expression.
    #[error("not a regular expression: {0}")]
    Regex(String),
    /// There is no such meaning.
    #[error("no line means `{given}`{}", near(nearest.as_deref()))]
    Meaning {
        /// What was given.
        given: String,
        /// The nearest that there is.
        nearest: Option<String>,
    },
    /// A group is missing.
    #[error("a line that means `{meaning}` needs the group (?<{group}>…)")]
    Missing {
        /// The meaning.
        meaning: &'static str,
        /// The group.
        group: &'static str,
    },
    /// A group has no use.
    #[error("a line that means `{meaning}` has no use for the group (?<{group}>…)")]
    Unused {
        /// The meaning.
        meaning: &'static str,
        /// The group.
        group: String,
    },
}

fn near(word: Option<&str>) -> String {
    word.map(|word| format!("; did you mean `{word}`?"))
        .unwrap_or_default()
}

impl Pattern {
    /// A line that matches `regex` means `means`. The values are the groups of its name; a group whose name
    /// ends in `_hex` holds hexadecimal digits without `0x`.
    ///
    /// # Errors
    /// When one or the other is not understood, or the groups are not those of the meaning.
    pub fn new(regex: &str, means: &str) -> Result<Self, PatternError> {
        let meaning = MEANINGS
            .iter()
            .find(|meaning| meaning.word == means)
            .ok_or_else(|| PatternError::Meaning {
                given: means.to_owned(),
                nearest: MEANINGS
                    .iter()
                    .map(|meaning| (strsim::damerau_levenshtein(meaning.word, means), meaning))
                    .filter(|(distance, _)| *distance <= 3)
                    .min_by_key(|(distance, _)| *distance)
                    .map(|(_, meaning)| meaning.word.to_owned()),
            })?;
        let regex = Regex::new(regex).map_err(|error| PatternError::Regex(error.to_string()))?;
        let has = |group: &str| {
            regex
                .capture_names()
                .flatten()
                .any(|name| plain(name) == group)
        };
        for group in meaning.groups {
            if !has(group) {
                return Err(PatternError::Missing {
                    meaning: meaning.word,
                    group,
                });
            }
        }
        let useless = regex.capture_names().flatten().find(|name| {
            let known = |group: &&str| *group == plain(name);
            !meaning.groups.iter().chain(meaning.optional).any(known)
        });
        if let Some(group) = useless {
            return Err(PatternError::Unused {
                meaning: meaning.word,
                group: group.to_owned(),
            });
        }
        Ok(Self { regex, meaning })
    }

    fn line(&self, line: &str) -> Option<String> {
        let found = self.regex.captures(line)?;
        let mut made = format!("{PREFIX}pattern {}", self.meaning.line);
        if !self.meaning.fixed.is_empty() {
            made += &format!(" {}", self.meaning.fixed);
        }
        for group in self.meaning.groups {
            made += &format!(" {group}={}", self.value(&found, group)?);
        }
        for group in self.meaning.optional {
            if let Some(value) = self.value(&found, group) {
                made += &format!(" {group}={value}");
            }
        }
        Some(made)
    }

    /// What a group holds, as misfire_log.h would print it.
    fn value(&self, found: &Captures<'_>, group: &str) -> Option<String> {
        let name = self
            .regex
            .capture_names()
            .flatten()
            .find(|name| plain(name) == group && found.name(name).is_some())?;
        let value = found.name(name)?.as_str();
        let fits = !value.is_empty() && value.len() <= LONGEST;
        let one_word = !value.contains(char::is_whitespace);
        let hex = if name.ends_with("_hex") { "0x" } else { "" };
        (fits && one_word).then(|| format!("{hex}{value}"))
    }
}

fn plain(group: &str) -> &str {
    group.strip_suffix("_hex").unwrap_or(group)
}

/// The patterns of a guest file, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// These.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self(patterns)
    }

    /// The line of misfire_log.h that this line stands for, by the first pattern that it matches. It is to be
    /// recorded after the line itself, so that a recorded trace is judged in the same way without the guest file.
    pub fn translate(&self, line: &str) -> Option<String> {
        self.0.iter().find_map(|pattern| pattern.line(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Said;

    fn said(regex: &str, means: &str, line: &str) -> Option<Said> {
        let patterns = Patterns::new(vec![Pattern::new(regex, means).unwrap()]);
        patterns.translate(line).and_then(|line| Said::of(&line))
    }

    #[test]
    fn a_line_of_a_driver_that_nobody_knows_says_what_its_pattern_means() {
        assert_eq!(
            said(
                r"q(?<queue>\d+): asked for vector (?<wrote>\d+), have (?<read>0x[0-9a-f]+)",
                "queue-vector",
                "viostor: q3: asked for vector 4, have 0xffff"
            ),
            Some(Said::QueueWritten {
                queue: 3,
                wrote: 4,
                read: Some(0xffff)
            })
        );
        assert_eq!(
            said(
                "vec ([a-z]+ )?(?<vector_hex>[0-9a-f]+) msg (?<number>[0-9]+)",
                "interrupt",
                "vec 93 msg 2"
            ),
            Some(Said::Interrupt {
                message: true,
                number: 2,
                vector: 0x93
            })
        );
        assert_eq!(
            said("no MSI for us", "line", "[drv] no MSI for us!"),
            Some(Said::Resource { messages: None })
        );
        assert_eq!(said("vec (?<vector>.*)", "config-uses", "vec 1 2"), None);
        assert_eq!(
            said("vec (?<vector>.*)", "config-uses", "another line"),
            None
        );
    }

    #[test]
    fn every_meaning_is_understood_when_its_groups_are_there() {
        for meaning in MEANINGS {
            let groups: Vec<String> = meaning
                .groups
                .iter()
                .map(|group| format!("{group} (?<{group}>\\w+)"))
                .collect();
            let line: Vec<String> = meaning.groups.iter().map(|g| format!("{g} 7")).collect();
            let regex = format!("^{}$", groups.join(" "));
            assert!(
                said(&regex, meaning.word, &line.join(" ")).is_some(),
                "{}",
                meaning.word
            );
        }
    }

    #[test]
    fn a_pattern_that_can_not_be_used_is_refused_with_the_reason() {
        let refused = |regex, means| Pattern::new(regex, means).unwrap_err().to_string();
        assert!(refused("(", "lost").starts_with("not a regular expression"));
        assert_eq!(
            refused("x", "queue-vectors"),
            "no line means `queue-vectors`; did you mean `queue-vector`?"
        );
        assert_eq!(
            refused("x", "nothing like it"),
            "no line means `nothing like it`"
        );
        assert_eq!(
            refused("(?<queue>x)", "queue-vector"),
            "a line that means `queue-vector` needs the group (?<wrote>…)"
        );
        assert_eq!(
            refused("(?<queue>x)(?<colour>y)", "lost"),
            "a line that means `lost` has no use for the group (?<colour>…)"
        );
    }
}
