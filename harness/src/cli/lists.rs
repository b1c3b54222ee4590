//! What `--format json` prints of the rules and of the faults.

use serde::Serialize;

use crate::rules::{FAMILIES, Family, Level, Rule};

/// Every rule.
#[derive(Debug, Serialize)]
pub(super) struct RuleList {
    schema: u32,
    summary: RuleCount,
    rules: Vec<RuleEntry>,
}

#[derive(Debug, Serialize)]
struct RuleCount {
    total: usize,
    observable: usize,
}

#[derive(Debug, Serialize)]
struct RuleEntry {
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
}

impl RuleList {
    pub(super) fn new() -> Self {
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
        };
        let rules: Vec<RuleEntry> = FAMILIES
            .iter()
            .flat_map(|family| family.rules.iter().map(move |rule| entry(family, rule)))
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
