//! What is to be said about an INF.

use misfire_device::shape::{Attach, Kind, Shape};
use serde::Serialize;

use super::driver::{Architecture, Driver, Entry, Model};
use super::file::Inf;
use super::ids::hardware_ids;

/// The most messages of one function on Windows Vista and 7, and on 8 and later ("Using Interrupt
/// Resource Descriptors").
const LIMIT_WIN7: u32 = 910;
const LIMIT: u32 = 2048;
/// The first version of Windows with the larger limit.
const WIN8: (u32, u32) = (6, 2);

/// A device that the driver may be for.
#[derive(Clone, Debug)]
pub struct Device {
    /// What it is called in the report.
    pub name: String,
    /// What it is.
    pub shape: Shape,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// It works, and not as its author will have meant it.
    Warning,
    /// It can't work.
    Error,
}

/// Something to be said about the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The rule that it belongs to.
    pub rule: &'static str,
    /// The line of the file, from 1; none: the file as a whole.
    pub line: Option<usize>,
    /// What is so, and what it comes to.
    pub text: String,
}

/// What a file says for one processor, and what is to be said about it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The processor.
    pub architecture: Architecture,
    /// For each device that the file names: who would be taken, and with which interrupts.
    pub models: Vec<ModelReport>,
    /// For each device that was asked about.
    pub devices: Vec<DeviceReport>,
    /// In the order of the file.
    pub findings: Vec<Finding>,
}

/// A line of a models section.
#[derive(Clone, Debug, Serialize)]
pub struct ModelReport {
    /// Its line.
    pub line: usize,
    /// What people read.
    pub description: String,
    /// Its ids.
    pub ids: Vec<String>,
    /// `MSISupported`, as a number.
    pub msi_supported: Option<u32>,
    /// `MessageNumberLimit`, as a number.
    pub message_limit: Option<u32>,
}

/// A device against the file.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceReport {
    /// What it is called.
    pub name: String,
    /// The ids that Windows would make for it.
    pub ids: Vec<String>,
    /// The id by which the file takes it, and the line.
    pub taken: Option<(String, usize)>,
    /// How many messages Plug and Play would hand out at most; 0: a line.
    pub messages: Option<u32>,
}

impl Report {
    /// Whether something can't work.
    pub fn fails(&self) -> bool {
        self.findings.iter().any(|f| f.severity == Severity::Error)
    }
}

/// Looks at what `inf` says for machines of this architecture and for `devices`.
pub fn check(inf: &Inf, architecture: Architecture, devices: &[Device]) -> Report {
    let driver = Driver::of(inf, architecture);
    let mut findings = Vec::new();
    if driver.models.is_empty() {
        findings.push(Finding {
            severity: Severity::Error,
            rule: "VIO-CAP-006",
            line: None,
            text: format!(
                "no model is for {architecture:?}: no device of such a machine gets this driver"
            ),
        });
    }
    for model in &driver.models {
        about_model(model, &mut findings);
    }
    let devices = devices
        .iter()
        .map(|device| about_device(device, &driver, &mut findings))
        .collect();
    findings.sort_by_key(|finding| finding.line);
    findings.dedup();
    let models = driver.models.iter().map(|model| ModelReport {
        line: model.line,
        description: model.description.clone(),
        ids: model.ids.clone(),
        msi_supported: value(&model.interrupts.msi_supported),
        message_limit: value(&model.interrupts.message_limit),
    });
    Report {
        architecture,
        models: models.collect(),
        devices,
        findings,
    }
}

fn value(entry: &Option<Entry>) -> Option<u32> {
    entry.as_ref().and_then(|entry| entry.value)
}

/// What is wrong with a model whatever its device is.
fn about_model(model: &Model, findings: &mut Vec<Finding>) {
    let mut say = |severity, line, rule, text| {
        findings.push(Finding {
            severity,
            rule,
            line: Some(line),
            text,
        });
    };
    let interrupts = &model.interrupts;
    for line in &interrupts.misplaced {
        let text = format!(
            "interrupt policy in [{0}] goes to the driver's key, where Plug and Play does not look: it belongs into an AddReg of [{0}.HW]",
            model.install
        );
        say(Severity::Error, *line, "WIN-MSI-013", text);
    }
    for (name, entry) in [
        ("MSISupported", &interrupts.msi_supported),
        ("MessageNumberLimit", &interrupts.message_limit),
    ] {
        if let Some(entry) = entry
            && entry.value.is_none()
        {
            let text = format!(
                "{name} = `{}` is no REG_DWORD: expected type 0x00010001 and a number",
                entry.text
            );
            say(Severity::Error, entry.line, "WIN-MSI-013", text);
        }
    }
    match &interrupts.msi_supported {
        None => {
            let text = "MSISupported is not set: the driver is given one line-based interrupt, whatever its device can do".into();
            say(Severity::Warning, model.line, "WIN-MSI-013", text);
        }
        Some(Entry {
            value: Some(0),
            line,
            ..
        }) => {
            let text = "MSISupported = 0: the driver is given one line-based interrupt".into();
            say(Severity::Info, *line, "WIN-MSI-013", text);
        }
        Some(Entry {
            value: Some(n),
            line,
            ..
        }) if *n > 1 => {
            let text = format!(
                "MSISupported = {n}: it is a yes or no, and not a number of messages; that is MessageNumberLimit"
            );
            say(Severity::Warning, *line, "WIN-MSI-013", text);
        }
        Some(_) => {}
    }
    let Some(Entry {
        value: Some(limit),
        line,
        ..
    }) = interrupts.message_limit
    else {
        return;
    };
    if limit == 0 {
        let text = "MessageNumberLimit = 0: expected 1 to 2048".into();
        say(Severity::Error, line, "WIN-MSI-013", text);
    } else if limit > LIMIT {
        let text = format!("MessageNumberLimit = {limit}: a function has {LIMIT} messages at most");
        say(Severity::Error, line, "WIN-MSI-003", text);
    } else if limit > LIMIT_WIN7 && model.since.is_none_or(|since| since < WIN8) {
        let text = format!(
            "MessageNumberLimit = {limit}: Windows 7 has {LIMIT_WIN7} messages at most for a function and may not start it with more, and this model is for Windows 7 too"
        );
        say(Severity::Warning, line, "WIN-MSI-003", text);
    }
    if value(&interrupts.msi_supported).is_none_or(|n| n == 0) {
        let text = format!("MessageNumberLimit = {limit} has no effect without MSISupported = 1");
        say(Severity::Warning, line, "WIN-MSI-013", text);
    }
}

/// How many messages a driver of this kind of device wants: one for each source.
fn wanted(shape: &Shape) -> u32 {
    match shape.kind {
        Kind::PortCard => u32::from(shape.ports),
        _ => u32::from(shape.queues) + 1,
    }
}

fn about_device(device: &Device, driver: &Driver, findings: &mut Vec<Finding>) -> DeviceReport {
    let shape = &device.shape;
    let ids = hardware_ids(shape);
    let taken = ids.iter().find_map(|id| {
        let fits = |model: &&Model| model.ids.iter().any(|own| own.eq_ignore_ascii_case(id));
        driver
            .models
            .iter()
            .find(fits)
            .map(|model| (id.clone(), model))
    });
    let name = &device.name;
    let Some((id, model)) = taken else {
        // Nobody presents QEMU's own transport to be what it is not.
        let transport = if shape.attach == Attach::VhostUser {
            " (QEMU's transport)"
        } else {
            ""
        };
        findings.push(Finding {
            severity: Severity::Error,
            rule: "VIO-CAP-006",
            line: driver.models.first().map(|model| model.line),
            text: format!(
                "{name}{transport} is {}: no model names it or a compatible id",
                ids[0]
            ),
        });
        return DeviceReport {
            name: name.clone(),
            ids,
            taken: None,
            messages: None,
        };
    };
    let supported = value(&model.interrupts.msi_supported).is_some_and(|n| n != 0);
    let limit = value(&model.interrupts.message_limit);
    let (has, capability) = match (u32::from(shape.table_size()), u32::from(shape.msi)) {
        (0, 0) => (0, "no message-signalled interrupts"),
        (0, msi) => (msi, "MSI"),
        (table, _) => (table, "an MSI-X table"),
    };
    let messages = if supported {
        limit.map_or(has, |limit| limit.min(has))
    } else {
        0
    };
    if let (true, Some(limit), Some(entry)) = (supported, limit, &model.interrupts.message_limit) {
        let mut say = |severity, text| {
            findings.push(Finding {
                severity,
                rule: "WIN-MSI-013",
                line: Some(entry.line),
                text,
            });
        };
        let wants = wanted(shape).min(has);
        if has > 0 && limit < wants {
            say(
                Severity::Warning,
                format!(
                    "{name} has {capability} of {has} and {} sources of interrupts: {limit} messages are fewer than it could use",
                    wanted(shape)
                ),
            );
        }
        if has > 0 && limit > has {
            say(
                Severity::Info,
                format!("{name} has {capability} of {has}: a limit of {limit} changes nothing"),
            );
        }
        if capability == "MSI" && !matches!(limit, 1 | 2 | 4 | 8 | 16) {
            say(
                Severity::Warning,
                format!("{name} has MSI: the limit has to be 1, 2, 4, 8 or 16, and is {limit}"),
            );
        }
        if has == 0 {
            say(
                Severity::Info,
                format!("{name} has {capability}: the driver is given a line"),
            );
        }
    }
    if supported
        && limit.is_none()
        && has > LIMIT_WIN7
        && model.since.is_none_or(|since| since < WIN8)
    {
        findings.push(Finding {
            severity: Severity::Warning,
            rule: "WIN-MSI-003",
            line: Some(model.line),
            text: format!("{name} has {capability} of {has} and there is no MessageNumberLimit: Windows 7 may not start it, having {LIMIT_WIN7} messages at most for a function"),
        });
    }
    DeviceReport {
        name: name.clone(),
        ids,
        taken: Some((id, model.line)),
        messages: Some(messages),
    }
}
