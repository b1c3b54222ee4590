//! What the commands that start machines share.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};

use clap::Args;
use miette::IntoDiagnostic as _;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::{AccelArg, Failure, complain, said, say};
use crate::machine::{Accel, AccelChoice, Cache, MachineError, Qemu};
use crate::report::{Progress, Terminal};
use crate::run::{KeptAside, Options, Runs, Snapshots, Subject, run_all};
use crate::scenario::Scenario;

/// How machines are run.
#[derive(Clone, Debug, Args)]
pub struct MachineArgs {
    /// Scenarios at a time; default: one for each processor.
    #[arg(long, short, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Where each run's trace, logs and verdict are kept.
    #[arg(long, value_name = "DIR", default_value = "target/misfire")]
    pub(super) out: std::path::PathBuf,
    /// What executes the guest; default: KVM if a trial boot under it succeeds.
    #[arg(long, value_enum, default_value_t = AccelArg::Auto)]
    accel: AccelArg,
}

/// What is shown while scenarios run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// A line for each scenario, and a bar.
    Lines,
    /// A bar.
    Bar,
    /// Nothing.
    Nothing,
}

pub(super) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .into_diagnostic()
        .map_err(Failure::Machine)
}

/// The QEMU to use, and what executes its guests.
pub(super) async fn machine_of(accel: AccelArg) -> Result<(Qemu, Accel), Failure> {
    let cache = Cache::of_user();
    let qemu = Qemu::find(&cache).await.map_err(machine)?;
    let choice = match accel {
        AccelArg::Auto => AccelChoice::Auto,
        AccelArg::Tcg => AccelChoice::Tcg,
        AccelArg::Kvm => AccelChoice::Kvm,
    };
    let accel = choice.decide(&qemu, &cache).await.map_err(machine)?;
    Ok((qemu, accel))
}

pub(super) async fn options(
    args: &MachineArgs,
    subject: Subject,
    snapshots: Snapshots,
) -> Result<Options, Failure> {
    let (qemu, accel) = machine_of(args.accel).await?;
    let jobs = args.jobs.map_or_else(
        || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        std::num::NonZeroUsize::get,
    );
    Ok(Options {
        subject,
        qemu,
        accel,
        out: args.out.clone(),
        snapshots,
        jobs,
        keeping: KeptAside::default(),
    })
}

/// Runs scenarios and shows how it goes. The second value is the last line to show.
pub(super) async fn go(
    scenarios: Vec<Scenario>,
    options: Options,
    show: Show,
) -> Result<(Runs, String), Failure> {
    let total = scenarios.len();
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let terminal = Terminal::new(show == Show::Nothing, colour);
    let (sender, mut progress) = mpsc::unbounded_channel();
    let mut ended = 0;
    let mut told = |what: &Progress| {
        ended += usize::from(matches!(what, Progress::End(_)));
        if let Some(text) = terminal.show(what).filter(|_| show == Show::Lines) {
            terminal.print(|| say(text));
        }
    };
    let mut running = std::pin::pin!(run_all(scenarios, options, sender, stopped()));
    let mut moves = tokio::time::interval(Terminal::TICK);
    let runs = loop {
        tokio::select! {
            biased;
            Some(what) = progress.recv() => told(&what),
            runs = &mut running => break runs,
            _ = moves.tick() => terminal.tick(),
        }
    };
    while let Ok(what) = progress.try_recv() {
        told(&what);
    }
    let Some(runs) = runs else {
        terminal.clear();
        complain(format_args!(
            "interrupted: {ended} of {total} scenarios were run"
        ));
        return Err(Failure::Interrupted);
    };
    let last = terminal.finish(&runs.document());
    Ok((runs, last))
}

/// Prints a document.
pub(super) fn json(document: &impl serde::Serialize) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = serde_json::to_writer_pretty(&mut out, document)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(out))
        .and_then(|()| out.flush());
    said(written);
    Ok(())
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
