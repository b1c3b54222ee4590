//! The cases of every family: traces written by hand, and what the rules say of them.

mod acc;
mod cap;
mod cfg;
mod feat;
mod ids;
mod init;
mod isr;
mod leg;
mod msix;
mod nr;
mod ntf;
mod pci;
mod pkd;
mod q;
mod qrst;
mod rob;
mod rst;
mod spl;
mod survive;
mod sus;
mod trace;
mod win_msi;
mod win_ndis;
mod win_pnp;
mod win_spt;

use misfire_device::endpoint::Endpoint;
use misfire_device::function::BarLayout;
use misfire_device::shape::{Kind, Shape};
use misfire_device::spec::{CommonCfg, Field};
use misfire_device::trace::{
    Effect, Effects, Input, IrqKind, Legality, Op, Part, RingSample, Space, Step, What,
};

use super::judge::{Context, Judgement, Outcome, Severity, judge};
use super::registry::rules;
pub use trace::{FEATURES, LIVE, Trace, block, offered, packed_live, trace};

/// What a case expects.
pub type Expected = (Outcome, Option<Severity>);
pub const HELD: Expected = (Outcome::Held, None);
pub const FAIL: Expected = (Outcome::Broken, Some(Severity::Fail));
pub const WARN: Expected = (Outcome::Broken, Some(Severity::Warn));
pub const INFO: Expected = (Outcome::Broken, Some(Severity::Info));
pub const UNSEEN: Expected = (Outcome::Unseen, None);
pub const NOT_APPLICABLE: Expected = (Outcome::NotApplicable, None);
pub const INCONCLUSIVE: Expected = (Outcome::Inconclusive, None);

/// A rule, a sentence about a driver, what the rule should say of it, and its trace.
pub type Case = (&'static str, &'static str, Expected, fn() -> Trace);

/// Every case of every family.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    [
        init::CASES,
        feat::CASES,
        rst::CASES,
        acc::CASES,
        cap::CASES,
        pci::CASES,
        q::CASES,
        msix::CASES,
        isr::CASES,
        ntf::CASES,
        pkd::CASES,
        qrst::CASES,
        spl::CASES,
        sus::CASES,
        cfg::CASES,
        leg::CASES,
        leg::OTHERS,
        nr::CASES,
        rob::CASES,
        rob::INTERRUPTS,
        survive::CASES,
        rob::RINGS,
        win_msi::CASES,
        win_ndis::CASES,
        win_pnp::CASES,
        win_spt::CASES.as_flattened(),
        win_spt::MORE,
    ]
    .into_iter()
    .flatten()
}

/// What the rule `id` says about a trace.
pub fn judged(id: &str, trace: Trace) -> Judgement {
    judge(&trace.events(), &Context::default())
        .into_iter()
        .find(|j| j.id == id)
        .expect("the rule is in the registry")
}

#[test]
fn a_rule_about_windows_is_not_applied_to_a_linux() {
    let mut about_windows = 0;
    for (id, _, expected, make) in cases() {
        if id.starts_with("WIN-") && *expected == FAIL {
            let trace = make().log("MISFIRE: guest linux 1");
            assert_eq!(judged(id, trace).outcome, Outcome::NotApplicable, "{id}");
            about_windows += 1;
        }
    }
    assert!(about_windows > 0);
}

#[test]
fn every_case_comes_out_as_it_should() {
    let mut wrong = Vec::new();
    for (id, sentence, expected, make) in cases() {
        let judgement = judged(id, make());
        if (judgement.outcome, judgement.severity) != *expected {
            wrong.push(format!("{id}, {sentence}: {judgement:?}"));
        }
        if judgement.outcome == Outcome::Broken && judgement.evidence.is_empty() {
            wrong.push(format!("{id}, {sentence}: no evidence"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_is_well_formed_and_has_a_case_where_it_is_held_and_one_where_it_is_broken_unless_nothing_can_be_seen()
 {
    let mut ids = std::collections::BTreeSet::new();
    for rule in rules() {
        let id = rule.id;
        assert!(ids.insert(id), "{id} is there twice");
        let (family, number) = id.rsplit_once('-').expect("family and number");
        assert!(
            number.len() >= 3
                && number[..3].bytes().all(|b| b.is_ascii_digit())
                && matches!(&number[3..], "" | "b"),
            "{id}"
        );
        assert!(
            super::FAMILIES
                .iter()
                .any(|f| f.name == family && f.rules.iter().any(|r| r.id == id)),
            "{id} is in the wrong family"
        );
        for text in [rule.sentence, rule.source, rule.breaks] {
            assert!(!text.trim().is_empty(), "{id} does not say everything");
        }
        assert!(
            rule.sentence.ends_with('.'),
            "{id}: a sentence ends with a point"
        );
        for root in rule.follows {
            assert!(
                super::rule(root).is_some(),
                "{id} follows {root}, which is no rule"
            );
        }
        let has = |outcome| cases().any(|(of, _, e, _)| *of == id && e.0 == outcome);
        if let Some(why) = rule.unobservable {
            assert!(!why.trim().is_empty(), "{id} does not say why");
            assert!(
                !has(Outcome::Broken) && !has(Outcome::Held),
                "{id} is judged after all"
            );
            continue;
        }
        assert!(has(Outcome::Broken), "{id} is broken by no case");
        assert!(has(Outcome::Held), "{id} is held by no case");
    }
}

#[test]
fn nothing_is_held_or_broken_by_an_empty_trace_or_by_a_device_that_nobody_touches() {
    for trace in [
        trace(),
        trace().hello(),
        trace().hello_dev(0, Kind::PortCard),
    ] {
        for judgement in judge(&trace.events(), &Context::default()) {
            assert!(
                matches!(judgement.outcome, Outcome::Unseen | Outcome::NotApplicable),
                "{judgement:?}"
            );
        }
    }
}

#[test]
fn the_same_trace_read_back_gives_the_same_judgements() {
    for (id, sentence, _, make) in cases().step_by(7) {
        let events = make().events();
        let mut file = Vec::new();
        for event in &events {
            misfire_device::trace::write_jsonl(&mut file, event).unwrap();
        }
        let again = misfire_device::trace::read_jsonl(file.as_slice()).unwrap();
        assert_eq!(
            judge(&events, &Context::default()),
            judge(&again, &Context::default()),
            "{id}, {sentence}"
        );
    }
}

#[test]
fn a_driver_is_not_blamed_for_what_an_illegal_fault_touched_and_still_is_for_the_rest() {
    let trace = || {
        trace()
            .hello()
            .msix(true)
            .negotiated()
            .fault("vector.lie", Legality::Illegal, "q0")
    };
    let unread = |q: u16| {
        let trace = trace()
            .select(q)
            .areas(q)
            .wr(CommonCfg::QueueMsixVector, 1_u16);
        judged("VIO-MSIX-002", trace.enable().driver_ok())
    };
    assert_eq!(unread(0).outcome, Outcome::NotApplicable);
    assert!(unread(0).text.contains("vector.lie"), "{:?}", unread(0));
    assert_eq!(unread(1).outcome, Outcome::Broken);
}

#[test]
fn of_several_devices_the_worst_counts_and_is_named() {
    let both = |second: fn(Trace) -> Trace| second(trace().hello().up().hello());
    let judgement = judged("VIO-INIT-002", both(|t| t.reset().status(2)));
    assert_eq!(judgement.severity, Some(Severity::Fail));
    assert_eq!(
        judgement.text,
        "device 1: DRIVER is set, ACKNOWLEDGE is not"
    );
    assert_eq!(
        judged("VIO-INIT-002", both(Trace::up)).outcome,
        Outcome::Held
    );
    assert_eq!(judged("VIO-INIT-002", both(|t| t)).outcome, Outcome::Held);
    let card = trace().hello().up().hello_dev(1, Kind::PortCard);
    assert_eq!(judged("VIO-INIT-002", card).outcome, Outcome::Held);
}

#[test]
fn what_firmware_did_before_the_guest_is_not_judged() {
    let firmware = || {
        trace()
            .hello()
            .found_by_bus()
            .reset()
            .status(2)
            .accept(0)
            .driver_ok()
            .notify(0)
            .found_by_bus()
    };
    let guest = "MISFIRE: guest reference 1";
    let clean = judged("VIO-INIT-002", firmware().log(guest).up());
    assert_eq!(clean.outcome, Outcome::Held);
    // The console lags: the greeting may be recorded in the middle of what the driver does.
    let late = judged(
        "VIO-INIT-001",
        firmware().reset().status(1).log(guest).status(3),
    );
    assert_eq!(late.outcome, Outcome::Held);
    let takes_over = judged("VIO-INIT-001", firmware().log(guest).status(1));
    assert_eq!(takes_over.severity, Some(Severity::Fail));
}

#[test]
fn without_register_accesses_most_rules_are_open_and_say_why() {
    let shape = Shape {
        attach: misfire_device::shape::Attach::VhostUser,
        ..block()
    };
    let judgements = judge(
        &trace().hello_shape(shape, offered()).events(),
        &Context::default(),
    );
    let open = judgements
        .iter()
        .filter(|j| j.outcome == Outcome::Inconclusive);
    assert!(open.clone().count() > rules().count() / 2);
    assert!(open.clone().all(|j| j.text.contains("vhost-user")));
    assert!(judgements.iter().all(|j| j.severity.is_none()));
}
