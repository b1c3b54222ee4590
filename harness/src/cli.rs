//! The command line: what can be typed, and what it comes to.

mod diff;
mod facts;
mod inf;
mod kd;
mod lists;
mod nt;
mod prepare;
mod proof;
mod replay;
mod report;
mod run;
mod running;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::rules;
use crate::scenario::{self, Library, Partition, Problems, Vocabulary};

/// Boots a guest with a misbehaving device, watches both sides, and judges the driver.
#[derive(Debug, Parser)]
#[command(name = "misfire", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit status: 0 all as expected, 1 a scenario failed, 2 the command or a file \
was wrong, 3 this machine can't do it, 130 stopped by Ctrl-C."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs scenarios and says which rules the driver kept and which it broke.
    Run(RunArgs),
    /// Runs scenarios with correct and mistaken drivers, and says which rules and faults they prove.
    Proof(ProofArgs),
    /// Runs one scenario twice, on two attachments or two guests, and shows where the runs part. Exit status 1:
    /// they do.
    Diff(diff::DiffArgs),
    /// Lists scenarios. Nothing is started.
    List(Selection),
    /// Reads scenarios and says what is wrong with them. Nothing is started.
    Check(Selection),
    /// Lists the rules. As JSON each has the scenarios that expect it to be held or broken.
    Rules(ListArgs),
    /// Lists the faults. As JSON each has the scenarios that use it.
    Faults(ListArgs),
    /// Lists the mistakes that the reference guest's drivers can make, and the rules that they break.
    Mistakes,
    /// Lists the bugs of others that scenarios show, and why the rest can't be shown.
    Catalogue {
        /// How to print them.
        #[arg(long, value_enum, default_value_t = PageFormat::Pretty)]
        format: PageFormat,
        /// The folder of the scenarios; default: `scenarios` here or above.
        #[arg(long = "scenarios", value_name = "DIR")]
        root: Option<PathBuf>,
    },
    /// Explains a rule, a fault or a mistake: what it asks for, where it comes from, what breaks it.
    Explain {
        /// A rule's id, such as VIO-MSIX-001, a fault's name, such as vector.reject, or a mistake's.
        id: String,
    },
    /// Judges a recorded trace by the rules.
    Replay {
        /// A trace.jsonl of an earlier run.
        trace: PathBuf,
        /// How to print the judgements.
        #[arg(long, value_enum, default_value_t = Format::Pretty)]
        format: Format,
    },
    /// Prints a page in Markdown: which rules drivers held, broke and never met in runs that were kept.
    Report(report::ReportArgs),
    /// Reads a driver's INF: would it take the device, and with how many messages? Nothing is started.
    Inf(inf::InfArgs),
    /// Listens to a Windows kernel as its debugger: prints what drivers print, what is loaded, and
    /// crashes. Nobody has to sit there.
    Kd(kd::KdArgs),
    /// Makes a guest that can be booted, and keeps it: a distribution's Linux, or a Windows.
    Prepare {
        #[command(subcommand)]
        guest: prepare::PrepareGuest,
    },
    /// Says what this machine can and can't do.
    Doctor {
        /// Also looks at a guest, by name or file, and has its driver read from a disk.
        #[arg(long, value_name = "NAME|FILE")]
        guest: Option<String>,
    },
    /// Prints the JSON schema of a scenario file.
    Schema {
        /// That of a guest file.
        #[arg(long)]
        guest: bool,
    },
    /// Serves a device to a QEMU that is started by hand; the same as the command misfire-device.
    Device {
        #[command(subcommand)]
        command: misfire_device::command::Command,
    },
}

/// Which scenarios.
#[derive(Clone, Debug, Args)]
pub struct Selection {
    /// Names, globs (`vectors/*`), or paths of files; none: all of them.
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// The folder of the scenarios; default: `scenarios` here or above.
    #[arg(long = "scenarios", value_name = "DIR")]
    root: Option<PathBuf>,
    /// Part M of N of them.
    #[arg(long, value_name = "M/N")]
    partition: Option<Partition>,
}

/// What `rules` and `faults` take.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
    /// The folder of the scenarios that JSON names; default: `scenarios` here or above, if there is one.
    #[arg(long = "scenarios", value_name = "DIR")]
    root: Option<PathBuf>,
}

impl ListArgs {
    /// The scenarios; none where there is no folder of them.
    fn scenarios(&self) -> Result<Vec<scenario::Scenario>, Problems> {
        let here = std::env::current_dir().unwrap_or_default();
        let Some(root) = self.root.clone().or_else(|| scenario::find_root(&here)) else {
            return Ok(Vec::new());
        };
        Ok(Library::open(Some(&root), &[], &vocabulary())?.scenarios)
    }
}

/// What `run` takes.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    selection: Selection,
    /// The guest, by name: `reference`; `nt` for a driver's own image on the same model of Windows; `seabios`
    /// for QEMU's firmware; or one that `misfire prepare` made, such as `linux-6.12`. Or a guest file.
    #[arg(long, value_name = "NAME|FILE", default_value = "reference")]
    guest: String,
    /// Boots the guest for each scenario, where a restored one would do.
    #[arg(long)]
    cold: bool,
    #[command(flatten)]
    image: nt::ImageArgs,
    #[command(flatten)]
    machine: running::MachineArgs,
    /// How to print the run.
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
    /// Also writes JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also writes one page of HTML.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Accepts the transcripts of this run as snapshots.
    #[arg(long)]
    bless: bool,
    /// Of a Windows: a guest that crashed or does not answer stays until Ctrl-C, and it is said how a
    /// debugger and a viewer get at it.
    #[arg(long)]
    keep_on_failure: bool,
    /// Of a Windows: keeps what went over its serial ports and QEMU's control channel, byte for byte, and the
    /// run's trace, log and pictures beside that.
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Prints QEMU's arguments and starts nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What `proof` takes.
#[derive(Clone, Debug, Args)]
pub struct ProofArgs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    machine: running::MachineArgs,
    /// How to print the proof.
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
}

/// What executes the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccelArg {
    /// KVM if a trial boot under it succeeds, else software.
    Auto,
    /// Software emulation.
    Tcg,
    /// The processor's virtualisation.
    Kvm,
}

/// How something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Pretty,
    /// One JSON document.
    Json,
}

/// How the catalogue is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageFormat {
    /// For people.
    Pretty,
    /// One JSON document.
    Json,
    /// The page of the documentation.
    Markdown,
}

/// Why the command ends otherwise than with 0.
#[derive(Debug)]
pub enum Failure {
    /// A scenario failed: exit status 1. What there is to say was said.
    Scenario,
    /// The command or a file was wrong: exit status 2.
    Wrong(miette::Report),
    /// This machine can't do it: exit status 3.
    Machine(miette::Report),
    /// What there is to say was said: this exit status.
    Told(u8),
    /// The user stopped it: exit status 130, as shells have it. No machine stays behind.
    Interrupted,
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Wrong(problems.into())
    }
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    diagnose();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let status = match cli.command.carry_out() {
        Ok(()) => 0,
        Err(Failure::Scenario) => 1,
        Err(Failure::Wrong(report)) => told(&report, 2),
        Err(Failure::Machine(report)) => told(&report, 3),
        Err(Failure::Told(status)) => status,
        Err(Failure::Interrupted) => 130,
    };
    match UNSAID.get() {
        // What nobody could read is no result.
        Some(error) if status <= 1 => {
            complain(format_args!("standard output can't be written: {error}"));
            ExitCode::from(2)
        }
        _ => ExitCode::from(status),
    }
}

/// Warnings of ours and of the libraries go to the standard error stream; `MISFIRE_LOG` says which.
fn diagnose() {
    use tracing_subscriber::EnvFilter;
    // A QEMU that is gone is no news, and vfio_user says so each time.
    let filter = EnvFilter::try_from_env("MISFIRE_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,vfio_user=off"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .without_time()
        // A stream that can't be written is told of nowhere, and least of all there.
        .log_internal_errors(false)
        .try_init();
}

fn told(report: &miette::Report, status: u8) -> u8 {
    complain(format_args!("{report:?}"));
    status
}

impl Command {
    fn carry_out(self) -> Result<(), Failure> {
        match self {
            Self::Run(args) => run::run(&args)?,
            Self::Proof(args) => proof::proof(&args)?,
            Self::Diff(args) => diff::diff(&args)?,
            Self::Prepare { guest } => prepare::prepare(guest)?,
            Self::Doctor { guest } => run::doctor(guest.as_deref())?,
            Self::List(selection) => facts::list(&selection.open()?),
            Self::Check(selection) => facts::check(&selection.open()?),
            Self::Rules(args) => facts::rules(&args)?,
            Self::Faults(args) => facts::faults(&args)?,
            Self::Mistakes => facts::mistakes(),
            Self::Catalogue { format, root } => facts::catalogue(format, root)?,
            Self::Explain { id } => facts::explain(&id)?,
            Self::Replay { trace, format } => replay::replay(&trace, format)?,
            Self::Report(args) => report::report(&args)?,
            Self::Inf(args) => inf::inf(&args)?,
            Self::Kd(args) => kd::kd(&args)?,
            Self::Schema { guest } => facts::schema(guest),
            Self::Device { command } => device(&command)?,
        }
        Ok(())
    }
}

/// The daemon's commands, with its own way to tell what is wrong.
fn device(command: &misfire_device::command::Command) -> Result<(), Failure> {
    command.run(&mut io::stdout()).map_err(|failure| {
        let status = failure.status();
        // There is nowhere else to tell it.
        let _ = failure.print(&mut io::stderr());
        Failure::Told(status)
    })
}

impl Selection {
    /// Whether no scenario is left out.
    fn is_everything(&self) -> bool {
        self.scenarios.is_empty() && self.partition.is_none()
    }

    /// Reads the scenarios that are meant.
    fn open(&self) -> Result<Library, Problems> {
        let mut library = open(self.root.as_deref(), &self.scenarios)?;
        if let Some(part) = self.partition {
            library.keep(part);
        }
        Ok(library)
    }
}

/// Reads the scenarios that `names` mean, of the folder `root` or the nearest one.
fn open(root: Option<&std::path::Path>, names: &[String]) -> Result<Library, Problems> {
    let here = std::env::current_dir().unwrap_or_default();
    let root = root
        .map(PathBuf::from)
        .or_else(|| scenario::find_root(&here).map(|root| nearer(&here, root)));
    Library::open(root.as_deref(), names, &vocabulary())
}

/// A path below the current folder without that folder, so that messages are short.
fn nearer(here: &std::path::Path, path: PathBuf) -> PathBuf {
    path.strip_prefix(here).map(PathBuf::from).unwrap_or(path)
}

/// The names that scenarios may use.
pub fn vocabulary() -> Vocabulary {
    Vocabulary {
        rules: rules::rules()
            .filter(|r| r.unobservable.is_none())
            .map(|r| r.id.to_owned())
            .collect(),
    }
}

/// Why a line could not be printed, the first time.
static UNSAID: OnceLock<io::Error> = OnceLock::new();

/// Prints a line. A reader that went away is no failure of ours; what else is in the way is told at the
/// end, by [`main`].
fn say(text: impl std::fmt::Display) {
    said(writeln!(io::stdout(), "{text}"));
}

/// Keeps why something can't be printed, for the end.
fn said(printed: io::Result<()>) {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(UNSAID.set(error)),
        _ => {}
    }
}

/// Prints a line to the standard error stream. There is nowhere else to tell that it can't be.
fn complain(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
