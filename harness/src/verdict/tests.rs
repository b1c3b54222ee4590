//! Verdicts as a table: what is expected, what was seen, what comes of it.

use std::collections::BTreeMap;

use misfire_device::trace::{Fired, Legality};

use super::*;
use crate::rules::{Level, Outcome as Ruling, Severity};
use crate::scenario::Known;

fn events(whats: Vec<What>) -> Vec<Event> {
    (1..)
        .zip(whats)
        .map(|(seq, what)| Event {
            seq,
            time: seq,
            what,
        })
        .collect()
}

fn log(line: &str) -> What {
    What::Log { line: line.into() }
}

fn mark(phase: &str, text: &str) -> What {
    What::Mark {
        step: Some(0),
        phase: phase.into(),
        text: text.into(),
    }
}

fn fired(id: &str) -> What {
    What::Fault(Fired {
        dev: 0,
        id: id.into(),
        fault: "vector.reject".into(),
        class: Legality::Legal,
        object: "q0".into(),
        count: 2,
    })
}

const STARTED: &str = "MISFIRE: dev 0 started mode=msix granted=3 used=3 queues=2";
const ON_THE_LINE: &str = "MISFIRE: dev 0 started mode=intx granted=0 used=0 queues=2";
const REFUSED: &str =
    "MISFIRE: dev 0 failed status=0xC0000493 STATUS_DEVICE_POWER_FAILURE problem=10";

#[test]
fn the_outcome_is_told_from_what_the_guest_says() {
    use Outcome::*;
    for (whats, outcome, interrupts, io) in [
        (vec![log(STARTED)], Started, Interrupts::Msix, Io::None),
        (
            vec![log(STARTED), mark("end", "load read dev=0")],
            Started,
            Interrupts::Msix,
            Io::Complete,
        ),
        (
            vec![log(ON_THE_LINE), mark("end", "wait ready")],
            Degraded,
            Interrupts::Intx,
            Io::None,
        ),
        (vec![log(REFUSED)], Refused, Interrupts::None, Io::None),
        (
            vec![log(STARTED), mark("failed", "load read dev=0")],
            Wedged,
            Interrupts::Msix,
            Io::Failed,
        ),
        (
            vec![log(STARTED), mark("timeout", "load read dev=0")],
            Wedged,
            Interrupts::Msix,
            Io::Failed,
        ),
        (
            vec![
                log(STARTED),
                mark("timeout", "load read dev=0"),
                mark("timeout", "wait loaded"),
            ],
            Wedged,
            Interrupts::Msix,
            Io::Failed,
        ),
        (
            vec![
                log(STARTED),
                mark("failed", "load read dev=0"),
                mark("end", "load read dev=0"),
            ],
            Wedged,
            Interrupts::Msix,
            Io::Failed,
        ),
        (
            vec![log(STARTED), log(REFUSED)],
            Refused,
            Interrupts::None,
            Io::None,
        ),
        (vec![], Wedged, Interrupts::None, Io::None),
        (
            vec![
                log(STARTED),
                log("MISFIRE: crash 0xD1 DRIVER_IRQL_NOT_LESS_OR_EQUAL"),
            ],
            Crashed,
            Interrupts::Msix,
            Io::None,
        ),
    ] {
        let seen = observe(&events(whats.clone()), 1);
        let expected = (Some(outcome), vec![interrupts], Some(io));
        assert_eq!(
            (seen.outcome, seen.interrupts, seen.io),
            expected,
            "{whats:?}"
        );
    }
}

#[test]
fn of_several_devices_the_worst_counts() {
    let seen = observe(
        &events(vec![
            log("MISFIRE: dev 0 started mode=msi granted=4 used=4 queues=0"),
            log("MISFIRE: dev 1 failed status=0xC0000493 STATUS_DEVICE_POWER_FAILURE problem=10"),
        ]),
        2,
    );
    assert_eq!(seen.outcome, Some(Outcome::Refused));
    assert_eq!(joined(&seen.interrupts), "msi,none");
}

#[test]
fn ports_that_share_a_message_are_less_than_was_asked_for() {
    let few = log("MISFIRE: dev 0 started mode=msi granted=1 used=1 queues=4");
    let seen = observe(&events(vec![few]), 1);
    assert_eq!(seen.outcome, Some(Outcome::Degraded));
    assert_eq!(seen.interrupts, [Interrupts::Msi]);
}

#[test]
fn a_bugchecks_code_is_read_from_both_of_its_lines() {
    for line in [
        "MISFIRE: crash 0xD1 DRIVER_IRQL",
        "*** STOP: 0x000000D1 (0x0, 0x2, 0x0, 0x0)",
    ] {
        assert_eq!(
            observe(&events(vec![log(line)]), 1).bugcheck,
            Some(0xd1),
            "{line}"
        );
    }
}

fn judgement(id: &'static str, outcome: Ruling, severity: Option<Severity>) -> Judgement {
    Judgement {
        id,
        level: Level::Must,
        outcome,
        severity,
        evidence: vec![7],
        text: "vector 0x63 is the APIC vector".into(),
    }
}

/// The verdict for an expectation over a trace in which the device started.
fn decide(expect: Expect, judgements: &[Judgement]) -> Decision {
    let expect = Expectations {
        base: expect,
        ..Expectations::default()
    };
    let events = events(vec![log(STARTED)]);
    let observed = observe(&events, 1);
    case(&expect, &events, &observed, judgements).decide()
}

fn case<'a>(
    expect: &'a Expectations,
    events: &'a [Event],
    observed: &'a Observed,
    judgements: &'a [Judgement],
) -> Case<'a> {
    Case {
        expect,
        guest: "reference",
        driver: None,
        known: const { &BTreeMap::new() },
        faults: &[],
        events,
        observed,
        judgements,
        snapshot: None,
        trouble: None,
    }
}

#[test]
fn each_expectation_is_met_or_named_in_the_reasons() {
    let broken = judgement("VIO-MSIX-001", Ruling::Broken, Some(Severity::Fail));
    let advice = judgement("VIO-MSIX-013", Ruling::Broken, Some(Severity::Warn));
    let held = judgement("VIO-MSIX-002", Ruling::Held, None);
    let unseen = judgement("VIO-MSIX-002", Ruling::Unseen, None);
    let one = |id: &str| vec![id.to_owned()];
    let plain = Expect::default;
    for (expect, judgements, reason) in [
        (plain(), vec![], None),
        (
            Expect {
                outcome: Some(Outcome::Started),
                ..plain()
            },
            vec![],
            None,
        ),
        (
            Expect {
                outcome: Some(Outcome::Degraded),
                ..plain()
            },
            vec![],
            Some("outcome: expected degraded, found started"),
        ),
        (
            Expect {
                interrupts: vec![Interrupts::Intx],
                ..plain()
            },
            vec![],
            Some("interrupts: expected intx, found msix"),
        ),
        (
            Expect {
                io: Some(Io::Complete),
                ..plain()
            },
            vec![],
            Some("io: expected complete, found none"),
        ),
        (
            Expect {
                bugcheck: Some(0xf2),
                ..plain()
            },
            vec![],
            Some("bugcheck: expected 0xF2, found none"),
        ),
        (
            plain(),
            vec![broken.clone()],
            Some("VIO-MSIX-001 (MUST) broken: vector 0x63 is the APIC vector (event 7)"),
        ),
        (
            Expect {
                broken: one("VIO-MSIX-001"),
                ..plain()
            },
            vec![broken.clone()],
            None,
        ),
        (
            Expect {
                broken: one("VIO-MSIX-001"),
                says: one("APIC vector"),
                ..plain()
            },
            vec![broken.clone()],
            None,
        ),
        (
            Expect {
                says: one("lost interrupt"),
                ..plain()
            },
            vec![held.clone()],
            Some("no finding says `lost interrupt`"),
        ),
        (
            Expect {
                broken: one("VIO-MSIX-002"),
                ..plain()
            },
            vec![held.clone()],
            Some(
                "VIO-MSIX-002 was to come out broken, but it is held: vector 0x63 is the APIC vector",
            ),
        ),
        (plain(), vec![advice.clone()], None),
        (
            Expect {
                warn: one("VIO-MSIX-013"),
                ..plain()
            },
            vec![advice.clone()],
            None,
        ),
        (
            Expect {
                held: one("VIO-MSIX-002"),
                ..plain()
            },
            vec![unseen],
            Some(
                "VIO-MSIX-002 was to come out held, but it is unseen: vector 0x63 is the APIC vector",
            ),
        ),
        (
            Expect {
                held: one("VIO-MSIX-002"),
                ..plain()
            },
            vec![held],
            None,
        ),
        (
            Expect {
                log: one("mode=ms.x granted=3"),
                ..plain()
            },
            vec![],
            None,
        ),
        (
            Expect {
                log: one("mode=intx"),
                ..plain()
            },
            vec![],
            Some("no line of the log matches `mode=intx`"),
        ),
    ] {
        let decision = decide(expect.clone(), &judgements);
        assert_eq!(
            decision.reasons.first().map(String::as_str),
            reason,
            "{expect:?}"
        );
        let verdict = if reason.is_some() {
            Verdict::Fail
        } else {
            Verdict::Pass
        };
        assert_eq!(decision.verdict, verdict, "{expect:?}");
    }
}

#[test]
fn advice_that_was_not_followed_is_noted() {
    let advice = judgement("VIO-MSIX-013", Ruling::Broken, Some(Severity::Warn));
    let decision = decide(Expect::default(), &[advice]);
    assert_eq!(
        decision.notes,
        ["VIO-MSIX-013 (MUST) not followed: vector 0x63 is the APIC vector (event 7)"]
    );
}

#[test]
fn a_fault_that_never_fired_is_an_error() {
    let expect = Expectations::default();
    let faults = [(0, "refuse".to_owned(), "vector.reject".to_owned())];
    for (whats, verdict) in [
        (vec![log(STARTED)], Verdict::Error),
        (vec![log(STARTED), fired("refuse")], Verdict::Pass),
    ] {
        let events = events(whats);
        let observed = observe(&events, 1);
        let decision = Case {
            faults: &faults,
            ..case(&expect, &events, &observed, &[])
        }
        .decide();
        assert_eq!(decision.verdict, verdict, "{decision:?}");
        if verdict == Verdict::Error {
            assert_eq!(
                decision.reasons,
                ["fault `refuse` (vector.reject) never fired: the scenario tested nothing"]
            );
        }
    }
}

#[test]
fn a_wedge_or_a_crash_is_never_expected_by_silence() {
    for whats in [vec![], vec![log(STARTED), log("MISFIRE: crash 0xD1 X")]] {
        let events = events(whats);
        let observed = observe(&events, 1);
        let expect = Expectations::default();
        let decision = case(&expect, &events, &observed, &[]).decide();
        assert_eq!(decision.verdict, Verdict::Fail);
    }
}

#[test]
fn a_wait_that_ran_out_of_time_is_a_failure() {
    let events = events(vec![log(STARTED), mark("timeout", "wait live")]);
    let observed = observe(&events, 1);
    let expect = Expectations::default();
    let decision = case(&expect, &events, &observed, &[]).decide();
    assert_eq!(decision.reasons, ["step `wait live` ran out of time"]);
}

#[test]
fn a_predicted_deviation_is_xfail_and_its_absence_xpass() {
    let deviation = Expect {
        broken: vec!["VIO-MSIX-001".into()],
        ..Expect::default()
    };
    let expect = Expectations {
        base: Expect::default(),
        guests: BTreeMap::new(),
        known: vec![Known {
            driver: "viostor@fbcc19d7".into(),
            why: "it never looks".into(),
            guests: BTreeMap::from([("reference", deviation)]),
        }],
    };
    let broken = [judgement(
        "VIO-MSIX-001",
        Ruling::Broken,
        Some(Severity::Fail),
    )];
    let other = [judgement(
        "VIO-MSIX-002",
        Ruling::Broken,
        Some(Severity::Fail),
    )];
    let events = events(vec![log(STARTED)]);
    let observed = observe(&events, 1);
    for (driver, judgements, verdict) in [
        (Some("viostor@fbcc19d7"), &broken[..], Verdict::Xfail),
        (Some("viostor@fbcc19d7"), &[], Verdict::Xpass),
        (Some("viostor@fbcc19d7"), &other, Verdict::Fail),
        (Some("viostor@other"), &broken, Verdict::Fail),
        (None, &[], Verdict::Pass),
    ] {
        let decision = Case {
            driver,
            ..case(&expect, &events, &observed, judgements)
        }
        .decide();
        assert_eq!(decision.verdict, verdict, "{driver:?} {judgements:?}");
        let last = decision.reasons.last().map(String::as_str);
        assert_eq!(
            last == Some("known: it never looks"),
            verdict == Verdict::Xfail
        );
    }
}

#[test]
fn what_a_driver_that_is_predicted_to_refuse_is_waited_for_in_vain_is_predicted_too() {
    let failed = "MISFIRE: dev 0 failed status=0x80000011 STATUS_DEVICE_BUSY problem=10";
    let events = events(vec![log(failed), mark("timeout", "wait live")]);
    let observed = observe(&events, 1);
    for (outcome, verdict) in [
        (Outcome::Refused, Verdict::Xfail),
        (Outcome::Started, Verdict::Fail),
    ] {
        let expect = Expectations {
            base: Expect::default(),
            guests: BTreeMap::new(),
            known: vec![Known {
                driver: "viostor@fbcc19d7".into(),
                why: "it never looks".into(),
                guests: BTreeMap::from([(
                    "reference",
                    Expect {
                        outcome: Some(outcome),
                        ..Expect::default()
                    },
                )]),
            }],
        };
        let decision = Case {
            driver: Some("viostor@fbcc19d7"),
            ..case(&expect, &events, &observed, &[])
        }
        .decide();
        assert_eq!(decision.verdict, verdict, "{:?}", decision.reasons);
    }
}

#[test]
fn a_rule_that_a_driver_is_known_to_break_is_no_failure_and_every_other_is() {
    let broken = [judgement(
        "VIO-RST-001",
        Ruling::Broken,
        Some(Severity::Fail),
    )];
    let other = [judgement(
        "VIO-MSIX-001",
        Ruling::Broken,
        Some(Severity::Fail),
    )];
    let known = BTreeMap::from([("VIO-RST-001".to_owned(), "it never reads".to_owned())]);
    let events = events(vec![log(STARTED)]);
    let observed = observe(&events, 1);
    let expect = Expectations::default();
    for (judgements, verdict) in [
        (&broken[..], Verdict::Xfail),
        (&[], Verdict::Pass),
        (&other, Verdict::Fail),
    ] {
        let decision = Case {
            known: &known,
            ..case(&expect, &events, &observed, judgements)
        }
        .decide();
        assert_eq!(decision.verdict, verdict, "{judgements:?}");
        let told = decision
            .reasons
            .iter()
            .any(|why| why.ends_with("known: it never reads"));
        assert_eq!(told, verdict == Verdict::Xfail);
    }
}

#[test]
fn a_firmware_may_get_further_than_expected_but_not_less_far() {
    let polled = "MISFIRE: dev 0 started mode=polled granted=0 used=0 queues=1";
    let refused = "MISFIRE: dev 0 failed status=0x0 nothing-to-boot";
    for (line, outcome, io, verdict) in [
        (polled, Outcome::Started, None, Verdict::Pass),
        (polled, Outcome::Refused, Some(Io::Failed), Verdict::Pass),
        (polled, Outcome::Wedged, None, Verdict::Pass),
        (refused, Outcome::Started, None, Verdict::Pass),
        (refused, Outcome::Started, Some(Io::Complete), Verdict::Fail),
        ("nothing", Outcome::Started, None, Verdict::Fail),
        ("nothing", Outcome::Wedged, None, Verdict::Pass),
    ] {
        let expect = Expectations {
            base: Expect {
                outcome: Some(outcome),
                interrupts: vec![Interrupts::Msix],
                io,
                ..Expect::default()
            },
            ..Expectations::default()
        };
        let events = events(vec![log(line)]);
        let observed = observe(&events, 1);
        let decision = Case {
            guest: "firmware",
            ..case(&expect, &events, &observed, &[])
        }
        .decide();
        assert_eq!(
            decision.verdict, verdict,
            "{line} {outcome} {io:?}: {:?}",
            decision.reasons
        );
    }
}

#[test]
fn a_transcript_that_differs_is_a_failure_and_a_missing_one_a_note() {
    let events = events(vec![log(STARTED)]);
    let observed = observe(&events, 1);
    let expect = Expectations::default();
    let with = |comparison: &Comparison| {
        Case {
            snapshot: Some(comparison),
            ..case(&expect, &events, &observed, &[])
        }
        .decide()
    };
    assert_eq!(with(&Comparison::Same).verdict, Verdict::Pass);
    assert_eq!(
        with(&Comparison::Different("-a\n+b".into())).verdict,
        Verdict::Fail
    );
    let missing = with(&Comparison::Missing);
    assert_eq!((missing.verdict, missing.notes.len()), (Verdict::Pass, 1));
}

#[test]
fn what_kept_the_machine_from_finishing_is_an_error() {
    let events = events(vec![]);
    let observed = observe(&events, 1);
    let expect = Expectations::default();
    let faults = [(0, "refuse".to_owned(), "vector.reject".to_owned())];
    let decision = Case {
        faults: &faults,
        snapshot: Some(&Comparison::Missing),
        trouble: Some("QEMU ended with signal 9"),
        ..case(&expect, &events, &observed, &[])
    }
    .decide();
    // Nothing that follows from it stands beside it.
    assert_eq!(decision.verdict, Verdict::Error);
    assert_eq!(decision.reasons, ["QEMU ended with signal 9"]);
    assert_eq!(decision.notes, [""; 0]);
}

#[test]
fn a_lockup_a_hung_task_and_silence_are_told_apart_by_name() {
    let mark = |phase: &str| What::Mark {
        step: Some(0),
        phase: phase.into(),
        text: "load read dev=0 blocks=4".into(),
    };
    let lockup = "watchdog: BUG: soft lockup - CPU#0 stuck for 2s! [hand:93]";
    let hung = "INFO: task hand:93 blocked for more than 1 seconds.";
    let silence = "silence: the kernel's log tells of no lockup, no hung task and no stall";
    for (lines, phase, guest, noted) in [
        (
            &[lockup][..],
            phase::TIMEOUT,
            "linux",
            vec![format!("soft lockup: {lockup}")],
        ),
        (
            &[hung, hung],
            phase::TIMEOUT,
            "linux",
            vec![format!("hung task, 2 times: {hung}")],
        ),
        (&[], phase::TIMEOUT, "linux", vec![silence.to_owned()]),
        (&[], phase::END, "linux", vec![]),
        (&[], phase::TIMEOUT, "reference", vec![]),
    ] {
        let mut what = vec![log(STARTED)];
        what.extend(lines.iter().map(|line| log(line)));
        what.push(mark(phase));
        let events = events(what);
        let observed = observe(&events, 1);
        let expect = Expectations::default();
        let decision = Case {
            guest,
            ..case(&expect, &events, &observed, &[])
        }
        .decide();
        assert_eq!(decision.notes, noted, "{lines:?} {phase} {guest}");
    }
}
