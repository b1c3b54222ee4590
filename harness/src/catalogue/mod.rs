//! The bugs that others reported, and what became of each here.
//!
//! A bug's scenarios are those that name it under `source`. One without any says why.

mod bugs;
mod document;
mod words;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::run::REFERENCE;
use crate::scenario::Scenario;

pub use bugs::BUGS;
pub use document::markdown;

/// A bug that somebody reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bug {
    /// `B01` to `B80`.
    pub id: &'static str,
    /// Where it was reported or mended.
    pub source: &'static str,
    /// What happened, in our words.
    pub symptom: &'static str,
    /// How it is brought about here.
    pub way: Way,
    /// What its scenarios leave out, or do in another way.
    pub note: &'static str,
}

/// How a bug is brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A driver makes the mistake: a scenario that shows it has one.
    Driver,
    /// A device has it: ours imitates it, and a correct driver copes.
    Device,
    /// No scenario shows it; this looks for it.
    Check(&'static str),
    /// It can't be brought about, for this reason.
    Not(&'static str),
}

/// What became of a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// A scenario has a driver with its cause.
    Reproduced,
    /// A scenario has a device that behaves so.
    Imitated,
    /// Something other than a scenario looks for it.
    Checked,
    /// It can't be brought about.
    NotReproducible,
    /// Nothing is there yet.
    Open,
}

impl Status {
    /// Each of them.
    pub const ALL: &[Self] = &[
        Self::Reproduced,
        Self::Imitated,
        Self::Checked,
        Self::NotReproducible,
        Self::Open,
    ];

    /// The word that reports use.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::Imitated => "imitated",
            Self::Checked => "checked",
            Self::NotReproducible => "not reproducible",
            Self::Open => "open",
        }
    }
}

/// A bug, and what there is about it.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its id.
    pub id: &'static str,
    /// Where it was reported or mended.
    pub source: &'static str,
    /// What happened.
    pub symptom: &'static str,
    /// What became of it.
    pub status: Status,
    /// Scenarios that show it, variants included; the cells of a matrix count as one.
    pub scenarios: Vec<String>,
    /// The rules that these scenarios expect something of.
    pub rules: Vec<String>,
    /// What looks for it, or why it can't be brought about, or what is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// The whole table.
#[derive(Clone, Debug, Serialize)]
pub struct Catalogue {
    /// Version of this document's form; additions do not change it.
    pub schema: u32,
    /// The bugs, in the order of their numbers.
    pub bugs: Vec<Entry>,
}

impl Catalogue {
    /// The bugs with what these scenarios show of them.
    pub fn new(scenarios: &[Scenario]) -> Self {
        Self {
            schema: 1,
            bugs: BUGS.iter().map(|bug| entry(bug, scenarios)).collect(),
        }
    }

    /// How many have this status.
    pub fn count(&self, status: Status) -> usize {
        self.bugs.iter().filter(|bug| bug.status == status).count()
    }
}

fn entry(bug: &Bug, scenarios: &[Scenario]) -> Entry {
    let showing: Vec<&Scenario> = scenarios.iter().filter(|s| names(s, bug.id)).collect();
    let expected: BTreeSet<&String> = showing
        .iter()
        .map(|s| s.expect.of(REFERENCE))
        .flat_map(|e| e.held.iter().chain(&e.broken).chain(&e.warn))
        .collect();
    let mut scenarios: Vec<String> = showing.iter().map(|s| without_cell(s)).collect();
    scenarios.dedup();
    let shown = match bug.way {
        Way::Driver => showing.iter().any(|s| s.guest.has_mistake()),
        _ => !scenarios.is_empty(),
    };
    let (status, note) = match (bug.way, !shown) {
        (Way::Driver, false) => (Status::Reproduced, bug.note),
        (Way::Device, false) => (Status::Imitated, bug.note),
        (Way::Driver | Way::Device, true) => (Status::Open, bug.note),
        (Way::Check(what), _) => (Status::Checked, what),
        (Way::Not(why), _) => (Status::NotReproducible, why),
    };
    Entry {
        id: bug.id,
        source: bug.source,
        symptom: bug.symptom,
        status,
        scenarios,
        rules: expected.into_iter().cloned().collect(),
        note: Some(note).filter(|note| !note.is_empty()),
    }
}

/// Whether a scenario names the bug as a source.
fn names(scenario: &Scenario, id: &str) -> bool {
    let words = scenario
        .source
        .iter()
        .flat_map(|s| s.split(|c: char| !c.is_ascii_alphanumeric()));
    words.into_iter().any(|word| word == id)
}

fn without_cell(scenario: &Scenario) -> String {
    let name = &scenario.name;
    match scenario.cell() {
        Some(_) => name.split('@').next().unwrap_or(name).to_owned(),
        None => name.clone(),
    }
}

#[cfg(test)]
mod tests;
