//! `misfire report`: a page about drivers out of runs that were kept.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic as _, WrapErr as _};
use misfire_device::trace::read_jsonl;

use super::{Failure, say};
use crate::report::{Findings, KeptRun, drivers_page};

/// What `report` takes.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Folders of runs, as `misfire run --out` leaves them.
    #[arg(value_name = "DIR", required = true)]
    runs: Vec<PathBuf>,
    /// What was found by those who looked at breaches; without it none is published.
    #[arg(long, value_name = "FILE")]
    findings: Option<PathBuf>,
    /// The day of the runs.
    #[arg(long, value_name = "DATE")]
    date: String,
}

pub(super) fn report(args: &ReportArgs) -> Result<(), Failure> {
    let findings = match &args.findings {
        Some(path) => {
            let text = read(path, fs::read_to_string(path))?;
            read(path, toml::from_str(&text))?
        }
        None => Findings::default(),
    };
    let mut runs = Vec::new();
    for folder in &args.runs {
        find(folder, &mut runs)?;
    }
    runs.sort_by(|a, b| (&a.guest, &a.name).cmp(&(&b.guest, &b.name)));
    say(drivers_page(&runs, &findings, &args.date).trim_end());
    Ok(())
}

/// The runs in a folder, and in those in it.
fn find(folder: &Path, runs: &mut Vec<KeptRun>) -> Result<(), Failure> {
    let verdict = folder.join("verdict.json");
    if verdict.is_file() {
        runs.push(one(folder, &verdict)?);
    }
    for entry in read(folder, fs::read_dir(folder))?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find(&entry.path(), runs)?;
        }
    }
    Ok(())
}

fn one(folder: &Path, verdict: &Path) -> Result<KeptRun, Failure> {
    let text = read(verdict, fs::read(verdict))?;
    let mut run: KeptRun = read(verdict, serde_json::from_slice(&text))?;
    let broken = run.rules.iter().filter(|rule| rule.outcome == "broken");
    let proof: Vec<u64> = broken.flat_map(|rule| rule.evidence.clone()).collect();
    if !proof.is_empty() {
        let trace = folder.join("trace.jsonl");
        let file = read(&trace, File::open(&trace))?;
        let events = read(&trace, read_jsonl(BufReader::new(file)))?;
        let events = events.iter().filter(|event| proof.contains(&event.seq));
        run.lines = events.map(|e| (e.seq, e.to_string())).collect();
    }
    Ok(run)
}

fn read<T, E>(path: &Path, result: Result<T, E>) -> Result<T, Failure>
where
    E: std::error::Error + Send + Sync + 'static,
{
    result
        .into_diagnostic()
        .wrap_err_with(|| format!("{} can't be read", path.display()))
        .map_err(Failure::Wrong)
}
