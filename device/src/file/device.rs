//! `[device]` and `[[fault]]`.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::document::Document;
use super::problem::Problem;
use crate::fault::{Fault, FaultFile, check_references};
use crate::shape::{MAX_SIBLINGS, Shape, ShapeError};

/// The most devices of one file: the machine has slots for so many.
pub const MAX_DEVICES: usize = 8;

/// A device file as it is written; a single `[device]` stands for a list of one.
///
/// ```
/// let text = r#"
///     [device]
///     kind = "block"
///     queues = 2
/// "#;
/// let devices = misfire_device::file::read("my.toml".as_ref(), text).unwrap();
/// assert_eq!(devices[0].shape.table_size(), 3);
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceFile {
    /// The devices.
    #[serde(default)]
    pub device: Vec<Shape>,
    /// What goes wrong.
    #[serde(default)]
    pub fault: Vec<FaultFile>,
}

/// A device, and what goes wrong with it.
#[derive(Clone, Debug)]
pub struct DeviceUnderTest {
    /// What it is.
    pub shape: Shape,
    /// What goes wrong with it, each with an id of its own.
    pub faults: Vec<Fault>,
}

/// Reads the device file at `path`.
///
/// # Errors
/// Everything that is wrong with it, or why it can't be read.
pub fn load(path: &Path) -> Result<Vec<DeviceUnderTest>, Vec<Problem>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![Problem::of_file(path, format!("can't be read: {error}"))])?;
    read(path, &text)
}

/// Reads the device file that holds `text`; `path` is only named.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(path: &Path, text: &str) -> Result<Vec<DeviceUnderTest>, Vec<Problem>> {
    let document = Document::parse(path, text).map_err(|p| vec![p])?;
    let file: DeviceFile = document.read(&[&["device"]]).map_err(|p| vec![p])?;
    devices(&document, &file.device, &file.fault)
}

/// Checks the devices of a document, and the faults against the devices they are meant for.
///
/// # Errors
/// Everything that is wrong with them, each with its place in the document.
pub fn devices(
    document: &Document<'_>,
    shapes: &[Shape],
    faults: &[FaultFile],
) -> Result<Vec<DeviceUnderTest>, Vec<Problem>> {
    let mut problems = Vec::new();
    if shapes.is_empty() {
        problems.push(document.problem(&["device".into()], "there is no [device]"));
    }
    if shapes.len() > MAX_DEVICES {
        let message = format!(
            "{} devices: the machine has slots for {MAX_DEVICES}",
            shapes.len()
        );
        problems.push(document.problem(&["device".into()], message));
    }
    let siblings = shapes.iter().filter_map(|shape| shape.siblings);
    if siblings.map(|all| u32::from(all.n)).sum::<u32>() > u32::from(MAX_SIBLINGS) {
        let message = format!("siblings: {MAX_SIBLINGS} at most, of all devices together");
        problems.push(document.problem(&["device".into()], message));
    }
    for (index, shape) in shapes.iter().enumerate() {
        let foreign: Vec<_> = shape
            .kind
            .foreign_keys()
            .iter()
            .filter(|key| document.has(&["device".into(), index.into(), (**key).into()]))
            .map(|key| ShapeError {
                key,
                message: format!("`{key}` means nothing to a {}", shape.kind.word()),
            })
            .collect();
        let errors = if foreign.is_empty() {
            let wrong = shape.check().and_then(|()| attended(shape));
            wrong.err().into_iter().collect()
        } else {
            foreign
        };
        problems.extend(errors.into_iter().map(|error| {
            let path = ["device".into(), index.into(), error.key.into()];
            document.problem(&path, error.message)
        }));
    }
    let mut devices: Vec<DeviceUnderTest> = shapes
        .iter()
        .map(|shape| DeviceUnderTest {
            shape: shape.clone(),
            faults: Vec::new(),
        })
        .collect();
    let mut ids = Vec::new();
    for (index, file) in faults.iter().enumerate() {
        if let Err(problem) = arm(document, index, file, &mut ids, &mut devices) {
            problems.push(problem);
        }
    }
    if problems.is_empty() {
        // Only what is armed can be spoken of.
        let errors = devices.iter().flat_map(|d| check_references(&d.faults));
        problems.extend(errors.map(|error| {
            let problem = document.source.problem(error.span, error.message);
            problem.with_help(error.help)
        }));
    }
    if problems.is_empty() {
        Ok(devices)
    } else {
        Err(problems)
    }
}

/// Checks what a device needs of the machine it is served on, and what its driver would never use.
fn attended(shape: &Shape) -> Result<(), ShapeError> {
    let fail = |key, message| Err(ShapeError { key, message });
    let Some(path) = &shape.file else {
        return Ok(());
    };
    let name = path.display();
    match std::fs::metadata(path) {
        Err(error) => fail("file", format!("file = \"{name}\" can't be used: {error}")),
        Ok(found) if found.is_dir() => fail("file", format!("file = \"{name}\" is a folder")),
        Ok(_) => Ok(()),
    }
}

/// Adds a fault to its device, with an id that no other has.
fn arm(
    document: &Document<'_>,
    index: usize,
    file: &FaultFile,
    ids: &mut Vec<String>,
    devices: &mut [DeviceUnderTest],
) -> Result<(), Problem> {
    let mut file = file.clone();
    let number = file.device.as_ref().map_or(0, |d| *d.get_ref());
    let count = devices.len();
    let Some(device) = devices.get_mut(usize::from(number)) else {
        let path = ["fault".into(), index.into(), "device".into()];
        let message = format!("device = {number}: there are {count}, counted from 0");
        return Err(document.problem(&path, message));
    };
    match &file.id {
        Some(id) if ids.contains(id.get_ref()) => {
            let path = ["fault".into(), index.into(), "id".into()];
            let message = format!("two faults have the id `{}`", id.get_ref());
            return Err(document.problem(&path, message));
        }
        Some(id) => ids.push(id.get_ref().clone()),
        None => {
            let id = free_id(file.verb.get_ref(), ids);
            file.id = Some(Spanned::new(file.verb.span(), id.clone()));
            ids.push(id);
        }
    }
    let fault = Fault::check(&file, &device.shape).map_err(|error| {
        let path = ["fault".into(), index.into()];
        let span = error.span.unwrap_or_else(|| document.span(&path));
        document
            .source
            .problem(Some(span), error.message)
            .with_help(error.help)
    })?;
    device.faults.push(fault);
    Ok(())
}

/// The verb, or the verb and a number if another fault is called so.
fn free_id(verb: &str, taken: &[String]) -> String {
    std::iter::once(verb.to_owned())
        .chain((2..).map(|n| format!("{verb}-{n}")))
        .find(|id| !taken.contains(id))
        .unwrap_or_default()
}
