//! What counts as a proof, with runs that are made up.

use std::path::Path;

use super::*;
use crate::cli::vocabulary;
use crate::report::{FaultReport, ScenarioReport};
use crate::rules::{self, Judgement, Outcome, Severity};
use crate::scenario::read;

/// The first scenario of a file with this end, called `name`.
fn scenario(name: &str, rest: &str) -> Scenario {
    let text = format!("title = \"t\"\n[device]\nkind = \"block\"\n{rest}");
    let read = read(Path::new("a/b.toml"), name, &text, &vocabulary());
    read.unwrap().remove(0)
}

const MISTAKEN: &str = "[guest]\nmistake = \"apic-vector-as-index\"\n";

fn held(id: &'static str) -> Judgement {
    Judgement {
        id,
        level: rules::rule(id).unwrap().level,
        outcome: Outcome::Held,
        severity: None,
        evidence: vec![1],
        text: "kept".into(),
    }
}

fn broken(id: &'static str, severity: Severity) -> Judgement {
    Judgement {
        outcome: Outcome::Broken,
        severity: Some(severity),
        text: "broken".into(),
        ..held(id)
    }
}

fn run(scenario: &Scenario, rules: Vec<Judgement>, faults: &[&str], transcript: &str) -> Run {
    Run {
        report: ScenarioReport {
            name: scenario.name.clone(),
            guest: "reference".into(),
            verdict: Verdict::Pass,
            outcome: None,
            interrupts: None,
            duration_ms: 100.0,
            rules,
            faults: faults
                .iter()
                .map(|name| FaultReport {
                    name: (*name).into(),
                    id: (*name).into(),
                    fired: 1,
                })
                .collect(),
            files: std::collections::BTreeMap::new(),
            known: None,
            reasons: Vec::new(),
            notes: Vec::new(),
        },
        transcript: transcript.into(),
        row: None,
    }
}

/// The proof of made-up runs.
fn proof(runs: &[(Scenario, Run)], changed: &[(&str, String)]) -> Proof {
    let shown: Vec<Shown<'_>> = runs
        .iter()
        .map(|(scenario, run)| Shown { scenario, run })
        .collect();
    prove(&shown, changed, Scope::All)
}

fn of<'a>(proof: &'a Proof, id: &str) -> &'a RuleProof {
    proof.rules.iter().find(|r| r.id == id).unwrap()
}

fn pair(name: &str, rest: &str, rules: Vec<Judgement>) -> (Scenario, Run) {
    let scenario = scenario(name, rest);
    let run = run(&scenario, rules, &[], "");
    (scenario, run)
}

#[test]
fn a_rule_is_proven_by_a_correct_driver_that_keeps_it_and_a_mistake_that_breaks_it() {
    let good = || pair("a/good", "", vec![held("VIO-MSIX-001")]);
    let bad = || {
        let rules = vec![broken("VIO-MSIX-001", Severity::Fail)];
        pair("a/bad", MISTAKEN, rules)
    };
    for (runs, proven) in [
        (vec![good(), bad()], true),
        (vec![good()], false),
        (vec![bad()], false),
        // A mistaken driver that keeps the rule is no correct one.
        (
            vec![pair("a/good", MISTAKEN, vec![held("VIO-MSIX-001")]), bad()],
            false,
        ),
        // To fall short of a MUST rule by a warning is not to break it.
        (
            vec![
                good(),
                pair(
                    "a/bad",
                    MISTAKEN,
                    vec![broken("VIO-MSIX-001", Severity::Warn)],
                ),
            ],
            false,
        ),
    ] {
        assert_eq!(of(&proof(&runs, &[]), "VIO-MSIX-001").proven, proven);
    }
}

#[test]
fn a_run_that_did_not_come_out_as_it_should_proves_nothing_and_is_named() {
    let mut bad = pair("a/good", "", vec![held("VIO-MSIX-001")]);
    bad.1.report.verdict = Verdict::Fail;
    let proof = proof(&[bad], &[]);
    assert!(of(&proof, "VIO-MSIX-001").held.is_empty());
    assert_eq!(proof.unexpected[0].scenario, "a/good");
    assert!(!proof.complete());
}

#[test]
fn a_rule_that_blames_a_driver_for_what_it_did_not_do_is_a_false_alarm() {
    let alarms = |rest, id| {
        let runs = [pair("a/bad", rest, vec![broken(id, Severity::Fail)])];
        proof(&runs, &[]).false_alarms
    };
    // It is the mistake's own, or follows from it.
    assert_eq!(alarms(MISTAKEN, "VIO-MSIX-001"), []);
    let follower = rules::rules()
        .find(|r| r.follows.contains(&"VIO-MSIX-001"))
        .unwrap();
    assert_eq!(alarms(MISTAKEN, follower.id), []);
    // It is neither.
    let alarm = &alarms(MISTAKEN, "VIO-INIT-002")[0];
    assert_eq!(
        (alarm.rule, alarm.mistakes.as_slice()),
        ("VIO-INIT-002", &["apic-vector-as-index".to_owned()][..])
    );
    // The driver makes no mistake at all.
    assert_eq!(alarms("", "VIO-MSIX-001").len(), 1);
    // A recommendation alarms nobody.
    assert_eq!(alarms(MISTAKEN, "VIO-ISR-003"), []);
}

#[test]
fn a_rule_that_can_not_be_observed_is_listed_with_its_reason_and_not_counted() {
    let proof = proof(&[], &[]);
    assert!(proof.unobservable.iter().any(|u| u.id == "VIO-SPL-010"));
    assert!(proof.rules.iter().all(|r| r.id != "VIO-SPL-010"));
    assert_eq!(
        proof.rules.len() + proof.unobservable.len(),
        rules::rules().count()
    );
}

const DROPS: &str = "[[fault]]\nid = \"x\"\non = \"irq.due[q0]\"\ndo = \"irq.drop\"\n[[step]]\nwait = \"ready\"\n[[step]]\nwait = \"fired(x)\"\n[[step]]\nload = \"read\"\n";

#[test]
fn a_fault_is_taken_out_and_what_waits_for_it_does_not_wait_long() {
    let scenario = scenario("a/drops", DROPS);
    let run = run(&scenario, Vec::new(), &["irq.drop"], "");
    let shown = [Shown {
        scenario: &scenario,
        run: &run,
    }];
    let trials = trials(&shown, Scope::Named);
    let [trials] = trials.as_slice() else {
        panic!("{trials:?}")
    };
    let trial = &trials[0];
    assert_eq!((trial.fault, trial.of.as_str()), ("irq.drop", "a/drops"));
    assert!(trial.scenario.devices[0].faults.is_empty());
    let seconds: Vec<f32> = trial
        .scenario
        .steps
        .iter()
        .map(|s| s.timeout.as_secs_f32())
        .collect();
    assert_eq!(seconds, [10.0, 0.05, 2.0]);
}

#[test]
fn what_a_transcript_says_of_the_fault_itself_is_no_difference() {
    let scenario = scenario("a/drops", DROPS);
    let with = "## steps\n1 wait fired(x): end\n2 read: end\n\n## device 0: faults\nx (irq.drop)\n";
    let run = run(&scenario, Vec::new(), &["irq.drop"], with);
    let shown = [Shown {
        scenario: &scenario,
        run: &run,
    }];
    let trial = &trials(&shown, Scope::Named)[0][0];
    assert!(!trial.differs("## steps\n1 wait fired(x): timeout\n2 read: end\n"));
    assert!(trial.differs("## steps\n1 wait fired(x): timeout\n2 read: failed\n"));
}

#[test]
fn a_fault_is_proven_by_a_scenario_in_which_it_fires_and_which_is_another_without_it() {
    let scenario = scenario("a/drops", DROPS);
    let run = run(&scenario, Vec::new(), &["irq.drop"], "");
    let runs = [(scenario, run)];
    let fault = |changed: &[(&str, String)]| {
        let proof = proof(&runs, changed);
        let fault = proof.faults.iter().find(|f| f.name == "irq.drop");
        fault.unwrap().proven
    };
    assert!(!fault(&[]));
    assert!(fault(&[("irq.drop", "a/drops".into())]));
    assert!(!fault(&[("irq.delay", "a/drops".into())]));
}

#[test]
fn what_is_not_proven_is_told_with_the_half_that_is_missing() {
    let text = proof(&[pair("a/good", "", vec![held("VIO-MSIX-001")])], &[]).to_string();
    let line = |id: &str| text.lines().find(|l| l.starts_with(id)).unwrap();
    assert!(line("VIO-MSIX-001").ends_with("no mistake breaks it; held in a/good"));
    assert!(line("VIO-INIT-001").ends_with("nothing puts it to the test"));
    assert!(line("irq.drop").ends_with("fires in no scenario"));
    assert!(text.ends_with("0 false alarms in 1 scenarios"), "{text}");
}
