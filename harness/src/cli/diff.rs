//! `misfire diff`: one scenario twice, and where the runs part.

use clap::{Args, ValueEnum};
use misfire_device::shape::Attach;

use super::running::{MachineArgs, Show, go, json, options, runtime};
use super::{Failure, Format, say};
use crate::report::Sides;
use crate::run::{Run, Snapshots, Subject};
use crate::scenario::Scenario;

/// What `diff` takes.
#[derive(Clone, Debug, Args)]
pub struct DiffArgs {
    /// The scenario: a name, or the path of a file.
    #[arg(value_name = "SCENARIO")]
    scenario: String,
    /// The folder of the scenarios; default: `scenarios` here or above.
    #[arg(long = "scenarios", value_name = "DIR")]
    root: Option<std::path::PathBuf>,
    /// How the device is attached on each side; one value counts for both.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "A,B")]
    attach: Vec<AttachArg>,
    /// The guest on each side, by name or file; one value counts for both.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "A,B",
        default_value = "reference"
    )]
    guest: Vec<String>,
    /// Boots the guest, where a restored one would do.
    #[arg(long)]
    cold: bool,
    #[command(flatten)]
    machine: MachineArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
}

/// How a device is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AttachArg {
    /// Our function.
    VfioUser,
    /// QEMU's own transport.
    VhostUser,
}

impl AttachArg {
    fn attach(self) -> Attach {
        match self {
            Self::VfioUser => Attach::VfioUser,
            Self::VhostUser => Attach::VhostUser,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::VfioUser => "vfio-user",
            Self::VhostUser => "vhost-user",
        }
    }
}

pub(super) fn diff(args: &DiffArgs) -> Result<(), Failure> {
    let wrong =
        |text: &str, help: &str| Failure::Wrong(miette::miette!(help = help.to_owned(), "{text}"));
    let library = super::open(args.root.as_deref(), std::slice::from_ref(&args.scenario))?;
    let [scenario] = library.scenarios.as_slice() else {
        let help = "its own name ends at the `@` of a variant: `misfire list` shows them all";
        let one = library.scenarios.iter().find(|s| s.name == args.scenario);
        let Some(one) = one else {
            return Err(wrong("several scenarios are called so", help));
        };
        return run(args, one);
    };
    run(args, scenario)
}

fn run(args: &DiffArgs, scenario: &Scenario) -> Result<(), Failure> {
    let too_many = args.attach.len() > 2 || args.guest.len() > 2;
    if too_many || args.attach.len().max(args.guest.len()) < 2 {
        return Err(Failure::Wrong(miette::miette!(
            help = "--attach vfio-user,vhost-user, or --guest reference,linux-6.12",
            "two sides are compared: expected two ways to attach the device, or two guests"
        )));
    }
    let sides = [0, 1].map(|n| side(args, scenario, n));
    let [left, right] = sides;
    let (left, right) = (left?, right?);
    runtime()?.block_on(both(args, [left, right]))
}

/// One side: what it is called, what runs, and on what.
struct Side {
    name: String,
    scenario: Scenario,
    subject: Subject,
}

fn side(args: &DiffArgs, scenario: &Scenario, n: usize) -> Result<Side, Failure> {
    let mut scenario = scenario.clone();
    let mut names = Vec::new();
    // One value counts for both sides.
    if let Some(guest) = args.guest.get(n).or(args.guest.first()) {
        names.push(guest.clone());
    }
    if let Some(attach) = args.attach.get(n).or(args.attach.first()) {
        names.push(attach.word().to_owned());
        reattach(&mut scenario, attach.attach())?;
    }
    let guest = args.guest.get(n).or(args.guest.first());
    let subject = super::run::subject(guest.map_or("reference", |guest| guest), args.cold)?;
    Ok(Side {
        name: names.join(", "),
        scenario,
        subject,
    })
}

/// Attaches every device in that way, if it can be.
fn reattach(scenario: &mut Scenario, attach: Attach) -> Result<(), Failure> {
    for device in &mut scenario.devices {
        device.shape.attach = attach;
        let wrong = device.shape.check().err().map(|error| error.message);
        let fault = device
            .faults
            .iter()
            .find(|fault| !fault.entry().attachments.contains(&attach));
        let why =
            wrong.or(fault.map(|fault| format!("the fault {} can't be done there", fault.name())));
        if let Some(why) = why {
            return Err(Failure::Wrong(miette::miette!("{}: {why}", scenario.name)));
        }
    }
    Ok(())
}

async fn both(args: &DiffArgs, sides: [Side; 2]) -> Result<(), Failure> {
    let mut names = Vec::new();
    let mut runs: Vec<Run> = Vec::new();
    for (n, side) in sides.into_iter().enumerate() {
        let mut options = options(&args.machine, side.subject, Snapshots::Leave).await?;
        options.out = options.out.join(["diff-a", "diff-b"][n]);
        let (mut all, _) = go(vec![side.scenario], options, Show::Nothing).await?;
        runs.extend(all.each.pop());
        names.push(side.name);
    }
    let (Ok([left, right]), Ok(names)) =
        (<[Run; 2]>::try_from(runs), <[String; 2]>::try_from(names))
    else {
        return Err(Failure::Scenario);
    };
    let transcripts = [left.transcript.as_str(), right.transcript.as_str()];
    let sides = Sides::new(names, [left.report, right.report], transcripts);
    match args.format {
        Format::Pretty => say(sides.text(width()).trim_end()),
        Format::Json => json(&sides)?,
    }
    if sides.are_equal() {
        Ok(())
    } else {
        Err(Failure::Scenario)
    }
}

/// Characters of a line: what the shell says of its terminal, or enough for a transcript.
fn width() -> usize {
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    columns.unwrap_or(160)
}
