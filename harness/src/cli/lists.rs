//! What `--format json` prints of the rules and of the faults.

use misfire_device::fault::{CATALOGUE, Standing, TABLE, standing};
use misfire_device::trace::Legality;
use serde::Serialize;

use crate::rules::{FAMILIES, Family, Level, Rule};
use crate::run::REFERENCE;
use crate::scenario::{Expect, Scenario};

/// Every rule.
#[derive(Debug, Serialize)]
pub(super) struct RuleList<'a> {
    schema: u32,
    summary: RuleCount,
    rules: Vec<RuleEntry<'a>>,
}

#[derive(Debug, Serialize)]
struct RuleCount {
    total: usize,
    observable: usize,
}

#[derive(Debug, Serialize)]
struct RuleEntry<'a> {
    id: &'static str,
    family: &'static str,
    level: Level,
    sentence: &'static str,
    source: &'static str,
    breaks: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    proof: &'static str,
    follows: &'static [&'static str],
    observable: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Scenarios that expect it to be held.
    held: Vec<&'a str>,
    /// Scenarios that expect it to be broken.
    broken: Vec<&'a str>,
}

impl<'a> RuleList<'a> {
    pub(super) fn new(scenarios: &'a [Scenario]) -> Self {
        let naming = |of: fn(&Expect) -> Vec<&String>, id: &str| {
            let names = |s: &&Scenario| of(s.expect.of(REFERENCE)).iter().any(|r| *r == id);
            scenarios
                .iter()
                .filter(names)
                .map(|s| s.name.as_str())
                .collect()
        };
        let entry = |family: &Family, rule: &Rule| RuleEntry {
            id: rule.id,
            family: family.name,
            level: rule.level,
            sentence: rule.sentence,
            source: rule.source,
            breaks: rule.breaks,
            proof: rule.proof,
            follows: rule.follows,
            observable: rule.unobservable.is_none(),
            reason: rule.unobservable,
            held: naming(|e| e.held.iter().collect(), rule.id),
            broken: naming(|e| e.broken.iter().chain(&e.warn).collect(), rule.id),
        };
        let rules: Vec<RuleEntry<'a>> = FAMILIES
            .iter()
            .flat_map(|family| family.rules.iter().map(|rule| entry(family, rule)))
            .collect();
        Self {
            schema: 1,
            summary: RuleCount {
                total: rules.len(),
                observable: rules.iter().filter(|r| r.observable).count(),
            },
            rules,
        }
    }
}

/// Every fault, and the table of what can be done to what.
#[derive(Debug, Serialize)]
pub(super) struct FaultList<'a> {
    schema: u32,
    summary: FaultCount,
    faults: Vec<FaultEntry<'a>>,
    table: Vec<CellEntry>,
}

#[derive(Debug, Serialize)]
struct FaultCount {
    total: usize,
    cells: usize,
}

#[derive(Debug, Serialize)]
struct FaultEntry<'a> {
    name: &'static str,
    classes: Vec<Legality>,
    summary: &'static str,
    sentence: &'static str,
    section: &'static str,
    trigger: &'static str,
    /// Scenarios that use it.
    scenarios: Vec<&'a str>,
}

/// One name of one cell.
#[derive(Debug, Serialize)]
struct CellEntry {
    verb: &'static str,
    object: &'static str,
    fault: &'static str,
    standing: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl<'a> FaultList<'a> {
    pub(super) fn new(scenarios: &'a [Scenario]) -> Self {
        let uses = |s: &Scenario, name: &str| {
            let mut faults = s.devices.iter().flat_map(|d| &d.faults);
            faults.any(|fault| fault.name() == name)
        };
        let faults = CATALOGUE.iter().map(|verb| FaultEntry {
            name: verb.name,
            classes: verb.classes.iter().map(|(class, _)| *class).collect(),
            summary: verb.summary,
            sentence: verb.sentence,
            section: verb.section,
            trigger: verb.needs.words(),
            scenarios: scenarios
                .iter()
                .filter(|s| uses(s, verb.name))
                .map(|s| s.name.as_str())
                .collect(),
        });
        let cells = TABLE.iter().flat_map(|cell| {
            cell.faults.iter().map(|fault| {
                let (standing, reason) = match standing(fault) {
                    Standing::Built => ("built", None),
                    Standing::Otherwise(why) => ("otherwise", Some(why)),
                    Standing::Impossible(why) => ("impossible", Some(why)),
                    Standing::Missing => ("missing", None),
                };
                CellEntry {
                    verb: cell.verb,
                    object: cell.object,
                    fault,
                    standing,
                    reason,
                }
            })
        });
        Self {
            schema: 1,
            summary: FaultCount {
                total: CATALOGUE.len(),
                cells: TABLE.len(),
            },
            faults: faults.collect(),
            table: cells.collect(),
        }
    }
}
