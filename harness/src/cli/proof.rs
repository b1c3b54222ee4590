//! `misfire proof`: whether the verdicts can be trusted.

use super::running::{Show, go, json, options, runtime};
use super::{Failure, Format, ProofArgs, say};
use crate::proof::{Scope, Shown, prove, trials, without_faults};
use crate::run::{Runs, Snapshots, Subject};
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
    let again = async |scenarios| {
        let (runs, _) = go(scenarios, options.clone(), show).await?;
        Ok::<_, Failure>(runs.each)
    };
    let changed = without_faults(trials(&shown, scope), again).await?;
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
