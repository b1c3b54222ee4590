//! Crash dumps.

use misfire::report::one_scenario;
use misfire::rules::Outcome as Ruling;
use misfire::verdict::Verdict;

use crate::bench::*;

/// Mistakes that a miniport makes while it writes a crash dump: each breaks WIN-SPT-016.
pub const DUMP_BREACHES: &[&str] = &[
    "dump-initialises-dpc",
    "dump-reads-registry",
    "dump-waits-for-interrupt",
    "dump-takes-memory",
];

#[test]
fn a_crash_dump_is_written_without_interrupts_and_read_back() {
    for (image, scenario) in [
        ("blk.sys", "vectors/shared"),
        ("blk-release.sys", "interrupts/line"),
        ("scsi.sys", "scsi/disk"),
        ("scsi-release.sys", "scsi/disk@line"),
    ] {
        let reports = run_and_crash(image, &[scenario], None, true);
        let text = one_scenario(&reports[0], false);
        assert_eq!(reports[0].verdict, Verdict::Pass, "{image}: {text}");
        let mut rules = reports[0].rules.iter();
        let kept = rules.any(|r| r.id == "WIN-SPT-016" && r.outcome == Ruling::Held);
        assert!(kept, "{image}: {text}");
    }
}

#[test]
fn what_may_not_be_done_while_a_dump_is_written_is_found_and_nothing_else() {
    for mistake in DUMP_BREACHES {
        let parameter = Some(format!("mistake={mistake}"));
        let reports = run_and_crash("blk.sys", &["vectors/shared"], parameter, true);
        let broken = broken(&reports[0]);
        assert_eq!(
            broken,
            ["WIN-SPT-016"],
            "{mistake}: {}",
            one_scenario(&reports[0], false)
        );
    }
}

#[test]
fn the_other_processors_are_stopped_while_a_crash_dump_is_written() {
    let reports = run_as(2, "blk.sys", &["vectors/processors"], None, true);
    let text = one_scenario(&reports[0], false);
    assert_eq!(reports[0].verdict, Verdict::Pass, "{text}");
    let log = log(&reports[0]);
    assert!(
        log.contains("NT: the other processors have stopped"),
        "{log}"
    );
    assert!(log.contains("NT: the crash dump is written"), "{log}");
}
