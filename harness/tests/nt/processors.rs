//! Several processors.

use misfire::report::one_scenario;
use misfire::rules::Outcome as Ruling;

use crate::bench::*;

/// What the correct miniports are put to on several processors.
const PARALLEL: &[&str] = &[
    "vectors/processors",
    "vectors/per-queue",
    "vectors/shared",
    "vectors/one-granted",
    "vectors/rebalance",
    "interrupts/line",
    "config/changes",
    "reset/needs-reset",
    "power/sleep",
    "hotplug/surprise",
    "rings/split@largest",
    "rings/stall@until-reset",
];
/// The same for hosts.
const PARALLEL_SCSI: &[&str] = &[
    "scsi/disk",
    "scsi/disk@one-vector",
    "scsi/disk@line",
    "scsi/units",
    "scsi/events",
    "scsi/task-management",
];
/// Mistakes that are none on one processor, and what they break on two.
pub const RACES: &[(&str, &str, &[&str])] = &[
    // What they race for is nothing that the device sees: what comes of a race is chance, and that it is one is not.
    ("builds-share-a-word", "vectors/per-queue", &["WIN-SPT-021"]),
    (
        "messages-share-a-word",
        "vectors/per-queue",
        &["WIN-SPT-021"],
    ),
    (
        "lock-released-elsewhere",
        "vectors/processors",
        &["WIN-SPT-002"],
    ),
    // HwStorStartIo runs on both at once.
    ("channels-share-a-word", "scsi/units", &["WIN-SPT-021"]),
];
#[test]
fn the_correct_miniports_are_right_on_several_processors() {
    for processors in [2, 4] {
        for image in ["blk.sys", "blk-release.sys"] {
            let wrong = wrong_on(processors, image, PARALLEL);
            assert!(
                wrong.is_empty(),
                "{processors}, {image}: {}",
                wrong.join("\n")
            );
        }
    }
    for processors in [2, 4] {
        let wrong = wrong_on(processors, "scsi-release.sys", PARALLEL_SCSI);
        assert!(wrong.is_empty(), "{processors}: {}", wrong.join("\n"));
    }
}

#[test]
fn locks_and_what_they_guard_are_put_to_the_test_on_two_processors() {
    let reports = run_on(2, "blk.sys", &["vectors/per-queue"], None);
    let log = log(&reports[0]);
    assert!(log.contains("NT: 2 processors"), "{log}");
    for id in ["WIN-SPT-020", "WIN-SPT-021"] {
        let mut rules = reports[0].rules.iter();
        assert!(
            rules.any(|r| r.id == id && r.outcome == Ruling::Held),
            "{id}"
        );
    }
}

#[test]
fn a_race_is_found_on_two_processors_and_is_none_on_one() {
    for (mistake, scenario, rules) in RACES {
        for (processors, rules) in [(1, &[][..]), (2, *rules)] {
            let parameter = Some(format!("mistake={mistake}"));
            let reports = run_on(processors, image_for(scenario), &[scenario], parameter);
            let broken = broken(&reports[0]);
            assert_eq!(
                broken,
                rules,
                "{mistake} on {processors}: {}",
                one_scenario(&reports[0], false)
            );
        }
    }
}

#[test]
fn processors_that_wait_for_each_other_are_a_stop_that_says_who_has_which_lock() {
    let parameter = Some("mistake=deadlocks".to_owned());
    let reports = run_on(2, "blk-release.sys", &["vectors/processors"], parameter);
    let broken = broken(&reports[0]);
    let text = one_scenario(&reports[0], false);
    assert_eq!(broken, ["WIN-SPT-020", "WIN-SYS-001"], "{text}");
    let log = log(&reports[0]);
    assert!(
        log.contains("processors wait for each other; processor 0: "),
        "{log}"
    );
    assert!(log.contains("MISFIRE: crash 0x133"), "{log}");
}
