//! Judging a recorded trace.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use miette::{IntoDiagnostic as _, WrapErr as _};
use misfire_device::trace::{Event, What, read_jsonl};
use serde::Serialize;

use super::{Failure, Format, say};
use crate::report::told;
use crate::rules::{Context, Judgement, Outcome, judge};
use crate::verdict::{phase, ruling};

/// What `replay` prints as JSON.
#[derive(Debug, Serialize)]
struct Replayed<'a> {
    schema: u32,
    trace: String,
    events: usize,
    #[serde(serialize_with = "told")]
    rules: &'a [Judgement],
}

pub(super) fn replay(trace: &Path, format: Format) -> Result<(), Failure> {
    let events = File::open(trace)
        .into_diagnostic()
        .and_then(|file| read_jsonl(BufReader::new(file)).into_diagnostic())
        .wrap_err_with(|| format!("{} can't be replayed", trace.display()))
        .map_err(Failure::Wrong)?;
    if !events.iter().any(|e| matches!(e.what, What::Hello(_))) {
        return Err(Failure::Wrong(miette::miette!(
            help = "a run that was stopped before its machine was up leaves such a trace",
            "{} can't be replayed: {}",
            trace.display(),
            if events.is_empty() {
                "it is empty"
            } else {
                "it has no `hello`, so it is about no device"
            }
        )));
    }
    if cut_off(&events) {
        tracing::warn!(
            "{} has no mark of its run's end: what would have come later is not judged",
            trace.display()
        );
    }
    let judgements = judge(&crate::run::judged(&events), &Context::default());
    match format {
        Format::Json => {
            let document = Replayed {
                schema: 1,
                trace: trace.display().to_string(),
                events: events.len(),
                rules: &judgements,
            };
            let text = serde_json::to_string_pretty(&document).into_diagnostic();
            say(text.map_err(Failure::Wrong)?);
        }
        Format::Pretty => pretty(&judgements, events.len()),
    }
    match judgements.iter().any(Judgement::fails) {
        true => Err(Failure::Scenario),
        false => Ok(()),
    }
}

/// Whether a run began the trace and did not end it. Other traces have neither mark.
fn cut_off(events: &[Event]) -> bool {
    let has = |word| {
        events.iter().any(
            |e| matches!(&e.what, What::Mark { step: None, phase, .. } if phase.as_str() == word),
        )
    };
    has(phase::BEGIN) && !has(phase::END)
}

fn pretty(judgements: &[Judgement], events: usize) {
    let mut quiet = 0;
    for judgement in judgements {
        if matches!(judgement.outcome, Outcome::Unseen | Outcome::NotApplicable) {
            quiet += 1;
            continue;
        }
        let shown: Vec<String> = judgement
            .evidence
            .iter()
            .take(6)
            .map(u64::to_string)
            .collect();
        say(format_args!(
            "{:14} {:8} {:14} {} [{}]",
            judgement.id,
            judgement.level.name(),
            ruling(judgement),
            judgement.text,
            shown.join(", "),
        ));
    }
    say(format_args!(
        "\n{events} events; {quiet} rules were not put to the test"
    ));
}
