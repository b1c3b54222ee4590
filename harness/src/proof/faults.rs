//! Which faults are proven, and what has to be run to see it.

use std::collections::BTreeSet;
use std::time::Duration;

use misfire_device::fault::CATALOGUE;

use super::{FaultProof, Scope, Shown};
use crate::run::Run;
use crate::scenario::{Action, Scenario, Step, Wait};
use crate::verdict::Verdict;

/// How many scenarios of a fault are tried at most.
const TRIALS: usize = 12;
/// The longest that a step may wait for what may never come without the fault.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest that a step may wait for the fault itself, which is not there.
const IN_VAIN: Duration = Duration::from_millis(50);

/// A scenario to be run without one of its faults.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The fault that is taken out.
    pub fault: &'static str,
    /// The scenario that it is taken out of.
    pub of: String,
    /// What is left.
    pub scenario: Scenario,
    /// The transcript with the fault.
    pub transcript: String,
}

impl Trial {
    /// Whether the run without the fault differs in more than what tells of the fault itself.
    pub fn differs(&self, transcript: &str) -> bool {
        without_mention(&self.transcript) != without_mention(transcript)
    }
}

/// For each fault the scenarios in which it fires, cheapest first.
pub fn trials(shown: &[Shown<'_>], scope: Scope) -> Vec<Vec<Trial>> {
    in_scope(shown, scope)
        .map(|name| {
            let mut firing: Vec<&Shown<'_>> = firing(shown, name).collect();
            firing.sort_by(|a, b| {
                a.run
                    .report
                    .duration_ms
                    .total_cmp(&b.run.report.duration_ms)
            });
            let trials = firing.into_iter().take(TRIALS).map(|s| Trial {
                fault: name,
                of: s.scenario.name.clone(),
                scenario: without(s.scenario, name),
                transcript: s.run.transcript.clone(),
            });
            trials.collect()
        })
        .collect()
}

/// Has scenarios run without one fault each, until one of each fault's differs. Returns those.
///
/// # Errors
/// What `run` says.
pub async fn without_faults<E>(
    mut left: Vec<Vec<Trial>>,
    run: impl AsyncFn(Vec<Scenario>) -> Result<Vec<Run>, E>,
) -> Result<Vec<(&'static str, String)>, E> {
    let mut changed = Vec::new();
    loop {
        left.retain(|trials| !trials.is_empty());
        if left.is_empty() {
            return Ok(changed);
        }
        let tried: Vec<Trial> = left.iter_mut().map(|trials| trials.remove(0)).collect();
        let runs = run(tried.iter().map(|t| t.scenario.clone()).collect()).await?;
        for trial in tried {
            let run = runs.iter().find(|r| r.report.name == trial.scenario.name);
            if run.is_some_and(|r| trial.differs(&r.transcript)) {
                left.retain(|trials| trials.first().is_none_or(|t| t.fault != trial.fault));
                changed.push((trial.fault, trial.of));
            }
        }
    }
}

pub(super) fn proofs(
    shown: &[Shown<'_>],
    changed: &[(&str, String)],
    scope: Scope,
) -> Vec<FaultProof> {
    in_scope(shown, scope)
        .map(|name| {
            let fires: Vec<String> = firing(shown, name)
                .map(|s| s.scenario.name.clone())
                .collect();
            let changes = changed
                .iter()
                .find(|(fault, _)| *fault == name)
                .map(|(_, of)| of.clone());
            FaultProof {
                name,
                proven: !fires.is_empty() && changes.is_some(),
                fires,
                changes,
            }
        })
        .collect()
}

fn in_scope(shown: &[Shown<'_>], scope: Scope) -> impl Iterator<Item = &'static str> {
    let used: BTreeSet<String> = shown
        .iter()
        .flat_map(|s| &s.run.report.faults)
        .map(|fault| fault.name.clone())
        .collect();
    CATALOGUE
        .iter()
        .map(|verb| verb.name)
        .filter(move |name| scope == Scope::All || used.contains(*name))
}

fn firing<'a>(shown: &'a [Shown<'a>], name: &str) -> impl Iterator<Item = &'a Shown<'a>> {
    shown.iter().filter(move |s| {
        let report = &s.run.report;
        report.verdict == Verdict::Pass
            && report.faults.iter().any(|f| f.name == name && f.fired > 0)
    })
}

/// The scenario without this fault. What may now never come is not waited for as long.
fn without(scenario: &Scenario, name: &str) -> Scenario {
    let mut left = scenario.clone();
    left.name = format!("{}~{name}", scenario.name);
    let mut gone = Vec::new();
    for device in &mut left.devices {
        device.faults.retain(|fault| {
            let stays = fault.name() != name;
            if !stays {
                gone.push(format!("fired({})", fault.id()));
            }
            stays
        });
    }
    for step in &mut left.steps {
        step.timeout = step.timeout.min(patience(step, &gone));
    }
    left
}

fn patience(step: &Step, gone: &[String]) -> Duration {
    match &step.action {
        Action::Wait(Wait::Ready | Wait::Started, _) => step.timeout,
        Action::Wait(..) if gone.iter().any(|fired| step.text.contains(fired)) => IN_VAIN,
        _ => PATIENCE,
    }
}

/// A transcript without the faults that fired and without the steps that speak of them: they differ
/// in any case.
fn without_mention(transcript: &str) -> String {
    let mut faults = false;
    let kept = transcript.lines().filter(|line| {
        if let Some(title) = line.strip_prefix("## ") {
            faults = title.ends_with(": faults");
        }
        !faults && !line.contains("fired(") && !line.is_empty()
    });
    kept.map(|line| format!("{line}\n")).collect()
}
