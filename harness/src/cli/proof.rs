//! `misfire proof`: whether the verdicts can be trusted.

use super::running::{Show, go, json, options, runtime};
use super::{Failure, Format, ProofArgs, say};
use crate::proof::{Scope, Shown, Trial, prove, trials};
use crate::run::{Options, Runs, Snapshots, Subject};
use crate::scenario::{Library, Scenario};

pub(super) fn proof(args: &ProofArgs) -> Result<(), Failure> {
    let library = args.selection.open()?;
    runtime()?.block_on(all(library, args))
}

async fn all(library: Library, args: &ProofArgs) -> Result<(), Failure> {
    let scope = if args.selection.is_everything() {
        Scope::All
    } else {
        Scope::Named
    };
    let options = options(&args.machine, Subject::Reference, Snapshots::Leave).await?;
    let show = match args.format {
        Format::Pretty => Show::Bar,
        Format::Json => Show::Nothing,
    };
    let scenarios = library.scenarios;
    let (runs, _) = go(scenarios.clone(), options.clone(), show).await?;
    let shown = paired(&scenarios, &runs);
    let changed = without_faults(trials(&shown, scope), &options, show).await?;
    let proof = prove(&shown, &changed, scope);
    match args.format {
        Format::Pretty => say(&proof),
        Format::Json => json(&proof)?,
    }
    if proof.complete() {
        Ok(())
    } else {
        Err(Failure::Scenario)
    }
}

/// Each scenario with its run: both are in the order of the names.
fn paired<'a>(scenarios: &'a [Scenario], runs: &'a Runs) -> Vec<Shown<'a>> {
    let run = |s: &Scenario| runs.each.iter().find(|r| r.report.name == s.name);
    scenarios
        .iter()
        .filter_map(|scenario| {
            Some(Shown {
                scenario,
                run: run(scenario)?,
            })
        })
        .collect()
}

/// Runs scenarios without one fault each, until one of each fault's differs. Returns those.
async fn without_faults(
    mut left: Vec<Vec<Trial>>,
    options: &Options,
    show: Show,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let mut changed = Vec::new();
    loop {
        left.retain(|trials| !trials.is_empty());
        if left.is_empty() {
            return Ok(changed);
        }
        let tried: Vec<Trial> = left.iter_mut().map(|trials| trials.remove(0)).collect();
        let scenarios = tried.iter().map(|t| t.scenario.clone()).collect();
        let (runs, _) = go(scenarios, options.clone(), show).await?;
        for trial in tried {
            let run = runs
                .each
                .iter()
                .find(|r| r.report.name == trial.scenario.name);
            if run.is_some_and(|r| trial.differs(&r.transcript)) {
                left.retain(|trials| trials.first().is_none_or(|t| t.fault != trial.fault));
                changed.push((trial.fault, trial.of));
            }
        }
    }
}
