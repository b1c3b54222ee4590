//! What the shipped scenarios have to show, taken together.

use std::collections::BTreeSet;
use std::path::Path;

use misfire::cli::vocabulary;
use misfire::proof::accounted;
use misfire::rules::{Level, rule};
use misfire::scenario::{Library, Scenario, mistakes};
use misfire_device::fault::CATALOGUE;

fn scenarios() -> Vec<Scenario> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    match Library::open(Some(&root), &[], &vocabulary()) {
        Ok(library) => library.scenarios,
        Err(problems) => panic!("{:?}", miette::Report::new(problems)),
    }
}

#[test]
fn every_fault_of_the_catalogue_is_used_by_a_scenario() {
    let scenarios = scenarios();
    let used: BTreeSet<&str> = scenarios
        .iter()
        .flat_map(|s| &s.devices)
        .flat_map(|d| &d.faults)
        .map(|fault| fault.name())
        .collect();
    for verb in CATALOGUE {
        assert!(used.contains(verb.name), "{}", verb.name);
    }
}

#[test]
fn every_mistake_has_a_scenario_in_which_it_breaks_what_it_should_and_no_other_must_rule() {
    let scenarios = scenarios();
    for mistake in mistakes() {
        let shown = scenarios.iter().any(|scenario| {
            let made: Vec<&String> = std::iter::once(&scenario.guest.all)
                .chain(&scenario.guest.devices)
                .flat_map(|p| &p.mistakes)
                .collect();
            let expect = scenario.expect.of("reference");
            let breaks = |id: &String| id == mistake.breaks;
            let accounted = accounted(&[mistake.name.to_owned()]);
            let other_must = |id: &String| {
                !accounted.contains(id.as_str()) && rule(id).is_some_and(|r| r.level == Level::Must)
            };
            made == [mistake.name]
                && (expect.broken.iter().any(breaks) || expect.warn.iter().any(breaks))
                && !expect.broken.iter().any(other_must)
        });
        assert!(shown, "{}", mistake.name);
    }
}

#[test]
fn every_scenario_names_its_source_and_has_a_snapshot() {
    for scenario in scenarios() {
        assert!(!scenario.source.is_empty(), "{}", scenario.name);
        assert!(
            scenario.snapshot().is_file(),
            "{}",
            scenario.snapshot().display()
        );
        if let Some(cell) = scenario.cell() {
            let kept = misfire::snapshot::row::cells(&scenario.snapshot()).unwrap();
            assert!(kept.iter().any(|k| k == cell), "{}", scenario.name);
        }
    }
}

/// The driver's log of a scenario, out of its snapshot.
fn driver_log(scenarios: &[Scenario], name: &str) -> String {
    let scenario = scenarios.iter().find(|s| s.name == name).unwrap();
    let text = std::fs::read_to_string(scenario.snapshot()).unwrap();
    let log = text.split("## driver log\n").nth(1).unwrap();
    log.split("\n## ").next().unwrap().to_owned()
}

#[test]
fn a_driver_can_not_tell_our_transport_from_qemus() {
    let scenarios = scenarios();
    let ours = driver_log(&scenarios, "vectors/per-queue");
    assert!(ours.contains("queue 1 uses vector 2"), "{ours}");
    assert_eq!(ours, driver_log(&scenarios, "attach/vhost-user"));
}
