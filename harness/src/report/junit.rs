//! JUnit XML, for CI systems.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Document, ScenarioReport};
use crate::guest::{NT, STANDING};
use crate::verdict::Verdict;

/// The run as JUnit XML: a suite for each family.
///
/// # Errors
/// Those of the XML writer.
pub fn junit(document: &Document<'_>) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new("misfire");
    report.set_time(seconds(document.summary.total_ms));
    let mut suites: Vec<TestSuite> = Vec::new();
    for scenario in &document.scenarios {
        let (family, name) = scenario
            .name
            .rsplit_once('/')
            .unwrap_or(("scenarios", &scenario.name));
        if suites.last().is_none_or(|s| s.name.as_str() != family) {
            suites.push(TestSuite::new(family));
        }
        if let Some(suite) = suites.last_mut() {
            suite.add_test_case(case(scenario, family, name));
        }
    }
    report.add_test_suites(suites);
    report.to_string()
}

fn case(scenario: &ScenarioReport, family: &str, name: &str) -> TestCase {
    let status = match scenario.verdict {
        Verdict::Pass | Verdict::Xfail => TestCaseStatus::success(),
        Verdict::Skip => TestCaseStatus::skipped(),
        Verdict::Fail | Verdict::Xpass => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("{}.{family}", scenario.guest));
    case.set_time(seconds(scenario.duration_ms));
    if let Some(first) = scenario.reasons.first() {
        case.status.set_message(first.clone());
        case.status.set_description(scenario.reasons.join("\n"));
    }
    let standing = (scenario.guest == NT).then(|| STANDING.to_owned());
    let told: Vec<String> = scenario.notes.iter().cloned().chain(standing).collect();
    if !told.is_empty() {
        case.set_system_out(told.join("\n"));
    }
    case
}

fn seconds(millis: f64) -> Duration {
    Duration::try_from_secs_f64(millis / 1000.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::report;
    use super::*;

    #[test]
    fn failures_errors_and_skips_are_told_apart() {
        let scenarios = [
            report("a/pass", Verdict::Pass, 1.0),
            report("a/fail", Verdict::Fail, 1.0),
            report("b/error", Verdict::Error, 1.0),
            report("b/skip", Verdict::Skip, 1.0),
        ];
        let document = Document::new(&scenarios, Duration::from_millis(4));
        let xml = junit(&document).unwrap();
        for part in [
            r#"tests="4" skipped="1" failures="1" errors="1""#,
            r#"<testsuite name="a" tests="2""#,
            r#"<testsuite name="b" tests="2""#,
            r#"message="outcome: expected started, found degraded""#,
            "<skipped/>",
        ] {
            assert!(xml.contains(part), "{part} in {xml}");
        }
    }
}
