//! What StorPort asks for: the correct miniports keep it, and each mistake breaks the rule that it is there for.

use std::path::Path;

use misfire::cli::vocabulary;
use misfire::report::one_scenario;
use misfire::rules::Outcome as Ruling;
use misfire::scenario::{Library, Outcome};

use crate::bench::*;
use crate::dumps::DUMP_BREACHES;
use crate::processors::RACES;
use crate::waits::DUMP_WAITS;

/// Mistakes in what StorPort asks for: each with the scenario that shows it, and the rules that it breaks.
const BREACHES: &[(&str, &str, &[&str])] = &[
    ("irql-kept", "vectors/per-queue", &["WIN-SPT-001"]),
    ("lock-taken-twice", "vectors/per-queue", &["WIN-SPT-002"]),
    ("lock-kept", "vectors/per-queue", &["WIN-SPT-002"]),
    ("completes-twice", "vectors/per-queue", &["WIN-SPT-003"]),
    (
        "reset-keeps-requests",
        "rings/stall@until-reset",
        &["WIN-SPT-003"],
    ),
    ("address-not-mapped", "vectors/per-queue", &["WIN-SPT-004"]),
    (
        "dpc-not-initialised",
        "shapes/table@msix=1,pin=true,queues=1",
        &["WIN-SPT-005"],
    ),
    (
        "found-odd",
        "shapes/features@no-version-1",
        &["WIN-SPT-006"],
    ),
    ("long-stall", "vectors/per-queue", &["WIN-SPT-007"]),
    ("touches-completed", "vectors/per-queue", &["WIN-SPT-008"]),
    ("touches-removed", "hotplug/surprise", &["WIN-SPT-009"]),
    (
        "polls-removed",
        "hotplug/surprise",
        &[
            "WIN-PNP-001",
            "WIN-STOR-001",
            "WIN-SPT-009",
            "WIN-SPT-015",
            "WIN-SYS-001",
        ],
    ),
    ("locks-out-of-order", "vectors/per-queue", &["WIN-SPT-002"]),
    ("locks-either-way", "vectors/per-queue", &["WIN-SPT-020"]),
    ("keeps-pnp-request", "hotplug/orderly", &["WIN-SPT-010"]),
    ("keeps-power-request", "power/sleep", &["WIN-SPT-010"]),
    (
        "control-list-overrun",
        "vectors/per-queue",
        &["WIN-SPT-011"],
    ),
    ("unit-list-overrun", "scsi/disk", &["WIN-SPT-011"]),
    (
        "overruns-common-buffer",
        "vectors/per-queue",
        &["WIN-SPT-012", "WIN-SYS-001"],
    ),
    (
        "overruns-srb-extension",
        "vectors/per-queue",
        &["WIN-SPT-012", "WIN-SYS-001"],
    ),
    (
        "overruns-device-extension",
        "vectors/per-queue",
        &["WIN-SPT-012", "WIN-SYS-001"],
    ),
    ("dma-elsewhere", "vectors/per-queue", &["WIN-SPT-013"]),
    ("claims-all", "interrupts/line", &["WIN-SPT-014"]),
    ("claims-nothing", "interrupts/line", &["WIN-SPT-014"]),
    (
        "endless-poll",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    (
        "endless-memory-poll",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    (
        "endless-poll-in-interrupt",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    (
        "endless-poll-in-dpc",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    (
        "endless-loop",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    (
        "endless-poll-interrupts-off",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    (
        "endless-poll-of-two",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    (
        "endless-poll-of-both",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    (
        "endless-pauses",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    ("ignores-unit", "scsi/units", &["WIN-SPT-018"]),
    ("completes-early", "vectors/per-queue", &["WIN-SPT-017"]),
    (
        "reads-completed-early",
        "vectors/per-queue",
        &["WIN-SPT-017"],
    ),
    (
        "writes-completed-early",
        "vectors/per-queue",
        &["WIN-SPT-017"],
    ),
];

#[test]
fn the_correct_miniport_keeps_what_storport_asks_for() {
    let reports = run(
        "blk-release.sys",
        &[
            "vectors/per-queue",
            "reset/slow",
            "hotplug/surprise",
            "interrupts/line",
        ],
        None,
    );
    for id in [
        "001", "002", "003", "004", "005", "006", "007", "008", "009", "010", "011", "012", "013",
        "014", "015", "017",
    ] {
        let id = format!("WIN-SPT-{id}");
        let mut rules = reports.iter().flat_map(|report| &report.rules);
        assert!(
            rules.any(|r| r.id == id && r.outcome == Ruling::Held),
            "{id}"
        );
    }
}

#[test]
fn a_breach_of_what_storport_asks_for_breaks_its_rule_and_no_other() {
    for (mistake, scenario, rules) in BREACHES {
        let reports = run(
            image_for(scenario),
            &[scenario],
            Some(format!("mistake={mistake}")),
        );
        let broken = broken(&reports[0]);
        assert_eq!(
            broken,
            *rules,
            "{mistake}: {}",
            one_scenario(&reports[0], false)
        );
    }
}

#[test]
fn every_mistake_of_the_miniports_is_made_in_a_scenario_or_a_test() {
    let root = Path::new(HERE).join("../scenarios");
    let library = Library::open(Some(&root), &[], &vocabulary()).unwrap();
    let drivers = ["blk.sys", "scsi.sys"].map(|image| driver(image, None));
    let scenarios = library.scenarios.iter();
    let scenarios = scenarios.filter(|s| drivers.iter().any(|d| d.unsuited(s).is_none()));
    let mut made: Vec<&str> = scenarios
        .flat_map(|s| std::iter::once(&s.guest.all).chain(&s.guest.devices))
        .flat_map(|set| set.mistakes.iter().map(String::as_str))
        .collect();
    made.extend(BREACHES.iter().chain(RACES).map(|(mistake, ..)| *mistake));
    made.extend(DUMP_BREACHES);
    made.extend(DUMP_WAITS.iter().map(|(mistake, _)| *mistake));
    // The first five are none, the others have tests of their own or are made with scenarios' own words.
    made.extend([
        "legacy-interface",
        "calls-routines",
        "waits-long",
        "takes-liberties",
        "half-duplex",
        "deadlocks",
    ]);
    let left = mistakes();
    let left: Vec<_> = left
        .iter()
        .filter(|own| !made.contains(&own.as_str()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_overrun_is_a_crash_that_names_its_place_in_the_image() {
    let parameter = Some("mistake=overruns-common-buffer".to_owned());
    let reports = run("blk-release.sys", &["vectors/per-queue"], parameter);
    assert_eq!(reports[0].outcome, Some(Outcome::Crashed));
    let log = log(&reports[0]);
    assert!(
        log.contains("NT: the exception is in blk-release.sys+0x"),
        "{log}"
    );
    assert!(log.contains("(the function 0x"), "{log}");
    let calls = log
        .lines()
        .skip_while(|line| !line.contains("the last calls into the model"));
    let calls: Vec<&str> = calls.skip(1).take(2).collect();
    assert!(
        calls[0].contains("NT:   StorPortGetUncachedExtension from blk-release.sys+0x"),
        "{log}"
    );
    assert!(calls[1].contains("NT:   StorPort"), "{log}");
}

#[test]
fn what_the_device_did_to_a_completed_requests_data_is_said() {
    for (mistake, what) in [
        (
            "reads-completed-early",
            "the data of a request was written after the request had been completed by blk-release.sys+0x",
        ),
        (
            "writes-completed-early",
            "the data of a request was read by the device after the request had been completed by blk-release.sys+0x",
        ),
    ] {
        let parameter = Some(format!("mistake={mistake}"));
        let reports = run("blk-release.sys", &["vectors/per-queue"], parameter);
        let log = log(&reports[0]);
        assert!(log.contains(what), "{mistake}: {log}");
    }
}
