//! From what was written to what it means.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use misfire_device::fault::Fault;
use misfire_device::file::DeviceUnderTest;
use misfire_device::shape::Attach;
use misfire_device::spec::SECTOR_BYTES;

use super::document::{At, Document};
use super::expect::{Expectations, GUESTS};
use super::file::ScenarioFile;
use super::guest::GuestParameters;
use super::matrix::Matrix;
use super::problem::{Problem, nearest, suggest};
use super::step::{Action, Plug, Step, order, released_by, waited_for};

/// One scenario, all of whose values are valid.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// `family/name`, or `family/name@variant`.
    pub name: String,
    /// What happens, in one sentence.
    pub title: String,
    /// Where the failure was described.
    pub source: Vec<String>,
    /// The file it comes from.
    pub path: PathBuf,
    /// The devices, in the order of their slots.
    pub devices: Vec<DeviceUnderTest>,
    /// What the reference guest is told.
    pub guest: GuestParameters,
    /// The guest is booted for it, and not restored.
    pub cold: bool,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What must come out.
    pub expect: Expectations,
}

impl Scenario {
    /// `family` of `family/name@variant`.
    pub fn family(&self) -> &str {
        self.name.split_once('/').map_or("", |(family, _)| family)
    }

    /// The devices that come and go, and so sit in a slot of their own.
    pub fn slots(&self) -> BTreeSet<usize> {
        let told = self.steps.iter().filter_map(|step| match &step.action {
            Action::Plug(_, device) => Some(usize::from(*device)),
            _ => None,
        });
        let by_faults = self.devices.iter().enumerate().filter_map(|(dev, device)| {
            let moves = |fault: &Fault| Plug::of_fault(fault.name()).is_some();
            device.faults.iter().any(moves).then_some(dev)
        });
        told.chain(by_faults).collect()
    }

    /// Whether QEMU keeps the device in its slot when the guest lets it go: QEMU 11.1 aborts when a
    /// `vfio-user-pci` with MSI-X is taken out (decision 0010).
    pub fn keeps(&self, device: u8) -> bool {
        let device = self.devices.get(usize::from(device));
        device.is_some_and(|d| d.shape.attach == Attach::VfioUser && d.shape.table_size() > 0)
    }

    /// `msix=2,pin=true` of `family/name@msix=2,pin=true`: its cell, if it comes from a matrix.
    pub fn cell(&self) -> Option<&str> {
        let (_, after) = self.name.split_once('@')?;
        after.contains('=').then_some(after)
    }

    /// Where its snapshot of the reference guest lies: `<family>/snapshots/<name>.snap` beside the file.
    /// The cells of a matrix share one.
    pub fn snapshot(&self) -> PathBuf {
        self.snapshot_of("reference")
    }

    /// The same of another guest: `<family>/snapshots/<guest>/<name>.snap`.
    pub fn snapshot_of(&self, guest: &str) -> PathBuf {
        let stem = self.name.rsplit('/').next().unwrap_or(&self.name);
        let stem = match self.cell() {
            Some(_) => stem.split('@').next().unwrap_or(stem),
            None => stem,
        };
        let folder = self.path.with_file_name("snapshots");
        let folder = match guest {
            "reference" => folder,
            other => folder.join(other),
        };
        folder.join(format!("{stem}.snap"))
    }
}

/// The names that a scenario may use and that other parts define.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// Ids of the rules.
    pub rules: Vec<String>,
}

/// Lists that may be written as a single value.
const LISTS: &[&[&str]] = &[
    &["device"],
    &["source"],
    &["guest", "mistake"],
    &["guest", "device", "mistake"],
];
const EXPECT_LISTS: &[&str] = &[
    "interrupts",
    "broken",
    "warn",
    "held",
    "log",
    "says",
    "timeouts",
];

/// Reads the scenarios of one file: the one it is, and one for each variant; or one for each cell of
/// its matrix.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(
    path: &Path,
    name: &str,
    text: &str,
    words: &Vocabulary,
) -> Result<Vec<Scenario>, Vec<Problem>> {
    let mut document = Document::parse(path, text).map_err(|p| vec![p])?;
    let variants = document.take_variants().map_err(|p| vec![p])?;
    if let Some(matrix) = Matrix::take(&mut document).map_err(|p| vec![p])? {
        if let Some(variant) = variants.first() {
            let message = "a file has variants or a matrix, not both";
            let problem = document.source.problem(Some(variant.at.clone()), message);
            return Err(vec![problem]);
        }
        return cells(&document, name, &matrix, words);
    }
    let mut scenarios = vec![scenario(&document, name.to_owned(), words)?];
    let mut problems = Vec::new();
    // What a driver is predicted to do in a scenario says nothing of its variants.
    let document = document.without("expect", "known");
    for (index, variant) in variants.iter().enumerate() {
        if variants[..index].iter().any(|v| v.name == variant.name) {
            let message = format!("two scenarios are called `{name}@{}`", variant.name);
            problems.push(document.source.problem(Some(variant.at.clone()), message));
            continue;
        }
        let full = format!("{name}@{}", variant.name);
        let merged = document.with(variant).map_err(|p| vec![p]);
        match merged.and_then(|d| scenario(&d, full, words)) {
            Ok(scenario) => scenarios.push(scenario),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(scenarios)
    } else {
        Err(problems)
    }
}

/// The scenarios of a matrix. When one is wrong, the others are not told about.
fn cells(
    document: &Document<'_>,
    name: &str,
    matrix: &Matrix<'_>,
    words: &Vocabulary,
) -> Result<Vec<Scenario>, Vec<Problem>> {
    let mut scenarios = Vec::new();
    let mut used = vec![false; matrix.cases().len()];
    for cell in matrix.cells(&document.source).map_err(|p| vec![p])? {
        let table = cell.table();
        let full = format!("{name}@{}", cell.name);
        let mut laid = || {
            let mut laid = document.over(&table)?;
            for (case, used) in matrix.cases().iter().zip(&mut used) {
                if case.is_about(&cell) {
                    *used = true;
                    laid = laid.over(&case.over)?;
                }
            }
            Ok(laid)
        };
        let read = laid().map_err(|p: Problem| vec![p]);
        let read = read.and_then(|laid| scenario(&laid, full, words));
        scenarios.push(read.map_err(|mut found| {
            for problem in &mut found {
                problem.message += &format!(" (in the cell {})", cell.name);
            }
            found
        })?);
    }
    let idle = matrix.cases().iter().zip(used).filter(|(_, used)| !used);
    let problems: Vec<Problem> = idle
        .map(|(case, _)| {
            let message = "no cell of the matrix is like this";
            document.source.problem(Some(case.at.clone()), message)
        })
        .collect();
    if problems.is_empty() {
        Ok(scenarios)
    } else {
        Err(problems)
    }
}

fn scenario(
    document: &Document<'_>,
    name: String,
    words: &Vocabulary,
) -> Result<Scenario, Vec<Problem>> {
    let mut lists: Vec<Vec<&str>> = LISTS.iter().map(|l| l.to_vec()).collect();
    for key in EXPECT_LISTS {
        lists.push(vec!["expect", key]);
        lists.push(vec!["expect", "known", "*", key]);
        lists.extend(GUESTS.iter().map(|guest| vec!["expect", guest, key]));
    }
    let lists: Vec<&[&str]> = lists.iter().map(Vec::as_slice).collect();
    let file: ScenarioFile = document.read(&lists).map_err(|p| vec![p])?;

    let mut check = Checker {
        document,
        words,
        problems: Vec::new(),
    };
    if file.title.trim().is_empty() {
        check.fail(
            &["title".into()],
            "the title is empty: expected what happens, in one sentence",
            None,
        );
    }
    let devices = check.devices(&file);
    let guest = check.guest(&file.guest, file.device.len());
    let steps = check.steps(&file);
    let expect = check.expectations(&file.expect, &file.device);
    if !check.problems.is_empty() {
        return Err(check.problems);
    }
    Ok(Scenario {
        name,
        title: file.title,
        source: file.source,
        path: document.source.path.clone(),
        devices,
        guest,
        cold: file.cold,
        steps,
        expect,
    })
}

/// Collects everything that is wrong with one scenario.
pub(super) struct Checker<'a> {
    document: &'a Document<'a>,
    pub(super) words: &'a Vocabulary,
    pub(super) problems: Vec<Problem>,
}

impl Checker<'_> {
    pub(super) fn fail(
        &mut self,
        path: &[At<'_>],
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.problems
            .push(self.document.problem(path, message).with_help(help));
    }

    /// Refuses `word` unless it is known, and says which name is near.
    pub(super) fn known(
        &mut self,
        path: &[At<'_>],
        what: &str,
        word: &str,
        known: &[&str],
    ) -> bool {
        let found = known.contains(&word);
        if !found {
            let help = suggest(word, known.iter().copied());
            self.fail(path, format!("unknown {what} `{word}`"), Some(help));
        }
        found
    }

    fn devices(&mut self, file: &ScenarioFile) -> Vec<DeviceUnderTest> {
        misfire_device::file::devices(self.document, &file.device, &file.fault).unwrap_or_else(
            |problems| {
                self.problems.extend(problems);
                Vec::new()
            },
        )
    }

    fn steps(&mut self, file: &ScenarioFile) -> Vec<Step> {
        let before = self.problems.len();
        let mut steps = Vec::new();
        for (index, step) in file.step.iter().enumerate() {
            match Step::try_from_file(step, &file.device, &file.fault) {
                Ok(step) => {
                    if let Action::Load(load, device) = &step.action
                        && let Some(sectors) = sectors(file, &steps, *device)
                        && let Err((key, message, help)) = load.fits(sectors)
                    {
                        self.fail(&["step".into(), index.into(), key.into()], message, help);
                    }
                    steps.push(step);
                }
                Err((key, message, help)) => {
                    self.fail(&["step".into(), index.into(), key.into()], message, help);
                }
            }
        }
        if self.problems.len() == before {
            self.sent(file, &steps);
            if let Err((index, (key, message, help))) = order(&steps) {
                self.fail(&["step".into(), index.into(), key.into()], message, help);
            }
        }
        if steps.is_empty() {
            steps.push(Step::ready());
        }
        steps
    }

    /// Refuses a fault that waits for a command of the host that no step gives.
    fn sent(&mut self, file: &ScenarioFile, steps: &[Step]) {
        let sent: Vec<(u8, &str)> = steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Host(host, device) => Some((*device, host.command.as_str())),
                _ => None,
            })
            .collect();
        for (index, fault) in file.fault.iter().enumerate() {
            let Some((device, name)) = waited_for(fault).filter(|w| !sent.contains(w)) else {
                continue;
            };
            let message = format!("no step sends `{name}` to device {device}: this never fires");
            let near = nearest(name, sent.iter().map(|(_, name)| *name));
            let help = match near.filter(|near| *near != name) {
                Some(near) => format!("did you mean `host:{near}`?"),
                None => format!("a step can send it: `host = \"{name}\"`"),
            };
            self.fail(
                &["fault".into(), index.into(), "on".into()],
                message,
                Some(help),
            );
        }
        for (index, fault) in file.fault.iter().enumerate() {
            let Some((device, name)) = released_by(fault).filter(|r| !sent.contains(r)) else {
                continue;
            };
            self.fail(
                &["fault".into(), index.into(), "args".into(), "host".into()],
                format!("no step sends `{name}` to device {device}: what this holds never comes"),
                Some(format!("a step can send it: `host = \"{name}\"`")),
            );
        }
    }
}

/// The most sectors that a disk can have after `steps`; none when only its backend knows.
fn sectors(file: &ScenarioFile, steps: &[Step], device: u8) -> Option<u64> {
    let shape = file.device.get(usize::from(device))?;
    let grows = file.fault.iter().any(|fault| {
        fault.device.as_ref().map_or(0, |d| *d.get_ref()) == device
            && fault.verb.get_ref() == "cfg.change"
    });
    if grows || shape.backend.is_some() {
        return None;
    }
    let first = match &shape.file {
        Some(path) => std::fs::metadata(path).ok()?.len() / SECTOR_BYTES,
        None => shape.capacity,
    };
    let changed = steps.iter().filter_map(|step| match &step.action {
        Action::Host(host, to) if *to == device && host.command == "cfg.change" => {
            ["capacity", "val"]
                .iter()
                .find_map(|key| u64::try_from(host.args.get(*key)?.as_integer()?).ok())
        }
        _ => None,
    });
    Some(changed.fold(first, u64::max))
}
