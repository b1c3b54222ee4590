//! `misfire run` and `misfire doctor`: what starts machines.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic as _, WrapErr as _};
use tokio::sync::mpsc;

use super::{AccelArg, Failure, Format, RunArgs, say};
use crate::doctor::{Doctor, State};
use crate::machine::{AccelChoice, Cache, MachineError, Qemu};
use crate::report::{Document, Progress, Terminal, html, junit};
use crate::run::{Options, REFERENCE, Snapshots, dry_run, run_all};
use crate::scenario::Library;

pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let library = args.selection.open()?;
    if args.guest != REFERENCE && Path::new(&args.guest).exists() {
        return Err(Failure::Wrong(miette::miette!(
            "{}: guest files are not there yet; the guest is `{REFERENCE}`",
            args.guest
        )));
    }
    if args.guest != REFERENCE {
        return Err(Failure::Wrong(miette::miette!(
            help = format!("the guest that is built in is called `{REFERENCE}`"),
            "no guest is called `{}`",
            args.guest
        )));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .into_diagnostic()
        .map_err(Failure::Machine)?;
    runtime.block_on(all(library, args))
}

async fn all(library: Library, args: &RunArgs) -> Result<(), Failure> {
    let total = library.scenarios.len();
    // Before anything is started: a run that can't be kept is none.
    let files = if args.dry_run {
        None
    } else {
        Some(Files::open(args)?)
    };
    let options = options(args).await?;
    if args.dry_run {
        for scenario in &library.scenarios {
            let words: Vec<String> = dry_run(scenario, &options)
                .iter()
                .map(|w| quoted(&w.to_string_lossy()))
                .collect();
            let parameters = scenario.guest.command_line();
            say(format_args!(
                "# {}, guest parameters: {parameters}\n{}",
                scenario.name,
                words.join(" ")
            ));
        }
        return Ok(());
    }
    let pretty = args.format == Format::Pretty;
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let terminal = Terminal::new(!pretty, colour);
    let (sender, mut progress) = mpsc::unbounded_channel();
    let interrupt = stopped();
    let mut ended = 0;
    let mut running = std::pin::pin!(run_all(library.scenarios, options, sender, interrupt));
    let document = loop {
        tokio::select! {
            biased;
            Some(what) = progress.recv() => {
                ended += usize::from(matches!(what, Progress::End(_)));
                if let Some(text) = terminal.show(&what).filter(|_| pretty) {
                    terminal.print(&text);
                }
            }
            document = &mut running => break document,
        }
    };
    while let Ok(what) = progress.try_recv() {
        ended += usize::from(matches!(what, Progress::End(_)));
        if let Some(text) = terminal.show(&what).filter(|_| pretty) {
            terminal.print(&text);
        }
    }
    let Some(document) = document else {
        terminal.clear();
        eprintln!("interrupted: {ended} of {total} scenarios were run");
        return Err(Failure::Interrupted);
    };
    let last = terminal.finish(&document);
    match args.format {
        Format::Pretty => say(last),
        Format::Json => say(serde_json::to_string_pretty(&document)
            .into_diagnostic()
            .map_err(Failure::Wrong)?),
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

async fn options(args: &RunArgs) -> Result<Options, Failure> {
    let cache = Cache::of_user();
    let qemu = Qemu::find(&cache).await.map_err(machine)?;
    let choice = match args.accel {
        AccelArg::Auto => AccelChoice::Auto,
        AccelArg::Tcg => AccelChoice::Tcg,
        AccelArg::Kvm => AccelChoice::Kvm,
    };
    let accel = choice.decide(&qemu, &cache).await.map_err(machine)?;
    let jobs = args.jobs.map_or_else(
        // A machine keeps a processor busy, and its devices another.
        || std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2)),
        std::num::NonZeroUsize::get,
    );
    let snapshots = if args.bless {
        Snapshots::Bless
    } else {
        Snapshots::Compare
    };
    Ok(Options {
        qemu,
        accel,
        out: args.out.clone(),
        snapshots,
        jobs,
    })
}

/// The files that `--junit` and `--html` ask for, open.
struct Files<'a> {
    junit: Option<(&'a Path, File)>,
    html: Option<(&'a Path, File)>,
}

impl<'a> Files<'a> {
    /// Makes the folder of the runs too.
    fn open(args: &'a RunArgs) -> Result<Self, Failure> {
        written(&args.out, std::fs::create_dir_all(&args.out))?;
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

    fn write(self, document: &Document) -> Result<(), Failure> {
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

/// Returns when we are told to stop: by Ctrl-C, by whoever ends processes, or by a terminal that is gone.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    // Without a handler the signal ends us at once, and the kernel ends our machines.
    let came = async |kind| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = came(SignalKind::interrupt()) => (),
        () = came(SignalKind::terminate()) => (),
        () = came(SignalKind::hangup()) => (),
    }
}

/// An error of the machine, with what to do about it.
fn machine(error: MachineError) -> Failure {
    let help = error
        .help()
        .unwrap_or_else(|| "`misfire doctor` says what this machine can do".into());
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(why) = cause {
        text += &format!(": {why}");
        cause = why.source();
    }
    Failure::Machine(miette::miette!(help = help, "{text}"))
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

pub(super) fn doctor() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .into_diagnostic()
        .map_err(Failure::Machine)?;
    let doctor = runtime.block_on(Doctor::examine());
    for finding in &doctor.findings {
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
    if doctor.can_run() {
        Ok(())
    } else {
        Err(Failure::Machine(miette::miette!(
            "no scenario can run on this machine"
        )))
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
