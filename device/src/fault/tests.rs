//! The catalogue as a whole, and mistakes in a `[[fault]]` table.

use super::testing::{check, shape_of};
use super::*;
use crate::shape::{Attach, Kind, Shape};

fn block() -> Shape {
    shape_of("queues = 2")
}

/// `file:line` of the mistake as a report would underline it.
fn mistake(text: &str, shape: &Shape) -> String {
    let error = check(text, shape).expect_err(text);
    let at = error.span.map_or("", |span| &text[span]);
    let help = error.help.map_or_else(String::new, |h| format!(" ({h})"));
    format!("{at} -> {}{help}", error.message)
}

#[test]
fn every_verb_has_a_class_a_sentence_and_its_section() {
    for verb in CATALOGUE {
        assert!(!verb.classes.is_empty(), "{verb:?}");
        assert!(
            !verb.attachments.is_empty() && !verb.kinds.is_empty(),
            "{verb:?}"
        );
        for words in [verb.summary, verb.sentence] {
            assert!(
                words.ends_with('.') && words.len() > 20,
                "{verb:?}: {words}"
            );
        }
        assert!(
            verb.section.starts_with(|c: char| c.is_ascii_digit())
                || verb.section.starts_with("PCI "),
            "{verb:?}"
        );
        for arg in verb.args {
            assert!(
                !arg.kind.is_empty() && !arg.words.is_empty(),
                "{verb:?} {arg:?}"
            );
        }
    }
}

#[test]
fn every_example_is_armed_and_uses_its_verb() {
    for verb in CATALOGUE {
        let fault = check(verb.example, &block()).unwrap_or_else(|e| panic!("{verb:?}: {e}"));
        assert_eq!(fault.name(), verb.name);
        assert_eq!(Verb::named(verb.name).map(|v| v.name), Some(verb.name));
    }
}

#[test]
fn names_are_there_once() {
    let mut names: Vec<_> = CATALOGUE.iter().map(|v| v.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CATALOGUE.len());
}

#[test]
fn behind_qemu_only_what_needs_no_register_can_be_armed() {
    let shape = Shape {
        attach: Attach::VhostUser,
        ..block()
    };
    let able: Vec<_> = CATALOGUE
        .iter()
        .filter(|v| v.attachments.contains(&Attach::VhostUser))
        .map(|v| v.name)
        .collect();
    assert_eq!(
        able,
        [
            "cfg.change",
            "irq.drop",
            "irq.delay",
            "irq.dup",
            "irq.spurious",
            "used.id",
            "used.len",
            "used.flags",
            "used.skip",
            "used.dup",
            "used.reorder",
            "used.jump",
            "queue.stall",
            "late.completion",
            "avail_event.lie",
            "unplug.orderly",
            "replug"
        ]
    );
    for verb in CATALOGUE.iter().filter(|v| !able.contains(&v.name)) {
        let error = check(verb.example, &shape).unwrap_err();
        assert_eq!(
            error.message,
            format!(
                "`{}` is impossible with attach = \"vhost-user\": QEMU owns the registers there",
                verb.name
            )
        );
    }
    for text in [
        "on = 'irq.due[q0]'\ndo = 'irq.drop'",
        "on = 'irq.due[cfg]'\ndo = 'irq.delay'\nargs = { t = '1ms' }",
        "on = 'irq.due[any]'\ndo = 'irq.dup'",
        "on = 'every=10ms'\ndo = 'irq.spurious'\nargs = { src = 'cfg' }",
        "on = 'complete[q1]'\nwhere = 'inflight == 0'\ndo = 'cfg.change'\nargs = { val = 1 }",
    ] {
        check(text, &shape).unwrap_or_else(|e| panic!("{text}: {e}"));
    }
}

#[test]
fn a_port_card_has_interrupts_and_nothing_of_virtio() {
    let card = Shape::new(Kind::PortCard);
    check("on = 'irq.due[port1]'\ndo = 'irq.drop'", &card).unwrap();
    check(
        "on = 'port.doorbell.wr!'\ndo = 'irq.spurious'\nargs = { src = 'port0' }",
        &card,
    )
    .unwrap();
    assert_eq!(
        mistake("on = 'flr'\ndo = 'needs_reset'", &card),
        "'needs_reset' -> `needs_reset` is impossible on a port-card, which is not virtio"
    );
}

#[test]
fn each_mistake_is_placed_and_says_what_was_expected() {
    for (text, expected) in [
        (
            "on = 'live'\ndo = 'vector.rejct'",
            "'vector.rejct' -> `vector.rejct` is not a fault (did you mean `vector.reject`?)",
        ),
        (
            "on = 'live'\ndo = 'vector.reject'",
            "'live' -> `vector.reject` can't act on `live`: expected `cc.config_msix_vector.wr` or `cc.queue_msix_vector.wr`",
        ),
        (
            "on = 'cc.queue_vector.wr'\ndo = 'vector.reject'",
            "'cc.queue_vector.wr' -> `cc.queue_vector` is not a register: expected cc.<field>, leg.<field>, isr, ntf, dev.<offset>, pci.<field>, msix.<entry>, pba or port.<field> (did you mean `cc.queue_msix_vector`?)",
        ),
        (
            "on = 'isr.rd'\nwhere = 'vall == 1'\ndo = 'needs_reset'",
            "vall -> `vall` is not a name of an expression (did you mean `val`?)",
        ),
        (
            "on = 'isr.rd'\nwhere = 'live && val == 1'\ndo = 'needs_reset'",
            "val -> `val` has no value at `isr.rd`",
        ),
        (
            "on = 'live'\nwhere = 'mode == \"MSI\" + 1'\ndo = 'needs_reset'",
            "\"MSI\" -> `+` is given a word: expected a number",
        ),
        (
            "on = 'live'\nnth = '5..2'\ndo = 'needs_reset'",
            "'5..2' -> nth = \"5..2\": the last comes before the first",
        ),
        (
            "on = 'live'\nper = 'epochs'\ndo = 'needs_reset'",
            "'epochs' -> per = \"epochs\": expected \"run\", \"instance\" or \"epoch\" (did you mean `epoch`?)",
        ),
        (
            "on = 'live'\nuntil = '5'\ndo = 'needs_reset'",
            "'5' -> until = \"5\": expected \"once\", \"reset\", \"forever\", a time such as \"5s\", \"nth=20\" or \"fault:<id>\"",
        ),
        (
            "on = 'live'\ndo = 'needs_reset'\nargs = { irq = 1 }",
            "1 -> irq = 1: expected true or false",
        ),
        (
            "on = 'live'\ndo = 'needs_reset'\nargs = { ireq = true }",
            "ireq -> `needs_reset` has no argument `ireq`: it has irq (did you mean `irq`?)",
        ),
        (
            "on = 'irq.due[q2]'\ndo = 'irq.drop'",
            "'irq.due[q2]' -> `irq.due[q2]` can't come: the device has queues 0 to 1",
        ),
        (
            "on = 'cc.queue_msix_vector.wr'\ndo = 'vector.lie'\nargs = { val = 'vall ^ 1' }",
            "'vall ^ 1' -> the expression does not parse: Syntax error: token recognition error at: '^' (for exclusive or write `xor(val, 1)`)",
        ),
    ] {
        assert_eq!(mistake(text, &block()), expected);
    }
}

#[test]
fn unknown_keys_are_refused() {
    let error = toml::from_str::<FaultFile>("on = 'live'\ndoo = 'x'").unwrap_err();
    assert!(error.message().contains("unknown field `doo`"), "{error}");
}

#[test]
fn a_fault_that_is_not_there_can_not_be_spoken_of() {
    let arm = |texts: &[&str]| -> Vec<Fault> {
        texts.iter().map(|t| check(t, &block()).unwrap()).collect()
    };
    let faults = arm(&[
        "id = 'nr'\non = 'live'\ndo = 'needs_reset'",
        "on = 'fault:nr+1s'\nwhere = 'fired(nr)'\ndo = 'isr.stale'\nuntil = 'fault:nr'",
    ]);
    assert_eq!(check_references(&faults), []);
    let faults = arm(&[
        "id = 'nr'\ndevice = 1\non = 'live'\ndo = 'needs_reset'",
        "id = 'nrs'\non = 'fault:nr'\nwhere = 'fired(x)'\ndo = 'isr.stale'",
    ]);
    let errors = check_references(&faults);
    let messages: Vec<_> = errors.iter().map(|e| e.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "there is no fault `x` on device 0",
            "there is no fault `nr` on device 0"
        ]
    );
    assert_eq!(errors[1].help.as_deref(), Some("did you mean `nrs`?"));
}
