//! The command line: what can be typed, and what it comes to.

mod facts;
mod replay;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::rules;
use crate::scenario::{self, Library, Partition, Problems, Vocabulary};

/// Boots a guest with a misbehaving device, watches both sides, and judges the driver.
#[derive(Debug, Parser)]
#[command(name = "misfire", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit status: 0 all as expected, 1 a scenario failed, 2 the command or a file \
was wrong, 3 this machine can't do it."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists scenarios. Nothing is started.
    List(Selection),
    /// Reads scenarios and says what is wrong with them. Nothing is started.
    Check(Selection),
    /// Lists the rules.
    Rules,
    /// Explains a rule: what it asks for, where it comes from, what breaks it.
    Explain {
        /// The rule's id, such as VIO-MSIX-001.
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
    /// Prints the JSON schema of a scenario file.
    Schema,
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

/// How something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Pretty,
    /// One JSON document.
    Json,
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
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Wrong(problems.into())
    }
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
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
    match cli.command.carry_out() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Scenario) => ExitCode::from(1),
        Err(Failure::Wrong(report)) => complain(&report, 2),
        Err(Failure::Machine(report)) => complain(&report, 3),
    }
}

fn complain(report: &miette::Report, status: u8) -> ExitCode {
    eprintln!("{report:?}");
    ExitCode::from(status)
}

impl Command {
    fn carry_out(self) -> Result<(), Failure> {
        match self {
            Self::List(selection) => facts::list(&selection.open()?),
            Self::Check(selection) => facts::check(&selection.open()?),
            Self::Rules => facts::rules(),
            Self::Explain { id } => facts::explain(&id)?,
            Self::Replay { trace, format } => replay::replay(&trace, format)?,
            Self::Schema => facts::schema(),
        }
        Ok(())
    }
}

impl Selection {
    /// Reads the scenarios that are meant.
    fn open(&self) -> Result<Library, Problems> {
        let here = std::env::current_dir().unwrap_or_default();
        let root = self
            .root
            .clone()
            .or_else(|| scenario::find_root(&here).map(|root| nearer(&here, root)));
        let mut library = Library::open(root.as_deref(), &self.scenarios, &vocabulary())?;
        if let Some(part) = self.partition {
            library.keep(part);
        }
        Ok(library)
    }
}

/// A path below the current folder without that folder, so that messages are short.
fn nearer(here: &std::path::Path, path: PathBuf) -> PathBuf {
    path.strip_prefix(here).map(PathBuf::from).unwrap_or(path)
}

/// The names that scenarios may use.
pub fn vocabulary() -> Vocabulary {
    Vocabulary {
        rules: rules::rules().map(|r| r.id.to_owned()).collect(),
    }
}

/// Prints a line. A reader that went away is no failure of ours.
fn say(text: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}
