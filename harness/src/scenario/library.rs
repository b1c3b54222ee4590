//! Where scenarios are found, and which of them are meant.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use globset::GlobBuilder;

use super::check::{Scenario, Vocabulary, read};
use super::problem::{Problem, Problems, nearest};

/// How the names of the tables end that guests share: distributions' kernels, and drivers' own images.
const SHARED: [&str; 3] = ["/firmware", "/linux", "/nt"];

/// Scenarios by name, all of them valid.
#[derive(Clone, Debug, Default)]
pub struct Library {
    /// In the order of their names.
    pub scenarios: Vec<Scenario>,
}

/// The folder `scenarios` here or in a folder above.
pub fn find_root(from: &Path) -> Option<PathBuf> {
    from.ancestors()
        .map(|dir| dir.join("scenarios"))
        .find(|dir| dir.is_dir())
}

impl Library {
    /// Reads what `arguments` name: names or globs of scenarios under `root`, or paths of files.
    /// No argument means everything under `root`.
    ///
    /// # Errors
    /// Everything that is wrong with any file that was read; a name that nothing has.
    pub fn open(
        root: Option<&Path>,
        arguments: &[String],
        words: &Vocabulary,
    ) -> Result<Self, Problems> {
        let mut reader = Reader {
            words,
            scenarios: Vec::new(),
            problems: Vec::new(),
            read: BTreeSet::new(),
        };
        let (paths, names): (Vec<&String>, Vec<&String>) =
            arguments.iter().partition(|a| is_path(a));
        if !names.is_empty() || paths.is_empty() {
            match root {
                Some(root) => reader.folder(root),
                None => reader.problems.push(Problem::of_file(
                    Path::new("scenarios"),
                    "no such folder here or above: give a scenario's path, or --scenarios DIR",
                )),
            }
            reader.only(&names);
        }
        reader.read = reader.scenarios.iter().map(|s| real(&s.path)).collect();
        for path in paths {
            reader.given(Path::new(path));
        }
        reader.duplicates();
        if !reader.problems.is_empty() {
            return Err(Problems(reader.problems));
        }
        reader.scenarios.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            scenarios: reader.scenarios,
        })
    }

    /// Keeps one part of the scenarios. Parts differ by at most one, and depend on names alone.
    pub fn keep(&mut self, part: Partition) {
        let mut index = 0;
        self.scenarios.retain(|_| {
            index += 1;
            part.has(index - 1)
        });
    }
}

/// Whether an argument is meant as a path, and not as the name of a scenario or a family.
fn is_path(argument: &str) -> bool {
    let path = Path::new(argument);
    let spelled = ["./", "../", "/"].iter().any(|s| argument.starts_with(s))
        || argument.ends_with('/')
        || [".", ".."].contains(&argument);
    spelled || argument.ends_with(".toml") || path.is_file()
}

/// The file that a path leads to, through whatever links.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

struct Reader<'a> {
    words: &'a Vocabulary,
    scenarios: Vec<Scenario>,
    problems: Vec<Problem>,
    /// Files that need not be read again.
    read: BTreeSet<PathBuf>,
}

impl Reader<'_> {
    fn folder(&mut self, root: &Path) {
        if let Err(error) = std::fs::read_dir(root) {
            let message = format!("can't be read as a folder of scenarios: {error}");
            self.problems.push(Problem::of_file(root, message));
            return;
        }
        for family in entries(root) {
            if !family.is_dir() || family.file_name().is_some_and(|n| n == "guests") {
                continue;
            }
            for path in entries(&family) {
                if path.extension().is_some_and(|e| e == "toml") {
                    self.file(&path);
                }
            }
            self.snapshots(&family);
        }
        if self.scenarios.is_empty() && self.problems.is_empty() {
            self.problems.push(Problem::of_file(
                root,
                "no scenario in this folder: expected <family>/<name>.toml",
            ));
        }
    }

    /// A file of the command line, unless it was read already.
    fn given(&mut self, path: &Path) {
        if path.is_dir() {
            let help = format!(
                "a folder of scenarios is given with --scenarios {}",
                path.display()
            );
            let problem = Problem::of_file(path, "a folder, and no scenario");
            self.problems.push(problem.with_help(Some(help)));
        } else if self.read.insert(real(path)) {
            self.file(path);
        }
    }

    fn file(&mut self, path: &Path) {
        let name = name_of(path);
        match std::fs::read_to_string(path) {
            Ok(text) => match read(path, &name, &text, self.words) {
                Ok(found) => self.scenarios.extend(found),
                Err(found) => self.problems.extend(found),
            },
            Err(error) => self
                .problems
                .push(Problem::of_file(path, format!("can't be read: {error}"))),
        }
    }

    /// A snapshot that no scenario of its family owns.
    fn snapshots(&mut self, family: &Path) {
        if !self.problems.is_empty() {
            return; // scenarios that could not be read have no names
        }
        let names: Vec<String> = self.scenarios.iter().map(|s| s.name.clone()).collect();
        for path in entries(&family.join("snapshots")) {
            if path.extension().is_none_or(|e| e != "snap") {
                continue;
            }
            let name = name_of(&family.join(path.file_name().unwrap_or_default()));
            if self.is_a_table(&path) || self.is_shared(&path, &name, &names) {
                continue;
            }
            if !names.contains(&name) {
                let help = nearest(&name, names.iter().map(String::as_str))
                    .map(|near| format!("the nearest scenario is `{near}`; remove the snapshot if its scenario is gone"));
                let message = format!("a snapshot without a scenario: nothing is called `{name}`");
                self.problems
                    .push(Problem::of_file(&path, message).with_help(help));
            }
        }
    }

    /// Whether a snapshot is the table of a matrix. Its lines must be cells of it.
    fn is_a_table(&mut self, path: &Path) -> bool {
        let of_it = |s: &&Scenario| s.cell().is_some() && real(&s.snapshot()) == real(path);
        let owners: BTreeSet<&str> = self
            .scenarios
            .iter()
            .filter(of_it)
            .filter_map(Scenario::cell)
            .collect();
        if owners.is_empty() {
            return false;
        }
        let kept = crate::snapshot::row::cells(path).unwrap_or_default();
        for cell in kept.iter().filter(|cell| !owners.contains(cell.as_str())) {
            let message = format!("a line without a scenario: the matrix has no cell `{cell}`");
            self.problems.push(Problem::of_file(path, message));
        }
        true
    }

    /// Whether a snapshot is the table that other guests share. Its lines must be scenarios of its family.
    fn is_shared(&mut self, path: &Path, name: &str, names: &[String]) -> bool {
        let Some(family) = SHARED.iter().find_map(|end| name.strip_suffix(end)) else {
            return false;
        };
        let shared = family.to_owned() + "/";
        for line in crate::snapshot::guests::scenarios(path).unwrap_or_default() {
            if !names.contains(&format!("{shared}{line}")) {
                let message = format!("a line without a scenario: nothing is called `{line}`");
                self.problems.push(Problem::of_file(path, message));
            }
        }
        true
    }

    /// Keeps what the names and globs mean. A name stands for its variants and cells too.
    fn only(&mut self, names: &[&String]) {
        if names.is_empty() || !self.problems.is_empty() {
            return;
        }
        let mut keep = vec![false; self.scenarios.len()];
        for pattern in names {
            let glob = match GlobBuilder::new(pattern).literal_separator(true).build() {
                Ok(glob) => glob.compile_matcher(),
                Err(error) => {
                    self.problems.push(Problem::of_file(
                        Path::new(pattern.as_str()),
                        error.to_string(),
                    ));
                    continue;
                }
            };
            let parts = CellPattern::of(pattern);
            let mut found = false;
            for (scenario, keep) in self.scenarios.iter().zip(&mut keep) {
                let base = scenario.name.split('@').next().unwrap_or_default();
                let last = base.rsplit('/').next().unwrap_or_default();
                let hit = [scenario.name.as_str(), base, last, scenario.family()]
                    .iter()
                    .any(|n| glob.is_match(n))
                    || parts
                        .as_ref()
                        .is_some_and(|parts| parts.mean(scenario, base));
                *keep |= hit;
                found |= hit;
            }
            if !found {
                let known = self.scenarios.iter().map(|s| s.name.as_str());
                let help = if Path::new(pattern.as_str()).is_dir() {
                    Some(format!(
                        "this is a folder: `--scenarios {pattern}` reads the scenarios in it"
                    ))
                } else {
                    nearest(pattern, known).map(|near| format!("did you mean `{near}`?"))
                };
                let message = "no scenario has this name: `misfire list` shows them all";
                self.problems
                    .push(Problem::of_file(Path::new(pattern.as_str()), message).with_help(help));
            }
        }
        let mut keep = keep.into_iter();
        self.scenarios.retain(|_| keep.next().unwrap_or(false));
    }

    fn duplicates(&mut self) {
        let mut first: BTreeMap<&str, &Path> = BTreeMap::new();
        for scenario in &self.scenarios {
            if let Some(other) = first.insert(&scenario.name, &scenario.path) {
                self.problems.push(Problem::of_file(
                    &scenario.path,
                    format!(
                        "two scenarios are called `{}`: the other one is in {}",
                        scenario.name,
                        other.display()
                    ),
                ));
            }
        }
    }
}

/// `base@key=value,…`: the cells of a matrix that have these values, whatever the others.
struct CellPattern {
    base: globset::GlobMatcher,
    parts: Vec<globset::GlobMatcher>,
}

impl CellPattern {
    fn of(pattern: &str) -> Option<Self> {
        let glob = |text: &str| Some(GlobBuilder::new(text).build().ok()?.compile_matcher());
        let (base, cell) = pattern.split_once('@')?;
        let parts: Option<Vec<_>> = cell.split(',').map(glob).collect();
        Some(Self {
            base: glob(base)?,
            parts: parts.filter(|_| cell.contains('='))?,
        })
    }

    fn mean(&self, scenario: &Scenario, base: &str) -> bool {
        let has = |part: &globset::GlobMatcher| {
            let mut parts = scenario.cell().into_iter().flat_map(|c| c.split(','));
            parts.any(|p| part.is_match(p))
        };
        self.base.is_match(base) && self.parts.iter().all(has)
    }
}

/// `family/name` of `…/family/name.toml`.
fn name_of(path: &Path) -> String {
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match full.parent().and_then(Path::file_name) {
        Some(family) => format!("{}/{stem}", family.to_string_lossy().to_lowercase()),
        None => stem,
    }
}

/// The entries of a folder in the order of their names; none if it can't be read.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(list) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = list.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Part M of N, `M/N` with M from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    part: usize,
    parts: usize,
}

/// A partition that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a partition: expected M/N with M from 1 to N, such as 2/3")]
pub struct PartitionError(String);

impl Partition {
    /// Whether the scenario at this place, from 0, belongs to the part.
    pub fn has(self, index: usize) -> bool {
        index % self.parts == self.part - 1
    }
}

impl FromStr for Partition {
    type Err = PartitionError;

    fn from_str(text: &str) -> Result<Self, PartitionError> {
        text.split_once('/')
            .and_then(|(m, n)| Some((m.parse().ok()?, n.parse().ok()?)))
            .filter(|(part, parts)| (1..=*parts).contains(part))
            .map(|(part, parts)| Self { part, parts })
            .ok_or_else(|| PartitionError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_partition_hold_everything_once() {
        for parts in 1..6 {
            for index in 0..20 {
                let owners = (1..=parts)
                    .filter(|part| {
                        format!("{part}/{parts}")
                            .parse::<Partition>()
                            .unwrap()
                            .has(index)
                    })
                    .count();
                assert_eq!(owners, 1, "{index} of {parts}");
            }
        }
    }

    #[test]
    fn a_partition_that_can_not_be_is_refused() {
        for text in ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"] {
            assert_eq!(text.parse::<Partition>(), Err(PartitionError(text.into())));
        }
    }
}
