//! Triggers: what is read, and what can't come.

use super::*;
use crate::shape::{Attach, Kind, Shape};
use crate::spec::Status;

fn on(text: &str) -> On {
    Trigger::parse(text)
        .unwrap_or_else(|e| panic!("{text}: {e}"))
        .on
}

#[test]
fn every_form_is_read() {
    let vector = Field::Common(CommonCfg::QueueMsixVector);
    let access = |field, op, after| On::Access {
        pattern: Pattern { field, op },
        after,
    };
    assert_eq!(
        on("cc.queue_msix_vector.wr"),
        access(vector, Op::Write, false)
    );
    assert_eq!(
        on("cc.queue_msix_vector.rd!"),
        access(vector, Op::Read, true)
    );
    assert_eq!(on("isr.rd"), access(Field::Isr, Op::Read, false));
    assert_eq!(on("dev.4.rd"), access(Field::Device(4), Op::Read, false));
    assert_eq!(on("ntf"), access(Field::Notify, Op::Write, false));
    assert_eq!(
        on("pci.msixctl.wr"),
        access(Field::MsixControl, Op::Write, false)
    );
    assert_eq!(
        on("port.doorbell.wr"),
        access(
            Field::Port(crate::spec::PortCard::Doorbell),
            Op::Write,
            false
        )
    );
    assert_eq!(
        on("msix.3.wr"),
        access(Field::MsixEntry(3), Op::Write, false)
    );
    assert_eq!(
        on("status.+DRIVER_OK!"),
        On::StatusAdds {
            bit: Status::DRIVER_OK,
            after: true
        }
    );
    assert_eq!(
        on("status.+ACK"),
        On::StatusAdds {
            bit: Status::ACKNOWLEDGE,
            after: false
        }
    );
    assert_eq!(on("status.=0"), On::StatusZero { after: false });
    assert_eq!(on("reset.begin"), On::ResetBegin);
    assert_eq!(on("reset.end"), On::ResetEnd);
    assert_eq!(on("live"), On::Live);
    assert_eq!(on("flr"), On::FunctionReset);
    assert_eq!(on("bme.0"), On::BusMasterOff);
    assert_eq!(
        on("irq.due[q1]"),
        On::IrqDue(Source::Event(Cause::Queue(1)))
    );
    assert_eq!(on("irq.sent[e7]"), On::IrqSent(Source::Entry(7)));
    assert_eq!(
        on("irq.due[port2]"),
        On::IrqDue(Source::Event(Cause::Port(2)))
    );
    assert_eq!(on("chain[any]"), On::Chain(None));
    assert_eq!(on("complete[q0]"), On::Complete(Some(0)));
    assert_eq!(on("at=2s"), On::At(2_000_000_000));
    assert_eq!(on("at=\"2s\""), On::At(2_000_000_000));
    assert_eq!(on("every=10ms"), On::Every(10_000_000));
    assert_eq!(on("host:now"), On::Host("now".into()));
    assert_eq!(on("fault:irq-drop"), On::Fault("irq-drop".into()));
}

#[test]
fn a_delay_follows_what_is_no_access() {
    let trigger = Trigger::parse("live+200ms").unwrap();
    assert_eq!(
        trigger,
        Trigger {
            on: On::Live,
            delay: 200_000_000
        }
    );
    assert_eq!(Trigger::parse("fault:nr+1s").unwrap().delay, 1_000_000_000);
    assert_eq!(
        Trigger::parse("status.+DRIVER_OK+1s").unwrap().delay,
        1_000_000_000
    );
    assert!(Trigger::parse("isr.rd+1s").is_err());
    assert!(Trigger::parse("irq.due[q0]+1s").is_err());
}

#[test]
fn what_is_no_trigger_is_refused_with_the_nearest() {
    for (text, help) in [
        (
            "cc.queue_vector.wr",
            Some("did you mean `cc.queue_msix_vector`?"),
        ),
        ("reset.begins", Some("did you mean `reset.begin`?")),
        ("status.+DRIVEROK", Some("did you mean `DRIVER_OK`?")),
        ("status.+NEEDS_RESET", None),
        ("irq.due[x]", None),
        ("chain[q]", None),
        ("at=2", None),
        ("every=0s", None),
        ("live!", None),
        ("", None),
        ("fault:", None),
        ("isr", None),
    ] {
        let error = Trigger::parse(text).unwrap_err();
        if help.is_some() {
            assert_eq!(error.help.as_deref(), help, "{text}");
        }
    }
}

#[test]
fn a_trigger_that_can_not_come_is_refused() {
    let block = Shape {
        queues: 2,
        msix: Some(3),
        ..Shape::new(Kind::Block)
    };
    let behind_qemu = Shape {
        attach: Attach::VhostUser,
        ..block.clone()
    };
    let card = Shape::new(Kind::PortCard);
    for (text, shape) in [
        ("irq.due[q2]", &block),
        ("chain[q9]", &block),
        ("irq.due[e3]", &block),
        ("port.doorbell.wr", &block),
        ("dev.500.rd", &block),
        ("isr.wr", &block),
        ("cc.queue_select.wr", &card),
        ("irq.due[port4]", &card),
        ("chain[any]", &card),
        ("live", &card),
        ("cc.queue_select.wr", &behind_qemu),
        ("live", &behind_qemu),
        ("irq.due[e1]", &behind_qemu),
    ] {
        let error = Trigger::parse(text)
            .unwrap()
            .check(text, shape)
            .unwrap_err();
        assert!(
            error.message.starts_with(&format!("`{text}` can't come: ")),
            "{error}"
        );
    }
    for (text, shape) in [
        ("irq.due[q1]", &block),
        ("irq.due[cfg]", &behind_qemu),
        ("ntf", &behind_qemu),
        ("chain[q0]", &behind_qemu),
        ("irq.due[port3]", &card),
        ("flr", &card),
    ] {
        Trigger::parse(text).unwrap().check(text, shape).unwrap();
    }
}
