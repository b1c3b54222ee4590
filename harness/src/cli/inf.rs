//! `misfire inf`: what a driver's INF says, before anything is started.

use std::path::{Path, PathBuf};

use clap::Args;
use misfire_device::shape::Shape;

use super::{Failure, Format, say};
use crate::inf::{Architecture, Device, Inf, Report, Severity, check};
use crate::scenario::{Library, Problem, Problems};

/// What `inf` takes.
#[derive(Clone, Debug, Args)]
pub struct InfArgs {
    /// The driver's INF.
    file: PathBuf,
    /// A device file, as `misfire device serve` takes it: the devices that the driver is to be for.
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    device: Option<PathBuf>,
    /// A scenario: the devices that the driver is to be for.
    #[arg(long, value_name = "SCENARIO")]
    scenario: Option<String>,
    /// The folder of the scenarios; default: `scenarios` here or above.
    #[arg(long = "scenarios", value_name = "DIR", requires = "scenario")]
    root: Option<PathBuf>,
    /// The processor of the machine.
    #[arg(long, value_enum, default_value_t = Architecture::Amd64)]
    arch: Architecture,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
}

pub(super) fn inf(args: &InfArgs) -> Result<(), Failure> {
    let path = &args.file;
    let bytes = std::fs::read(path).map_err(|error| {
        Problems(vec![Problem::of_file(
            path,
            format!("can't be read: {error}"),
        )])
    })?;
    let inf = Inf::read(path, &bytes).map_err(|problem| Problems(vec![problem]))?;
    let report = check(&inf, args.arch, &devices(args)?);
    match args.format {
        Format::Json => say(serde_json::to_string_pretty(&report).unwrap_or_default()),
        Format::Pretty => print(path, &report),
    }
    if report.fails() {
        return Err(Failure::Scenario);
    }
    Ok(())
}

/// The devices that the driver is to be for: those of the file or the scenario, else none.
fn devices(args: &InfArgs) -> Result<Vec<Device>, Failure> {
    let named = |prefix: &str, shapes: Vec<Shape>| {
        let several = shapes.len() > 1;
        let name = |n: usize| {
            if several {
                format!("{prefix}, device {n}")
            } else {
                prefix.to_owned()
            }
        };
        let devices = shapes.into_iter().enumerate();
        devices
            .map(|(n, shape)| Device {
                name: name(n),
                shape,
            })
            .collect()
    };
    if let Some(file) = &args.device {
        let devices = misfire_device::file::load(file).map_err(Problems)?;
        let shapes = devices.into_iter().map(|device| device.shape).collect();
        return Ok(named(&file.display().to_string(), shapes));
    }
    let Some(name) = &args.scenario else {
        return Ok(Vec::new());
    };
    let library: Library = super::open(args.root.as_deref(), std::slice::from_ref(name))?;
    Ok(library
        .scenarios
        .iter()
        .flat_map(|scenario| {
            let shapes = scenario
                .devices
                .iter()
                .map(|device| device.shape.clone())
                .collect();
            let devices: Vec<Device> = named(&scenario.name, shapes);
            devices
        })
        .collect())
}

fn print(path: &Path, report: &Report) {
    let path = path.display();
    for model in &report.models {
        let number = |value: Option<u32>| value.map_or("not set".to_owned(), |n| n.to_string());
        say(format_args!("{path}:{}: {}", model.line, model.description));
        say(format_args!("    {}", model.ids.join(", ")));
        say(format_args!(
            "    MSISupported {}, MessageNumberLimit {}",
            number(model.msi_supported),
            number(model.message_limit)
        ));
    }
    for device in &report.devices {
        match (&device.taken, device.messages) {
            (Some((id, line)), Some(0)) => say(format_args!(
                "{}: taken as {id} (line {line}), with a line-based interrupt",
                device.name
            )),
            (Some((id, line)), Some(messages)) => say(format_args!(
                "{}: taken as {id} (line {line}), with up to {messages} messages",
                device.name
            )),
            _ => say(format_args!("{}: not taken; it is", device.name)),
        }
        if device.taken.is_none() {
            device
                .ids
                .iter()
                .for_each(|id| say(format_args!("    {id}")));
        }
    }
    for finding in &report.findings {
        let word = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "note",
        };
        let place = finding
            .line
            .map_or(String::new(), |line| format!(":{line}"));
        say(format_args!(
            "{path}{place}: {word}: {} [{}]",
            finding.text, finding.rule
        ));
    }
}
