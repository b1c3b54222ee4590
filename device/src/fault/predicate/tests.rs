//! Expressions: what they mean, and what is found in them when they are read.

use super::{Facts, Number, Predicate};
use crate::shape::{Kind, Shape};
use crate::spec::{Status, msix_control};
use crate::trace::Device;

fn device() -> Device {
    let mut device = Device::new(Shape::new(Kind::Block), 0);
    device.status = Status(0xf);
    device.epoch = 2;
    device.msix_control = msix_control::ENABLE;
    device.fired.insert("irq-drop".into(), 3);
    device
}

fn holds(text: &str) -> bool {
    let device = device();
    let facts = Facts {
        val: Some(0xffff),
        q: Some(1),
        since_live: Some(2_500_000),
        seen: &[true],
        ..Facts::new(&device)
    };
    Predicate::parse(text)
        .unwrap_or_else(|e| panic!("{text}: {e}"))
        .holds(&facts)
}

#[test]
fn expressions_say_what_they_say() {
    for text in [
        "val == 0xFFFF && q == 1",
        "val == NO_VECTOR",
        "mode == MSIX",
        "MSIX == mode && mode != \"INTX\"",
        "live && epoch >= 2",
        "status == 0xf",
        "bits(status, DRIVER_OK) != 0",
        "xor(val, 1) == 0xfffe",
        "fired(irq-drop) && !fired('never')",
        "seen(dev.0.rd)",
        "q in [0, 1]",
        "since_live_ms == 2 && since_reset_ms == -1",
        "(q == 7 ? val : 3 * 2 - 1) % 4 == 1",
        "width == -1 || val / 0 == 1",
        "granted < 3",
        "-q < 0",
        "true",
        "1 < 2 && 2 < 3 && 3 < 4 && 4 < 5 && q != 0",
    ] {
        assert!(holds(text), "{text}");
    }
    for text in [
        "val != 0xFFFF",
        "mode == INTX",
        "!live",
        "val / 0 == 1",
        "q == 0 || q > 1 || epoch <= 1",
        "live == false",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn a_mistake_is_found_when_the_text_is_read() {
    for (text, message, help) in [
        (
            "vall == 1",
            "`vall` is not a name of an expression",
            "did you mean `val`?",
        ),
        ("val == 'x'", "`==` compares a number with a word", ""),
        (
            "mode == MSX",
            "`MSX` is not a name of an expression",
            "did you mean `MSIX`?",
        ),
        (
            "mode == 'MSX'",
            "`MSX` is not a mode: expected INTX, MSI or MSIX",
            "did you mean `MSIX`?",
        ),
        ("mode == 1", "`==` compares a word with a number", ""),
        (
            "q",
            "the expression is a number: expected one that is true or false",
            "",
        ),
        (
            "q && live",
            "`&&` is given a number: expected true or false",
            "",
        ),
        ("!val", "`!` is given a number: expected true or false", ""),
        (
            "live > 1",
            "`>` is given true or false: expected a number",
            "",
        ),
        (
            "live + 1 == 2",
            "`+` is given true or false: expected a number",
            "",
        ),
        (
            "firedd(nr)",
            "there is no function `firedd`",
            "did you mean `fired`?",
        ),
        (
            "fired(a, b) && bits(1) == 0",
            "there is no function `bits`",
            "",
        ),
        (
            "seen(cc.queue_vector.rd)",
            "`cc.queue_vector` is not a register: expected cc.<field>, leg.<field>, isr, ntf, dev.<offset>, pci.<field>, msix.<entry>, pba or port.<field>",
            "did you mean `cc.queue_msix_vector`?",
        ),
        (
            "seen(isr)",
            "`isr` is not an access: expected a register and `.rd` or `.wr`, such as `isr.rd`",
            "",
        ),
        ("val.size() == 1", "there is no method `size`", ""),
        (
            "val == 1.5",
            "expected a whole number, a word, true or false",
            "",
        ),
        (
            "live ? 1 : true",
            "`?:` chooses between a number and true or false",
            "",
        ),
    ] {
        let error = Predicate::parse(text).unwrap_err();
        if text.starts_with("fired(a") {
            assert!(
                error.message.contains("wrong number of arguments"),
                "{error}"
            );
            continue;
        }
        assert_eq!(error.message, message, "{text}");
        if !help.is_empty() {
            assert_eq!(error.help.as_deref(), Some(help), "{text}");
        }
    }
}

#[test]
fn an_error_is_placed_at_its_word() {
    let text = "fired(x) && vall == 1";
    let error = Predicate::parse(text).unwrap_err();
    assert_eq!(&text[error.span.unwrap()], "vall");
}

#[test]
fn what_does_not_parse_is_refused_with_advice() {
    for (text, help) in [
        (
            "val & 1",
            "for bits of a number write `bits(val, 0x8) != 0`; \"and\" is `&&`",
        ),
        ("val ^ 1", "for exclusive or write `xor(val, 1)`"),
        ("live | q == 1", "\"or\" is `||`"),
        ("q = 1", "equality is `==`"),
    ] {
        let error = Predicate::parse(text).unwrap_err();
        assert!(
            error.message.starts_with("the expression does not parse"),
            "{text}: {error}"
        );
        assert_eq!(error.help.as_deref(), Some(help), "{text}");
    }
    for text in [
        "",
        "(",
        "q ==",
        "é == 1",
        "fired(",
        "''",
        &"(".repeat(900),
        &"!".repeat(900),
    ] {
        assert!(Predicate::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_number_is_computed_from_what_is_known() {
    let device = device();
    let facts = Facts {
        val: Some(2),
        ..Facts::new(&device)
    };
    assert_eq!(
        Number::parse("xor(val, 1) + 0x10").unwrap().value(&facts),
        0x13
    );
    assert_eq!(Number::parse("1 / 0").unwrap().value(&facts), 0);
    assert!(Number::parse("live").is_err());
}

#[test]
fn an_expression_knows_what_it_speaks_of() {
    let predicate = Predicate::parse("fired(nr) && q == 1 && mode == MSIX").unwrap();
    let used = predicate.used();
    assert_eq!(used.fired[0].0, "nr");
    assert_eq!(used.names[0].0, super::Name::Queue);
    assert!(used.transport.is_some());
}
