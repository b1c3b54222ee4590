//! Whether the verdicts can be trusted: each rule and each fault shown to work by the shipped scenarios.
//!
//! A rule is proven when a correct driver keeps it in one scenario and a driver with a named mistake
//! breaks it in another, a fault when it fires in a scenario whose transcript is another one without it.
//! A *false alarm* is a MUST rule that says of a driver what is not so: one that breaks although
//! neither the mistake that was made breaks it, nor what follows from that (`Rule::follows`).
//!
//! Pure: what came of the runs goes in, the [`Proof`] comes out.

mod faults;
mod rules;
mod words;

use serde::Serialize;

use crate::rules::Level;
use crate::run::Run;
use crate::scenario::Scenario;
use crate::verdict::Verdict;

pub use faults::{Trial, trials, without_faults};
pub use rules::accounted;

/// A scenario, and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Its run.
    pub run: &'a Run,
}

/// What is proven, and what is not.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// Version of this document's form; additions do not change it.
    pub schema: u32,
    /// The numbers.
    pub summary: Summary,
    /// The observable rules, in the order of the registry.
    pub rules: Vec<RuleProof>,
    /// The others.
    pub unobservable: Vec<Unobservable>,
    /// Rules that blame a driver for what it did not do.
    pub false_alarms: Vec<FalseAlarm>,
    /// The faults, in the order of the catalogue.
    pub faults: Vec<FaultProof>,
    /// Scenarios that did not come out as they should, so that they prove nothing.
    pub unexpected: Vec<Unexpected>,
}

/// The numbers of a proof.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Scenarios that were run.
    pub scenarios: usize,
    /// Rules that can be observed.
    pub observable: usize,
    /// Those that are proven both ways.
    pub proven: usize,
    /// The same two numbers for MUST rules.
    pub must: (usize, usize),
    /// False alarms.
    pub false_alarms: usize,
    /// Faults.
    pub faults: usize,
    /// Those that are proven.
    pub faults_proven: usize,
}

/// What is known of one rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleProof {
    /// The rule.
    pub id: &'static str,
    /// How binding it is.
    pub level: Level,
    /// Whether both lists have something.
    pub proven: bool,
    /// Scenarios in which the correct driver keeps it.
    pub held: Vec<String>,
    /// Scenarios in which a mistake breaks it.
    pub broken: Vec<Breach>,
}

/// A mistake that broke a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// Where.
    pub scenario: String,
    /// The mistakes of its driver.
    pub mistakes: Vec<String>,
}

/// A rule that nothing can decide.
#[derive(Clone, Debug, Serialize)]
pub struct Unobservable {
    /// The rule.
    pub id: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// A rule that blames a driver for what it did not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FalseAlarm {
    /// The rule.
    pub rule: &'static str,
    /// Where.
    pub scenario: String,
    /// The mistakes that its driver makes; none: it is correct.
    pub mistakes: Vec<String>,
    /// What the rule says.
    pub text: String,
}

/// What is known of one fault.
#[derive(Clone, Debug, Serialize)]
pub struct FaultProof {
    /// Its name in the catalogue.
    pub name: &'static str,
    /// Whether both of the following are there.
    pub proven: bool,
    /// Scenarios in which it fires.
    pub fires: Vec<String>,
    /// The one whose transcript is another one without it.
    pub changes: Option<String>,
}

/// A scenario that did not come out as it should.
#[derive(Clone, Debug, Serialize)]
pub struct Unexpected {
    /// The scenario.
    pub scenario: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<String>,
}

/// What a proof is about: everything, or what the chosen scenarios name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every rule and every fault.
    All,
    /// The rules that the scenarios expect something of, and the faults that they use.
    Named,
}

/// The proof that `shown` gives. `changed` are faults and the scenario whose transcript needs them.
pub fn prove(shown: &[Shown<'_>], changed: &[(&str, String)], scope: Scope) -> Proof {
    let rules = rules::proofs(shown, scope);
    let faults = faults::proofs(shown, changed, scope);
    let false_alarms = rules::false_alarms(shown);
    let proven = |level: Option<Level>| {
        let of = rules.iter().filter(|r| level.is_none_or(|l| r.level == l));
        let (mut good, mut all) = (0, 0);
        for rule in of {
            good += usize::from(rule.proven);
            all += 1;
        }
        (good, all)
    };
    let (good, all) = proven(None);
    let summary = Summary {
        scenarios: shown.len(),
        observable: all,
        proven: good,
        must: proven(Some(Level::Must)),
        false_alarms: false_alarms.len(),
        faults: faults.len(),
        faults_proven: faults.iter().filter(|f| f.proven).count(),
    };
    let unexpected = shown
        .iter()
        .filter(|s| s.run.report.verdict != Verdict::Pass)
        .map(|s| Unexpected {
            scenario: s.scenario.name.clone(),
            verdict: s.run.report.verdict,
            reasons: s.run.report.reasons.clone(),
        })
        .collect();
    Proof {
        schema: 1,
        summary,
        rules,
        unobservable: rules::unobservable(),
        false_alarms,
        faults,
        unexpected,
    }
}

impl Proof {
    /// Whether nothing is left to prove.
    pub fn complete(&self) -> bool {
        let s = &self.summary;
        s.proven == s.observable
            && s.false_alarms == 0
            && s.faults_proven == s.faults
            && self.unexpected.is_empty()
    }
}

#[cfg(test)]
mod tests;
