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
            "endless-poll-of-two",
            "HwStorInitialize",
            "it polls the register at 0x12 of BAR 0 and the register at 0x14 of BAR 0",
        ),
        (
            "endless-poll-of-both",
            "HwStorInitialize",
            "it polls the register at 0x14 of BAR 0 and the common buffer at 0x",
        ),
        (
            "endless-pauses",
            "HwStorInitialize",
            "it polls the register at 0x14 of BAR",
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

#[test]
fn a_wait_that_has_a_bound_is_not_said_to_have_none_however_long_it_is() {
    for image in ["blk.sys", "blk-release.sys"] {
        let parameter = Some("mistake=waits-long".to_owned());
        let reports = run(image, &["vectors/per-queue"], parameter);
        let log = log(&reports[0]);
        assert!(log.contains("NT: the driver does not come back"), "{log}");
        assert!(log.contains("virtio: it has waited long"), "{log}");
        assert!(!log.contains("NT: check"), "{log}");
        let broken = broken(&reports[0]);
        assert!(broken.is_empty(), "{image}: {broken:?}, {log}");
    }
}

#[test]
fn a_driver_that_polls_a_device_that_is_gone_is_told_with_the_register() {
    let parameter = Some("mistake=polls-removed".to_owned());
    let reports = run("blk-release.sys", &["hotplug/surprise"], parameter);
    let log = log(&reports[0]);
    let lines = [
        "NT: check gone dev=0: a register is touched of a device that is gone, in HwStorAdapterControl at blk-release.sys+0x",
        "NT: check poll dev=0: HwStorAdapterControl waits without an end at blk-release.sys+0x",
        "it polls the register at 0x14 of BAR 0",
    ];
    for line in lines {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert_eq!(reports[0].outcome, Some(Outcome::Wedged));
}
