//! Judging a recorded trace.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use miette::{IntoDiagnostic as _, WrapErr as _};
use misfire_device::trace::read_jsonl;
use serde::Serialize;

use super::{Failure, Format, say};
use crate::rules::{Context, Judgement, Outcome, judge};
use crate::verdict::ruling;

/// What `replay` prints as JSON.
#[derive(Debug, Serialize)]
struct Replayed<'a> {
    schema: u32,
    trace: String,
    events: usize,
    rules: &'a [Judgement],
}

pub(super) fn replay(trace: &Path, format: Format) -> Result<(), Failure> {
    let events = File::open(trace)
        .into_diagnostic()
        .and_then(|file| read_jsonl(BufReader::new(file)).into_diagnostic())
        .wrap_err_with(|| format!("{} can't be replayed", trace.display()))
        .map_err(Failure::Wrong)?;
    let judgements = judge(&events, &Context::default());
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
            ruling(judgement.outcome),
            judgement.text,
            shown.join(", "),
        ));
    }
    say(format_args!(
        "\n{events} events; {quiet} rules were not put to the test"
    ));
}
