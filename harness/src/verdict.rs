//! What was expected against what came out. Pure: the same trace gives the same verdict.

mod kernel;
mod observe;

use std::collections::BTreeMap;
use std::fmt;

use misfire_device::trace::{Event, What};
use regex_lite::Regex;
use serde::{Deserialize, Serialize};

use crate::rules::{self, Judgement};
use crate::scenario::{Expect, Expectations, Interrupts, Io, Outcome};
use crate::snapshot::Comparison;

pub use observe::{Observed, observe, phase};

/// The kind of guest that is a firmware.
const FIRMWARE: &str = "firmware";
/// The kind that has a Linux kernel.
const LINUX: &str = "linux";

/// What came of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// As expected.
    Pass,
    /// Not as expected.
    Fail,
    /// The scenario could not be put to the test.
    Error,
    /// Not meant for this guest.
    Skip,
    /// Deviates, as predicted for this driver.
    Xfail,
    /// Predicted to deviate, but does not: the marker must go.
    Xpass,
}

impl Verdict {
    /// The word that reports use.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Error => "ERROR",
            Self::Skip => "SKIP",
            Self::Xfail => "XFAIL",
            Self::Xpass => "XPASS",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Everything that a verdict rests on.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// What is expected.
    pub expect: &'a Expectations,
    /// The kind of guest.
    pub guest: &'a str,
    /// The driver and its revision, `name@revision`, if it is known.
    pub driver: Option<&'a str>,
    /// Rules that the driver is known to break wherever it can, and why.
    pub known: &'a BTreeMap<String, String>,
    /// The faults that the scenario arms: device, id and name.
    pub faults: &'a [(u8, String, String)],
    /// The trace.
    pub events: &'a [Event],
    /// What the driver did.
    pub observed: &'a Observed,
    /// What the rules say.
    pub judgements: &'a [Judgement],
    /// How the transcript compares with its snapshot; `None` when there is nothing to compare.
    pub snapshot: Option<&'a Comparison>,
    /// What kept the machine from finishing the scenario.
    pub trouble: Option<&'a str>,
}

/// A verdict, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not PASS.
    pub reasons: Vec<String>,
    /// What is worth knowing although it is as expected.
    pub notes: Vec<String>,
}

impl Case<'_> {
    /// Decides.
    pub fn decide(&self) -> Decision {
        if let Some(trouble) = self.trouble {
            // What is missing after that is missing because of it.
            return Decision {
                verdict: Verdict::Error,
                reasons: vec![trouble.to_owned()],
                notes: Vec::new(),
            };
        }
        let mut errors = Vec::new();
        for (dev, id, name) in self.faults {
            if !self.observed.fired.contains_key(&(*dev, id.clone())) {
                let name = if id == name {
                    String::new()
                } else {
                    format!(" ({name})")
                };
                errors.push(format!(
                    "fault `{id}`{name} never fired: the scenario tested nothing"
                ));
            }
        }
        if self.guest == FIRMWARE && !errors.is_empty() {
            // What it does not do is no mistake of the scenario.
            return Decision {
                verdict: Verdict::Skip,
                reasons: errors,
                notes: Vec::new(),
            };
        }
        let own;
        let mut base = self.expect.of(self.guest);
        if self.guest == FIRMWARE {
            own = self.of_firmware();
            base = &own;
        }
        let mut reasons = self.against(base);
        let mut other = Vec::new();
        if let Some(Comparison::Different(diff)) = self.snapshot {
            other.push(format!(
                "the transcript differs from its snapshot; --bless accepts it\n{diff}"
            ));
        }
        let guest = self.guest;
        let predicted = self.driver.and_then(|d| self.expect.predicted(d));
        let known = predicted.and_then(|known| known.guests.get(guest));
        let why = predicted.map(|known| format!("known: {}", known.why));
        let (verdict, reasons) = if !errors.is_empty() {
            errors.extend(reasons);
            errors.extend(other);
            (Verdict::Error, errors)
        } else if let Some(known) = known {
            let mut predicted = self.against(known);
            // A driver that is predicted not to work is waited for in vain.
            if known
                .outcome
                .is_some_and(|outcome| outcome >= Outcome::Refused)
            {
                let in_vain: Vec<String> = self.timeouts().collect();
                predicted.retain(|reason| !in_vain.contains(reason));
            }
            match (predicted.is_empty(), reasons.is_empty()) {
                // What is predicted is what is expected too.
                (true, true) if other.is_empty() => (Verdict::Pass, reasons),
                (true, _) if other.is_empty() => {
                    reasons.extend(why);
                    (Verdict::Xfail, reasons)
                }
                (true, _) => (Verdict::Fail, other),
                (false, true) => (
                    Verdict::Xpass,
                    vec!["this driver was predicted to deviate, and does not: remove its mark under expect.known".into()],
                ),
                (false, false) => {
                    predicted.extend(other);
                    (Verdict::Fail, predicted)
                }
            }
        } else if reasons.is_empty() && other.is_empty() {
            let known = self.known_breaches(base);
            if known.is_empty() {
                (Verdict::Pass, reasons)
            } else {
                (Verdict::Xfail, known)
            }
        } else {
            reasons.extend(other);
            (Verdict::Fail, reasons)
        };
        Decision {
            verdict,
            reasons,
            notes: self.notes(base),
        }
    }

    /// What is expected of a firmware, unless the scenario says it of one. It polls, and has no use for most of
    /// what a system's driver does: that it gets further than expected is as good, and what is expected to
    /// break need not.
    fn of_firmware(&self) -> Expect {
        let mut own = self.expect.of(FIRMWARE).clone();
        let (base, seen) = (&self.expect.base, self.observed);
        let is_bad = |outcome| matches!(outcome, Outcome::Wedged | Outcome::Crashed);
        if own.interrupts == base.interrupts {
            own.interrupts.clear();
        }
        if own.outcome == base.outcome && !seen.outcome.is_none_or(is_bad) {
            own.outcome = None;
        }
        if own.io == base.io && own.io != Some(Io::Complete) && seen.io != Some(Io::Failed) {
            own.io = None;
        }
        if own.broken == base.broken {
            let breaks = |id: &String| self.judgements.iter().any(|j| j.id == id && j.fails());
            own.broken.retain(breaks);
        }
        own
    }

    /// Breaches of rules that this driver is known to break, each with the reason.
    fn known_breaches(&self, expect: &Expect) -> Vec<String> {
        let each = self.judgements.iter().filter(|j| j.fails());
        each.filter(|j| !expect.broken.iter().any(|id| id == j.id))
            .filter_map(|j| Some(format!("{}; known: {}", breach(j), self.known.get(j.id)?)))
            .collect()
    }

    /// Everything that is not as `expect` has it.
    fn against(&self, expect: &Expect) -> Vec<String> {
        let mut wrong = Vec::new();
        self.outcome(expect, &mut wrong);
        self.rules(expect, &mut wrong);
        for pattern in &expect.log {
            let Ok(regex) = Regex::new(pattern) else {
                continue;
            };
            if !log_lines(self.events).any(|line| regex.is_match(line)) {
                wrong.push(format!("no line of the log matches `{pattern}`"));
            }
        }
        for text in &expect.says {
            if !self.judgements.iter().any(|j| j.text.contains(text)) {
                wrong.push(format!("no finding says `{text}`"));
            }
        }
        wrong
    }

    fn outcome(&self, expect: &Expect, wrong: &mut Vec<String>) {
        let seen = self.observed;
        let outcome = seen.outcome.unwrap_or(Outcome::Wedged);
        let bad = matches!(outcome, Outcome::Wedged | Outcome::Crashed);
        match expect.outcome {
            Some(expected) if expected != outcome => {
                wrong.push(format!("outcome: expected {expected}, found {outcome}"))
            }
            None if bad => wrong.push(format!(
                "outcome: {outcome}, and the scenario does not expect it"
            )),
            _ => {}
        }
        if !wrong.is_empty()
            && let Some(stop) = &seen.stop
        {
            wrong.push(format!("it crashed: {stop}"));
        }
        let same = match expect.interrupts.as_slice() {
            [] => true,
            [one] => seen.interrupts.iter().all(|i| i == one),
            each => each == seen.interrupts,
        };
        if !same {
            wrong.push(format!(
                "interrupts: expected {}, found {}",
                joined(&expect.interrupts),
                joined(&seen.interrupts)
            ));
        }
        let io = seen.io.unwrap_or(Io::None);
        match expect.io {
            Some(expected) if expected != io => {
                wrong.push(format!("io: expected {expected}, found {io}"))
            }
            None if io == Io::Failed => {
                wrong.push("io: failed, and the scenario does not expect it".into())
            }
            _ => {}
        }
        if let Some(expected) = expect.bugcheck.filter(|code| seen.bugcheck != Some(*code)) {
            let found = seen
                .bugcheck
                .map_or("none".into(), |code| format!("{code:#X}"));
            wrong.push(format!("bugcheck: expected {expected:#X}, found {found}"));
        }
        // Whoever is wedged does not get through the steps.
        let wedged = expect.outcome == Some(Outcome::Wedged) && outcome == Outcome::Wedged;
        for step in seen.timeouts.iter().filter(|_| !wedged) {
            if !expect.timeouts.contains(step) {
                wrong.push(format!("step `{step}` ran out of time"));
            }
        }
        for step in &expect.timeouts {
            if !seen.timeouts.contains(step) {
                wrong.push(format!("step `{step}` was to run out of time"));
            }
        }
    }

    /// The steps that ran out of time, as reasons.
    fn timeouts(&self) -> impl Iterator<Item = String> {
        let timeouts = self.observed.timeouts.iter();
        timeouts.map(|step| format!("step `{step}` ran out of time"))
    }

    fn rules(&self, expect: &Expect, wrong: &mut Vec<String>) {
        let unnamed = |j: &&Judgement| {
            let is_known = self.known.contains_key(j.id);
            j.fails() && !is_known && !expect.broken.iter().any(|id| id == j.id)
        };
        wrong.extend(self.judgements.iter().filter(unnamed).map(breach));
        let broken = |j: &Judgement| j.outcome == rules::Outcome::Broken;
        let held = |j: &Judgement| j.outcome == rules::Outcome::Held;
        for (ids, wanted, met) in [
            (
                &expect.broken,
                "broken",
                &Judgement::fails as &dyn Fn(&Judgement) -> bool,
            ),
            (&expect.warn, "broken", &broken),
            (&expect.held, "held", &held),
        ] {
            for id in ids {
                let judgement = self.judgements.iter().find(|j| j.id == id);
                if judgement.is_some_and(met) {
                    continue;
                }
                let found = judgement.map_or("not judged".into(), |j| {
                    format!("{}: {}", ruling(j), j.text)
                });
                wrong.push(format!("{id} was to come out {wanted}, but it is {found}"));
            }
        }
    }

    fn notes(&self, expect: &Expect) -> Vec<String> {
        let mut notes: Vec<String> = self
            .judgements
            .iter()
            .filter(|j| j.outcome == rules::Outcome::Broken)
            .filter(|j| !j.fails() || expect.broken.iter().any(|id| id == j.id))
            .filter(|j| j.severity != Some(rules::Severity::Info))
            .map(breach)
            .collect();
        notes.extend(evidence(self.events).map(str::to_owned));
        if self.guest == LINUX {
            notes.extend(kernel::notes(self.events));
        }
        if self.snapshot == Some(&Comparison::Missing) {
            notes.push("no snapshot yet: --bless keeps this run's transcript".into());
        }
        notes
    }
}

/// `VIO-MSIX-001 (MUST) broken: … (events 3, 9)`.
fn breach(judgement: &Judgement) -> String {
    let events: Vec<String> = judgement
        .evidence
        .iter()
        .take(6)
        .map(u64::to_string)
        .collect();
    let more = if judgement.evidence.len() > 6 {
        ", …"
    } else {
        ""
    };
    let events = match events.as_slice() {
        [] => String::new(),
        [one] => format!(" (event {one})"),
        _ => format!(" (events {}{more})", events.join(", ")),
    };
    let word = if judgement.fails() {
        "broken"
    } else {
        "not followed"
    };
    format!(
        "{} ({}) {word}: {}{events}",
        judgement.id,
        judgement.level.name(),
        judgement.text
    )
}

/// What became of a rule, in words. What is merely worth knowing breaks nothing: it is noted.
pub(crate) fn ruling(judgement: &Judgement) -> &'static str {
    match judgement.outcome {
        rules::Outcome::Held => "held",
        rules::Outcome::Broken if judgement.severity == Some(rules::Severity::Info) => "noted",
        rules::Outcome::Broken => "broken",
        rules::Outcome::Unseen => "unseen",
        rules::Outcome::NotApplicable => "not applicable",
        rules::Outcome::Inconclusive => "inconclusive",
    }
}

/// The lines that the guest printed.
fn log_lines(events: &[Event]) -> impl Iterator<Item = &str> {
    events.iter().filter_map(|event| match &event.what {
        What::Log { line } => Some(line.as_str()),
        _ => None,
    })
}

/// What was found out about a guest with which something was wrong.
fn evidence(events: &[Event]) -> impl Iterator<Item = &str> {
    events.iter().filter_map(|event| match &event.what {
        What::Mark {
            step: None,
            phase,
            text,
        } if phase == observe::phase::EVIDENCE => Some(text.as_str()),
        _ => None,
    })
}

/// `msi, none`; one word when all are the same.
pub fn joined(each: &[Interrupts]) -> String {
    match each {
        [] => "none".into(),
        [first, rest @ ..] if rest.iter().all(|i| i == first) => first.word().into(),
        _ => each.iter().map(|i| i.word()).collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests;
