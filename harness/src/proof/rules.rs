//! Which rules are proven, and which cry wolf.

use std::collections::BTreeSet;

use super::{Breach, FalseAlarm, RuleProof, Scope, Shown, Unobservable};
use crate::rules::{self, Judgement, Level, Outcome};
use crate::scenario::{Scenario, mistakes as all_mistakes};
use crate::verdict::Verdict;

/// What each observable rule in scope has for it.
pub(super) fn proofs(shown: &[Shown<'_>], scope: Scope) -> Vec<RuleProof> {
    let named: BTreeSet<&str> = shown.iter().flat_map(|s| names(s.scenario)).collect();
    rules::rules()
        .filter(|rule| rule.unobservable.or(rule.elsewhere).is_none())
        .filter(|rule| scope == Scope::All || named.contains(rule.id))
        .map(|rule| {
            let (mut held, mut broken) = (Vec::new(), Vec::new());
            for s in shown {
                let report = &s.run.report;
                let Some(judgement) = report.rules.iter().find(|j| j.id == rule.id) else {
                    continue;
                };
                if report.verdict != Verdict::Pass {
                    continue;
                }
                let mistakes = mistakes(s.scenario);
                if mistakes.is_empty() && judgement.outcome == Outcome::Held {
                    held.push(s.scenario.name.clone());
                }
                if !mistakes.is_empty() && breaks(judgement) {
                    broken.push(Breach {
                        scenario: s.scenario.name.clone(),
                        mistakes,
                    });
                }
            }
            RuleProof {
                id: rule.id,
                level: rule.level,
                proven: !held.is_empty() && !broken.is_empty(),
                held,
                broken,
            }
        })
        .collect()
}

/// A MUST rule is broken when the driver is wrong by it; of any other a finding is enough.
fn breaks(judgement: &Judgement) -> bool {
    match judgement.level {
        Level::Must => judgement.fails(),
        _ => judgement.outcome == Outcome::Broken,
    }
}

/// MUST rules that a run broke and that neither its driver's mistakes break nor what follows from them.
pub(super) fn false_alarms(shown: &[Shown<'_>]) -> Vec<FalseAlarm> {
    let mut alarms = Vec::new();
    for s in shown {
        let mistakes = mistakes(s.scenario);
        let accounted = accounted(&mistakes);
        for judgement in &s.run.report.rules {
            if judgement.level == Level::Must
                && judgement.fails()
                && !accounted.contains(judgement.id)
            {
                alarms.push(FalseAlarm {
                    rule: judgement.id,
                    scenario: s.scenario.name.clone(),
                    mistakes: mistakes.clone(),
                    text: judgement.text.clone().into_owned(),
                });
            }
        }
    }
    alarms
}

/// The rules that these mistakes break, and those that follow from them.
pub fn accounted(mistakes: &[String]) -> BTreeSet<&'static str> {
    let mut rules: BTreeSet<&'static str> = all_mistakes()
        .filter(|m| mistakes.iter().any(|name| name == m.name))
        .map(|m| m.breaks)
        .collect();
    loop {
        let before = rules.len();
        for rule in rules::rules() {
            if rule.follows.iter().any(|root| rules.contains(root)) {
                rules.insert(rule.id);
            }
        }
        if rules.len() == before {
            return rules;
        }
    }
}

/// The mistakes that the driver of a scenario makes on any device.
fn mistakes(scenario: &Scenario) -> Vec<String> {
    let each = std::iter::once(&scenario.guest.all).chain(&scenario.guest.devices);
    let names: BTreeSet<&String> = each.flat_map(|p| &p.mistakes).collect();
    names.into_iter().cloned().collect()
}

/// The rules that a scenario expects something of.
fn names(scenario: &Scenario) -> impl Iterator<Item = &str> {
    let expect = scenario.expect.of(crate::run::REFERENCE);
    [&expect.held, &expect.broken, &expect.warn]
        .into_iter()
        .flatten()
        .map(String::as_str)
}

/// The rules that nothing can decide.
pub(super) fn unobservable() -> Vec<Unobservable> {
    rules::rules()
        .filter_map(|rule| {
            Some(Unobservable {
                id: rule.id,
                reason: rule.unobservable.or(rule.elsewhere)?,
            })
        })
        .collect()
}
