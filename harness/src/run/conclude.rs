//! From what was recorded to the verdict.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use misfire_device::trace::{Event, What};

use super::drive::Trouble;
use super::keeping::Keeping;
use super::{Options, Run, Snapshots, Subject};
use crate::report::{FaultReport, ScenarioReport, millis};
use crate::rules::{Context, Judgement, judge};
use crate::scenario::Scenario;
use crate::snapshot::{self, Comparison};
use crate::transcript::transcript;
use crate::verdict::{Case, Decision, Observed, Verdict, joined, observe, phase};

/// From what was recorded to the verdict.
pub(super) fn conclude(
    scenario: &Scenario,
    options: &Options,
    events: &[Event],
    trouble: Option<Trouble>,
    begin: Instant,
) -> Run {
    // What a guest did because it was examined is not the driver's doing.
    let judgements = judge(&judged(before_examined(events)), &Context::default());
    let observed = observe(events, scenario.devices.len());
    let text = transcript(events);
    let keeping = Keeping::of(scenario, &options.subject, events, &observed, &judgements);
    let trouble = trouble.map(|t| t.in_full());
    let decide = |comparison: Option<&Comparison>| {
        decision(
            scenario,
            &options.subject,
            events,
            &observed,
            &judgements,
            trouble.as_deref(),
            comparison,
        )
    };
    let path = keeping.path();
    let failed = |doing: &str, error: std::io::Error| {
        let mut decided = decide(None);
        decided.verdict = Verdict::Error;
        decided
            .reasons
            .push(format!("{} can't be {doing}: {error}", path.display()));
        decided
    };
    let in_trouble = trouble.is_some();
    let decided = match options.snapshots {
        Snapshots::Leave => decide(None),
        _ if !options.subject.has_snapshots() => decide(None),
        Snapshots::Compare => match keeping.compare(&text) {
            Ok(Comparison::Missing) if options.subject.may_lack_snapshots() => decide(None),
            Ok(comparison) => {
                let mut decided = decide(Some(&comparison));
                // What --bless would not accept is not offered either.
                let acceptable = is_as_known(decide(None).verdict);
                if let Err(error) = keeping.offer(&text, &comparison, acceptable) {
                    let path = snapshot::pending(path);
                    let note = format!("{} can't be written: {error}", path.display());
                    decided.notes.push(note);
                }
                decided
            }
            Err(error) => failed("read", error),
        },
        Snapshots::Bless => match decide(None) {
            mut passed if is_as_known(passed.verdict) => {
                match keeping.bless(&text) {
                    Ok(true) => passed.notes.push(format!("wrote {}", path.display())),
                    Ok(false) => {}
                    Err(error) => passed = failed("written", error),
                }
                passed
            }
            mut other => {
                other
                    .notes
                    .push("the transcript is not accepted: the scenario did not pass".into());
                other
            }
        },
    };
    let mut report = report(
        scenario,
        options,
        events,
        &observed,
        judgements,
        decided,
        begin.elapsed(),
    );
    if in_trouble {
        // The guest did not get to show what the driver does.
        (report.outcome, report.interrupts) = (None, None);
    }
    Run {
        report,
        transcript: text,
        row: keeping.into_row(),
    }
}

/// Whether a transcript may become a snapshot: nothing in it is news.
fn is_as_known(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Pass | Verdict::Xfail)
}

/// The events before somebody interfered with the guest to find out what is wrong with it.
fn before_examined(events: &[Event]) -> &[Event] {
    let examined = events.iter().position(|event| {
        matches!(&event.what, What::Mark { step: None, phase, .. } if phase == phase::EXAMINED)
    });
    &events[..examined.unwrap_or(events.len())]
}

/// What the rules see of a run that ends with a crash dump: to it belongs what the guest says of the dump, but not
/// what the device hears then. A driver that writes one needs no interrupts, and stops nothing.
pub(crate) fn judged(events: &[Event]) -> Cow<'_, [Event]> {
    let is_dump = |event: &Event| matches!(&event.what, What::Mark { step: None, phase, .. } if phase == phase::DUMPED);
    let Some(at) = events.iter().position(is_dump) else {
        return Cow::Borrowed(events);
    };
    let (before, after) = events.split_at(at);
    let said = |event: &&Event| match &event.what {
        What::Log { .. } => true,
        What::Mark { phase, .. } => phase == phase::STAYED,
        _ => false,
    };
    let said = after.iter().filter(said).cloned();
    Cow::Owned(before.iter().cloned().chain(said).collect())
}

fn decision(
    scenario: &Scenario,
    subject: &Subject,
    events: &[Event],
    observed: &Observed,
    judgements: &[Judgement],
    trouble: Option<&str>,
    snapshot: Option<&Comparison>,
) -> Decision {
    let faults: Vec<(u8, String, String)> = faults(scenario).collect();
    let driver = subject.driver(events);
    Case {
        expect: &scenario.expect,
        guest: subject.kind(),
        driver: driver.as_deref(),
        known: &subject.known(),
        faults: &faults,
        events,
        observed,
        judgements,
        snapshot,
        trouble,
    }
    .decide()
}

/// Device, id and name of every fault.
fn faults(scenario: &Scenario) -> impl Iterator<Item = (u8, String, String)> {
    scenario
        .devices
        .iter()
        .flat_map(|device| &device.faults)
        .map(|fault| {
            (
                fault.device(),
                fault.id().to_owned(),
                fault.name().to_owned(),
            )
        })
}

fn report(
    scenario: &Scenario,
    options: &Options,
    events: &[Event],
    observed: &Observed,
    rules: Vec<Judgement>,
    decided: Decision,
    took: Duration,
) -> ScenarioReport {
    let driver = options.subject.driver(events);
    let predicted = driver.and_then(|driver| scenario.expect.predicted(&driver));
    let known = predicted.filter(|_| decided.verdict == Verdict::Xfail);
    ScenarioReport {
        name: scenario.name.clone(),
        guest: options.subject.name(),
        verdict: decided.verdict,
        outcome: observed.outcome,
        interrupts: Some(joined(&observed.interrupts)),
        duration_ms: millis(took),
        rules,
        faults: faults(scenario)
            .map(|(dev, id, name)| FaultReport {
                fired: observed.fired.get(&(dev, id.clone())).copied().unwrap_or(0),
                id,
                name,
            })
            .collect(),
        files: std::collections::BTreeMap::new(),
        known: known.map(|known| known.why.clone()),
        reasons: decided.reasons,
        notes: decided.notes,
    }
}

/// A scenario that is not meant for the guest: nothing is started.
pub(super) fn skipped(scenario: &Scenario, options: &Options, reason: String) -> Run {
    let decided = Decision {
        verdict: Verdict::Skip,
        reasons: vec![reason],
        notes: Vec::new(),
    };
    let seen = Observed::default();
    let mut report = report(
        scenario,
        options,
        &[],
        &seen,
        Vec::new(),
        decided,
        Duration::ZERO,
    );
    report.interrupts = None;
    Run {
        report,
        transcript: String::new(),
        row: None,
    }
}
