//! `misfire run` and `misfire doctor`: what starts machines.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic as _, WrapErr as _};

use super::running::{Show, go, json, options, runtime};
use super::{Failure, Format, RunArgs, say};
use crate::doctor::{Doctor, Finding, State};
use crate::report::{Document, html, junit};
use crate::run::{KeptAside, NoGuest, Snapshots, Subject, dry_run, parameters};
use crate::scenario::Library;

pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let library = args.selection.open()?;
    let subject = match args.image.open(&args.guest)? {
        Some(driver) => Subject::Nt(Box::new(driver)),
        None => subject(&args.guest, args.cold)?,
    };
    runtime()?.block_on(all(library, subject, args))
}

/// The guest that `--guest` names.
pub(super) fn subject(name: &str, cold: bool) -> Result<Subject, Failure> {
    Subject::named(name, cold).map_err(|error| match error {
        NoGuest::Prepare(error) => super::prepare::failure(error),
        NoGuest::File(problems) => Failure::from(problems),
        unknown => Failure::Wrong(match unknown.help() {
            Some(help) => miette::miette!(help = help, "{unknown}"),
            None => miette::miette!("{unknown}"),
        }),
    })
}

async fn all(library: Library, subject: Subject, args: &RunArgs) -> Result<(), Failure> {
    // Before anything is started: a run that can't be kept is none.
    let files = if args.dry_run {
        None
    } else {
        Some(Files::open(args)?)
    };
    let snapshots = if args.bless {
        Snapshots::Bless
    } else {
        Snapshots::Compare
    };
    let mut options = options(&args.machine, subject, snapshots).await?;
    options.keeping = KeptAside {
        machine: args.keep_on_failure,
        recording: args.record.clone(),
    };
    if args.dry_run {
        for scenario in &library.scenarios {
            let words: Vec<String> = dry_run(scenario, &options)
                .iter()
                .map(|w| quoted(&w.to_string_lossy()))
                .collect();
            let parameters = parameters(scenario, &options.subject);
            say(format_args!(
                "# {}, guest parameters: {parameters}\n{}",
                scenario.name,
                words.join(" ")
            ));
        }
        return Ok(());
    }
    let show = match args.format {
        Format::Pretty => Show::Lines,
        Format::Json => Show::Nothing,
    };
    let (runs, last) = go(library.scenarios, options, show).await?;
    let document = runs.document();
    match args.format {
        Format::Pretty => say(last),
        Format::Json => json(&document)?,
    }
    if let Some(files) = files {
        files.write(&document)?;
    }
    if document.as_expected() {
        Ok(())
    } else {
        Err(Failure::Scenario)
    }
}

/// The files that `--junit` and `--html` ask for, open.
struct Files<'a> {
    junit: Option<(&'a Path, File)>,
    html: Option<(&'a Path, File)>,
}

impl<'a> Files<'a> {
    /// Makes the folder of the runs too.
    fn open(args: &'a RunArgs) -> Result<Self, Failure> {
        let out = &args.machine.out;
        written(out, std::fs::create_dir_all(out))?;
        let open = |path: &'a Option<PathBuf>| -> Result<_, Failure> {
            match path {
                Some(path) => Ok(Some((path.as_path(), written(path, File::create(path))?))),
                None => Ok(None),
            }
        };
        Ok(Self {
            junit: open(&args.junit)?,
            html: open(&args.html)?,
        })
    }

    fn write(self, document: &Document<'_>) -> Result<(), Failure> {
        if let Some((path, mut file)) = self.junit {
            let text = junit(document).into_diagnostic().map_err(Failure::Wrong)?;
            written(path, file.write_all(text.as_bytes()))?;
        }
        if let Some((path, mut file)) = self.html {
            written(path, file.write_all(html(document).as_bytes()))?;
        }
        Ok(())
    }
}

/// Names the file in what went wrong with it.
fn written<T>(path: &Path, result: std::io::Result<T>) -> Result<T, Failure> {
    result
        .into_diagnostic()
        .wrap_err_with(|| format!("{} can't be written", path.display()))
        .map_err(Failure::Wrong)
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,./:@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `guest`: what `--guest` would be given.
pub(super) fn doctor(guest: Option<&str>) -> Result<(), Failure> {
    let subject = guest.map(|guest| subject(guest, false)).transpose()?;
    let runtime = runtime()?;
    let mut doctor = runtime.block_on(Doctor::examine());
    tell(&doctor.findings);
    if let Some(subject) = subject {
        let known = doctor.findings.len();
        if matches!(subject, Subject::Windows(_)) {
            eprintln!("doctor: the image is booted, which can take minutes");
        }
        runtime.block_on(doctor.examine_guest(subject));
        tell(&doctor.findings[known..]);
    }
    if doctor.can_run() {
        Ok(())
    } else {
        let with = guest.map_or_else(
            || "on this machine".to_owned(),
            |guest| format!("with the guest {guest}"),
        );
        Err(Failure::Machine(miette::miette!(
            "no scenario can run {with}"
        )))
    }
}

fn tell(findings: &[Finding]) {
    for finding in findings {
        let state = match finding.state {
            State::Good => "good",
            State::Slower => "slow",
            State::Bad => "BAD ",
        };
        say(format_args!(
            "{state}  {}: {}",
            finding.about, finding.found
        ));
        if let Some(help) = &finding.help {
            say(format_args!("      {help}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_a_shell_needs_it() {
        assert_eq!(quoted("-m"), "-m");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
