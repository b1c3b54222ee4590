//! Cases of WIN-MSI and LOG.

use misfire_device::spec::{CommonCfg as C, NO_VECTOR, Status};

use super::*;

const OK: &str = "MISFIRE: done ok load read dev=0 blocks=4";
const FAILS: &str =
    "MISFIRE: dev 0 failed status=0xC0000493 STATUS_DEVICE_POWER_FAILURE problem=10";
const LINE: &str = "INT: INTx Level=9 Vector=9 Affinity=0x1 Flags=0x0";
const LOST: &str = "VIRTIO: queue 0: lost interrupt?";

/// One message for the whole device, and table entries that all send it.
fn one() -> Trace {
    trace()
        .hello()
        .log("INT: MSI/MSI-X Level=6 Vector=99 Affinity=0x1 MessageCount=1 Flags=0x3")
        .msix(true)
        .negotiated()
}

fn one_started(used: u32) -> Trace {
    one_mapped(used).log(&format!(
        "MISFIRE: dev 0 started mode=msix granted=1 used={used} queues=2"
    ))
}

fn one_mapped(used: u32) -> Trace {
    let map = |q: u16| if used == 1 { 0 } else { q + 1 };
    one()
        .config_vector(0)
        .queue(0, map(0))
        .queue(1, map(1))
        .driver_ok()
        .table(&[0x63, 0x63, 0x63])
}

fn card(ports: u16, msi: u16) -> Trace {
    let shape = Shape {
        ports,
        msi,
        ..Shape::new(Kind::PortCard)
    };
    trace().hello_shape(shape, 0)
}

/// The card of the forum thread that gets one message for its four ports.
fn thread() -> Trace {
    let objects = (0..4).fold(
        card(4, 4).log("Message Interrupt level 0x6, Vector 0x63, MessageCount 0"),
        |t, n| {
            t.log(&format!(
                "Created interrupt({n}): Signaled(Y), Num({n}), Vect(0x63)"
            ))
        },
    );
    objects
        .log("Created 4 MSI interrupts.")
        .log("FxInterrupt::Connect - IoConnectInterrupt(Ex) Failed, SpinLock 0x0, Vector 0x63, IRQL 0x6, FloatingSave False, 0xc00000ef(STATUS_INVALID_PARAMETER_1)")
        .log(FAILS)
}

fn healthy() -> Trace {
    (0..4)
        .fold(
            card(4, 4).log("Message Interrupt level 0x4, Vector 0x40, MessageCount 4"),
            |t, n| {
                t.log(&format!(
                    "Created interrupt({n}): Signaled(Y), Num({n}), Vect(0x4{n})"
                ))
            },
        )
        .msi(4)
        .log("MISFIRE: dev 0 started mode=msi granted=4 used=4 queues=4")
        .log("MISFIRE: done ok load port dev=0 rung=4")
}

fn no_messages() -> Trace {
    let shape = Shape {
        msix: Some(0),
        ..block()
    };
    trace().hello_shape(shape, offered())
}

fn counted(count: u32) -> Trace {
    trace().hello().log(&format!(
        "INT: MSI/MSI-X Level=6 Vector=99 Affinity=0x1 MessageCount={count} Flags=0x3"
    ))
}

/// A driver that says which vectors it uses.
fn says(trace: Trace, queue_1: u16) -> Trace {
    trace
        .log("VIRTIO: config vector written 0 read back 0")
        .log("VIRTIO: config uses vector 0")
        .log(&format!("VIRTIO: queue 1 uses vector {queue_1}"))
}

fn refused_unread() -> Trace {
    let trace = trace()
        .hello()
        .msix(true)
        .negotiated()
        .config_vector(0)
        .select(1)
        .areas(1);
    trace.wr_refused(C::QueueMsixVector, 2).enable().driver_ok()
}

pub const CASES: &[Case] = &[
    ("WIN-MSI-001", "one message for everything", HELD, || {
        one_started(1).request(0).log(OK)
    }),
    (
        "WIN-MSI-001",
        "one message, and the driver waits for others",
        FAIL,
        || one_started(3).request(0).log(LOST).log(OK),
    ),
    (
        "WIN-MSI-001",
        "one message, and the driver does not start",
        FAIL,
        || one().status(FEATURES | Status::FAILED).log(FAILS),
    ),
    ("WIN-MSI-001", "the forum thread", FAIL, thread),
    (
        "WIN-MSI-001",
        "one message, as only the table tells",
        HELD,
        || one_mapped(1).request(0).log(OK),
    ),
    ("WIN-MSI-001", "all messages", UNSEEN, healthy),
    ("WIN-MSI-002", "the line", HELD, || {
        no_messages().log(LINE).up_intx().request(0).isr().log(OK)
    }),
    (
        "WIN-MSI-002",
        "the line is granted, and the driver does not start",
        FAIL,
        || no_messages().log(LINE).log(FAILS),
    ),
    (
        "WIN-MSI-002",
        "no capability, and the driver does not start",
        FAIL,
        || {
            no_messages()
                .negotiated()
                .config_vector(0)
                .status(FEATURES | Status::FAILED)
        },
    ),
    ("WIN-MSI-002", "requests fail on the line", FAIL, || {
        no_messages().log(LINE).up_intx().request(0).mark("timeout")
    }),
    ("WIN-MSI-002", "a card that wants no line", FAIL, || {
        card(4, 0)
            .log("Legacy Interrupts Not Supported!")
            .log(FAILS)
    }),
    ("WIN-MSI-002", "no pin", NOT_APPLICABLE, || {
        trace()
            .hello_shape(
                Shape {
                    pin: false,
                    ..block()
                },
                offered(),
            )
            .up()
    }),
    ("WIN-MSI-002", "messages are granted", UNSEEN, || {
        trace().hello().up().request(0).log(OK)
    }),
    ("WIN-MSI-006", "message numbers", HELD, || {
        trace().hello().up()
    }),
    ("WIN-MSI-006", "vectors", FAIL, || {
        trace()
            .hello()
            .msix(true)
            .negotiated()
            .config_vector(0x63)
            .table(&[0x63, 0x64, 0x65])
    }),
    ("WIN-MSI-010", "the raw count", HELD, healthy),
    ("WIN-MSI-010", "the translated count", FAIL, || {
        counted(0)
            .log("PNP: resource requirements changed, starting with a line-based interrupt")
            .log(LINE)
            .up_intx()
    }),
    (
        "WIN-MSI-010",
        "the count in the log alone is wrong",
        UNSEEN,
        thread,
    ),
    ("WIN-MSI-010", "one of three messages is used", WARN, || {
        counted(3).log("MISFIRE: dev 0 started mode=msix-shared granted=3 used=1 queues=2")
    }),
    (
        "WIN-MSI-010",
        "both of two messages where three would be of use",
        HELD,
        || counted(2).log("MISFIRE: dev 0 started mode=msix-shared granted=2 used=1 queues=2"),
    ),
    ("WIN-MSI-012", "an object for each message", HELD, healthy),
    ("WIN-MSI-012", "the forum thread", FAIL, thread),
    ("WIN-MSI-015", "message 0 serves everything", HELD, || {
        one_mapped(3).request(0).notify(0)
    }),
    (
        "WIN-MSI-015",
        "message 0 serves the configuration alone",
        FAIL,
        || one_started(3).request(0).log(LOST).log(OK),
    ),
    ("WIN-MSI-015", "each entry has its message", UNSEEN, || {
        trace().hello().up().table(&[1, 2, 3]).request(0).log(OK)
    }),
    ("LOG-001", "the driver says what is", HELD, || {
        says(trace().hello().up(), 2)
    }),
    (
        "LOG-001",
        "the driver says what it wished for",
        FAIL,
        || says(refused_unread(), 2),
    ),
    ("LOG-001", "the driver logs another read-back", FAIL, || {
        trace()
            .hello()
            .up()
            .log("VIRTIO: queue 0 vector written 1 read back 65535")
    }),
    ("LOG-001", "the driver logs another vector", FAIL, || {
        trace()
            .hello()
            .up()
            .log("VIRTIO: queue 0 vector written 2 read back 2")
    }),
    ("LOG-001", "two starts with different vectors", HELD, || {
        says(trace().hello().up(), 2)
            .msix(true)
            .negotiated()
            .config_vector(0)
            .queue(1, 0)
            .driver_ok()
            .log("VIRTIO: config vector written 0 read back 0")
            .log("VIRTIO: config uses vector 0")
            .log("VIRTIO: queue 1 uses vector 0")
    }),
    (
        "LOG-001",
        "a self-test reports the vectors in use",
        HELD,
        || {
            trace().hello().up().log(
            "AERO_VIRTIO_SELFTEST|TEST|virtio-blk|PASS|msix_config_vector=0x0000|msix_queue_vector=0x0001",
        )
        },
    ),
    (
        "LOG-001",
        "a self-test reports another vector",
        FAIL,
        || {
            trace().hello().up().log(
            "AERO_VIRTIO_SELFTEST|TEST|virtio-blk|PASS|msix_config_vector=0x0000|msix_queue_vector=0x0002",
        )
        },
    ),
    ("LOG-001", "misfire_log.h says what is", HELD, || {
        trace()
            .hello()
            .up()
            .log("MISFIRE-LOG blk queue-vector queue=0 wrote=1 read=1")
    }),
    ("LOG-001", "the driver says nothing", UNSEEN, || {
        trace().hello().negotiated().queue(0, NO_VECTOR)
    }),
];
