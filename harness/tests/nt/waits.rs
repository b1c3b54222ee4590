//! Where a driver waits without an end.

use misfire::scenario::Outcome;

use crate::bench::*;

/// Mistakes at `HIGH_LEVEL`, while a crash dump is written, and what is said of them.
pub const DUMP_WAITS: &[(&str, &str)] = &[
    ("dump-endless-poll", "it polls the register at 0x14 of BAR"),
    ("dump-endless-loop", "does not come back: it is at dump_blk"),
];

#[test]
fn where_a_driver_waits_without_an_end_is_said_with_its_routine_and_the_register() {
    for (mistake, routine, what) in [
        (
            "endless-poll-interrupts-off",
            "HwStorInitialize",
            "it polls the register at 0x12 of BAR",
        ),
        (
            "endless-poll-in-interrupt",
            "the interrupt routine",
            "it polls the register at 0x14 of BAR",
        ),
        (
            "endless-poll-in-dpc",
            "HwStorDpcRoutine",
            "it polls the register at 0x14 of BAR",
        ),
        (
            "endless-poll",
            "HwStorInitialize",
            "it polls the register at 0x12 of BAR",
        ),
        (
            "endless-memory-poll",
            "HwStorInitialize",
            "it polls the common buffer at ",
        ),
        (
            "endless-loop",
            "HwStorInitialize",
            "does not come back: it is at blk-release.sys+0x",
        ),
    ] {
        let parameter = Some(format!("mistake={mistake}"));
        let reports = run("blk-release.sys", &["vectors/per-queue"], parameter);
        let log = log(&reports[0]);
        let found = log.lines().any(|line| {
            line.contains("NT: check poll") && line.contains(routine) && line.contains(what)
        });
        assert!(found, "{mistake}: {log}");
        assert_eq!(reports[0].outcome, Some(Outcome::Wedged), "{mistake}");
    }
}

#[test]
fn an_endless_wait_is_said_where_no_timer_comes_in_between() {
    for image in ["blk.sys", "blk-release.sys"] {
        for (mistake, what) in DUMP_WAITS {
            let parameter = Some(format!("mistake={mistake}"));
            let reports = run_and_crash(image, &["vectors/shared"], parameter, true);
            let log = log(&reports[0]);
            let found = log
                .lines()
                .any(|line| line.contains("NT: check poll") && line.contains(what));
            assert!(found, "{image}, {mistake}: {log}");
            let broken = broken(&reports[0]);
            assert_eq!(broken, ["WIN-SPT-015", "WIN-SYS-001"], "{image}, {mistake}");
        }
    }
}
