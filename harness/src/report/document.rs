//! The document of a run, as `--format json` prints it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::guest::{NT, STANDING};
use crate::rules::{Judgement, Level, Severity};
use crate::scenario::Outcome;
use crate::verdict::{Verdict, ruling};

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Document<'a> {
    /// Version of this document's form; additions do not change it.
    pub schema: u32,
    /// What has to be known of the guest to read the verdicts; none for the reference guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<&'static str>,
    /// The numbers.
    pub summary: Summary,
    /// In the order of their names.
    pub scenarios: Vec<&'a ScenarioReport>,
}

/// Verdicts counted, and times.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Scenarios in all.
    pub total: usize,
    /// As expected.
    pub pass: usize,
    /// Not as expected.
    pub fail: usize,
    /// The scenario could not be put to the test.
    pub error: usize,
    /// Not meant for this guest.
    pub skip: usize,
    /// Deviates as predicted.
    pub xfail: usize,
    /// Deviates no longer.
    pub xpass: usize,
    /// Rules that bind and were broken, added up over all scenarios, whatever their verdicts: those
    /// that a scenario expects to be broken count too. What is only noted or advised does not.
    pub rules_broken: usize,
    /// The median of the scenarios' times, in milliseconds.
    pub median_ms: f64,
    /// From the first start to the last verdict, in milliseconds.
    pub total_ms: f64,
}

/// What came of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioReport {
    /// `family/name`, or `family/name@variant`.
    pub name: String,
    /// The guest.
    pub guest: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What the driver did; none if the scenario could not be carried out.
    pub outcome: Option<Outcome>,
    /// How the driver is told; several devices' are joined by commas. None without an outcome.
    pub interrupts: Option<String>,
    /// From the start of the scenario to its verdict, in milliseconds.
    pub duration_ms: f64,
    /// Every rule.
    #[serde(serialize_with = "told")]
    pub rules: Vec<Judgement>,
    /// Every fault of the scenario.
    pub faults: Vec<FaultReport>,
    /// Where the run is kept, by what it is.
    pub files: BTreeMap<&'static str, String>,
    /// Why the driver deviates as it is known to, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// Why the verdict is not PASS.
    pub reasons: Vec<String>,
    /// What is worth knowing although it is as expected: breaches that the scenario asks for, and
    /// recommendations that were not followed.
    pub notes: Vec<String>,
}

/// A judgement as documents have it: with `noted` for what is merely worth knowing.
#[derive(Debug, Serialize)]
struct Told<'a> {
    id: &'a str,
    level: Level,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<Severity>,
    evidence: &'a [u64],
    text: &'a str,
}

impl<'a> From<&'a Judgement> for Told<'a> {
    fn from(judgement: &'a Judgement) -> Self {
        Self {
            id: judgement.id,
            level: judgement.level,
            outcome: ruling(judgement).replace(' ', "-"),
            severity: judgement.severity,
            evidence: &judgement.evidence,
            text: &judgement.text,
        }
    }
}

/// Serialises judgements as every document has them.
pub(crate) fn told<S: Serializer>(rules: &[Judgement], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rules.iter().map(Told::from))
}

/// How often a fault fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultReport {
    /// Its name in the catalogue.
    pub name: String,
    /// Its id in the scenario.
    pub id: String,
    /// How often.
    pub fired: u64,
}

impl<'a> Document<'a> {
    /// Collects a run that took `total`.
    pub fn new(scenarios: impl IntoIterator<Item = &'a ScenarioReport>, total: Duration) -> Self {
        let mut scenarios: Vec<_> = scenarios.into_iter().collect();
        scenarios.sort_by(|a, b| a.name.cmp(&b.name));
        let count = |verdict| scenarios.iter().filter(|s| s.verdict == verdict).count();
        let mut times: Vec<f64> = scenarios
            .iter()
            .filter(|s| s.verdict != Verdict::Skip)
            .map(|s| s.duration_ms)
            .collect();
        let summary = Summary {
            total: scenarios.len(),
            pass: count(Verdict::Pass),
            fail: count(Verdict::Fail),
            error: count(Verdict::Error),
            skip: count(Verdict::Skip),
            xfail: count(Verdict::Xfail),
            xpass: count(Verdict::Xpass),
            rules_broken: scenarios
                .iter()
                .flat_map(|s| &s.rules)
                .filter(|r| r.fails())
                .count(),
            median_ms: median(&mut times),
            total_ms: millis(total),
        };
        let below = scenarios.iter().any(|s| s.guest == NT);
        Self {
            schema: 1,
            standing: below.then_some(STANDING),
            summary,
            scenarios,
        }
    }

    /// Whether everything is as expected: the command's exit status depends on it.
    pub fn as_expected(&self) -> bool {
        self.summary.fail + self.summary.error + self.summary.xpass == 0
    }
}

/// Milliseconds, to a hundredth.
pub(crate) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

/// The value in the middle; 0 when there is none.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values {
        [] => 0.0,
        _ if values.len() % 2 == 1 => values[middle],
        _ => ((values[middle - 1] + values[middle]) * 50.0).round() / 100.0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rules;

    /// A report with one rule and one fault.
    pub(crate) fn report(name: &str, verdict: Verdict, duration_ms: f64) -> ScenarioReport {
        ScenarioReport {
            name: name.into(),
            guest: "reference".into(),
            verdict,
            outcome: Some(Outcome::Degraded),
            interrupts: Some("intx".into()),
            duration_ms,
            rules: vec![Judgement {
                id: "VIO-MSIX-001",
                level: rules::Level::Must,
                outcome: rules::Outcome::Broken,
                severity: Some(rules::Severity::Fail),
                evidence: vec![341, 377],
                text: "vector 0x63 is beyond the table of 3".into(),
            }],
            faults: vec![FaultReport {
                name: "vector.reject".into(),
                id: "refuse".into(),
                fired: 2,
            }],
            files: [("trace", "out/vectors/refused/trace.jsonl".to_owned())].into(),
            known: None,
            reasons: if verdict == Verdict::Fail {
                vec!["outcome: expected started, found degraded".into()]
            } else {
                vec![]
            },
            notes: vec![],
        }
    }

    #[test]
    fn the_document_has_the_form_that_is_documented() {
        let scenarios = [
            report("b/two", Verdict::Fail, 150.0),
            report("a/one", Verdict::Pass, 130.5),
        ];
        let document = Document::new(&scenarios, Duration::from_millis(300));
        insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
        assert!(!document.as_expected());
    }

    #[test]
    fn what_is_worth_knowing_is_noted_and_other_outcomes_keep_their_words() {
        use rules::{Outcome, Severity};
        for (outcome, severity, word) in [
            (Outcome::Broken, Some(Severity::Info), "noted"),
            (Outcome::Broken, Some(Severity::Warn), "broken"),
            (Outcome::Broken, Some(Severity::Fail), "broken"),
            (Outcome::Held, None, "held"),
            (Outcome::NotApplicable, None, "not-applicable"),
        ] {
            let mut scenario = report("a/b", Verdict::Pass, 1.0);
            scenario.rules[0].outcome = outcome;
            scenario.rules[0].severity = severity;
            let document = Document::new([&scenario], Duration::ZERO);
            let json = serde_json::to_value(&document).unwrap();
            assert_eq!(json["scenarios"][0]["rules"][0]["outcome"], word);
            let fails = usize::from(severity == Some(Severity::Fail));
            assert_eq!(document.summary.rules_broken, fails, "{outcome:?}");
        }
    }

    #[test]
    fn the_median_is_the_value_in_the_middle() {
        assert_eq!(median(&mut []), 0.0);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_skip_or_a_predicted_deviation_is_no_failure_and_an_unpredicted_success_is() {
        for (verdict, good) in [
            (Verdict::Pass, true),
            (Verdict::Skip, true),
            (Verdict::Xfail, true),
            (Verdict::Fail, false),
            (Verdict::Error, false),
            (Verdict::Xpass, false),
        ] {
            let scenario = report("a/b", verdict, 1.0);
            let document = Document::new([&scenario], Duration::ZERO);
            assert_eq!(document.as_expected(), good, "{verdict}");
        }
    }
}
