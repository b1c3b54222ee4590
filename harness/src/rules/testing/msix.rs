//! Cases of VIO-MSIX.

use misfire_device::spec::{CommonCfg as C, NO_VECTOR, Status};
use misfire_device::trace::Legality;

use super::*;

fn negotiated() -> Trace {
    trace().hello().msix(true).negotiated()
}

/// Queue 0's vector is refused, as the driver reads back; MSI-X stays enabled.
fn refused() -> Trace {
    negotiated()
        .config_vector(0)
        .select(0)
        .areas(0)
        .fault("vector.reject", Legality::Legal, "q0")
        .wr_refused(C::QueueMsixVector, 1)
        .rd_as(C::QueueMsixVector, NO_VECTOR)
}

fn config_refused() -> Trace {
    negotiated()
        .fault("vector.reject", Legality::Legal, "cfg")
        .wr_refused(C::ConfigMsixVector, 0)
        .rd_as(C::ConfigMsixVector, NO_VECTOR)
        .queue(0, 1)
        .queue(1, 2)
}

/// The second start programs no vectors.
fn once() -> Trace {
    trace()
        .hello()
        .up()
        .negotiated()
        .queue(0, NO_VECTOR)
        .queue(1, NO_VECTOR)
        .driver_ok()
}

fn shared() -> Trace {
    negotiated()
        .config_vector(0)
        .queue(0, 0)
        .queue(1, 0)
        .driver_ok()
}

fn lying() -> Trace {
    negotiated()
        .fault("vector.lie", Legality::Illegal, "q0")
        .select(0)
        .areas(0)
        .wr(C::QueueMsixVector, 1_u16)
        .rd_as(C::QueueMsixVector, 2_u16)
}

/// The processor's vector is written for the configuration.
fn apic() -> Trace {
    negotiated().config_vector(0x63).rd(C::DeviceStatus)
}

/// A device with this many vectors and two queues, found by a driver.
fn sized(msix: u16) -> Trace {
    let shape = Shape {
        msix: Some(msix),
        ..block()
    };
    trace().hello_shape(shape, offered())
}

const FAILS: &str =
    "MISFIRE: dev 0 failed status=0xC000009A STATUS_INSUFFICIENT_RESOURCES problem=10";

pub const CASES: &[Case] = &[
    ("VIO-MSIX-001", "vectors of the table", HELD, || {
        trace().hello().up()
    }),
    ("VIO-MSIX-001", "a vector beyond the table", FAIL, apic),
    ("VIO-MSIX-001", "a vector without a table", FAIL, || {
        sized(0).negotiated().config_vector(0)
    }),
    ("VIO-MSIX-001", "NO_VECTOR", UNSEEN, || {
        sized(0).negotiated().config_vector(NO_VECTOR)
    }),
    ("VIO-MSIX-002", "everything is read back", HELD, || {
        trace().hello().up()
    }),
    (
        "VIO-MSIX-002",
        "the config vector is not read back",
        FAIL,
        || {
            negotiated()
                .wr(C::ConfigMsixVector, 0_u16)
                .queue(0, 1)
                .driver_ok()
        },
    ),
    (
        "VIO-MSIX-002",
        "it is read back with another queue selected",
        FAIL,
        || {
            negotiated()
                .select(0)
                .wr(C::QueueMsixVector, 1_u16)
                .select(1)
                .rd(C::QueueMsixVector)
                .driver_ok()
        },
    ),
    (
        "VIO-MSIX-002",
        "it is read back only after queue_enable",
        WARN,
        || {
            negotiated()
                .select(0)
                .areas(0)
                .wr(C::QueueMsixVector, 1_u16)
                .enable()
                .rd(C::QueueMsixVector)
                .driver_ok()
        },
    ),
    (
        "VIO-MSIX-002",
        "written after queue_enable, and read back at once",
        HELD,
        || negotiated().queue(0, NO_VECTOR).vector(1).driver_ok(),
    ),
    ("VIO-MSIX-003", "another vector", HELD, || {
        refused().vector(0).enable().driver_ok()
    }),
    ("VIO-MSIX-003", "the line instead", HELD, || {
        refused().reset().msix(false).up_intx().request(0).isr()
    }),
    ("VIO-MSIX-003", "an error", HELD, || {
        refused().status(FEATURES | Status::FAILED)
    }),
    (
        "VIO-MSIX-003",
        "on with a queue that can't interrupt",
        FAIL,
        || refused().enable().driver_ok().request(0),
    ),
    ("VIO-MSIX-003", "on without news of changes", WARN, || {
        config_refused().driver_ok()
    }),
    ("VIO-MSIX-003", "nothing is refused", UNSEEN, || {
        trace().hello().up()
    }),
    ("VIO-MSIX-004", "a lie is taken for a failure", HELD, || {
        lying().status(FEATURES | Status::FAILED)
    }),
    ("VIO-MSIX-004", "a lie is believed", WARN, || {
        lying().enable().driver_ok()
    }),
    ("VIO-MSIX-005", "vectors after each reset", HELD, || {
        trace().hello().up().up()
    }),
    ("VIO-MSIX-005", "vectors only the first time", FAIL, || {
        once().request(0)
    }),
    (
        "VIO-MSIX-005",
        "vectors before the last reset of the start",
        FAIL,
        || {
            negotiated()
                .config_vector(0)
                .queue(0, 1)
                .negotiated()
                .queue(0, NO_VECTOR)
                .driver_ok()
        },
    ),
    ("VIO-MSIX-005", "the line after the reset", UNSEEN, || {
        trace().hello().up().reset().msix(false).up_intx()
    }),
    (
        "VIO-MSIX-005",
        "a device that clears the vectors itself",
        NOT_APPLICABLE,
        || {
            trace()
                .hello()
                .up()
                .fault("vector.clear", Legality::Illegal, "device")
                .negotiated()
                .queue(0, NO_VECTOR)
                .queue(1, NO_VECTOR)
                .driver_ok()
        },
    ),
    ("VIO-MSIX-006", "vector, then queue_enable", HELD, || {
        trace().hello().up()
    }),
    ("VIO-MSIX-006", "queue_enable, then vector", FAIL, || {
        negotiated().queue(0, NO_VECTOR).vector(1)
    }),
    (
        "VIO-MSIX-006",
        "a vector that is changed later",
        HELD,
        || trace().hello().up().select(0).vector(2),
    ),
    ("VIO-MSIX-007", "MSI-X is enabled", HELD, || {
        trace().hello().up()
    }),
    ("VIO-MSIX-007", "MSI-X is not enabled", WARN, || {
        trace()
            .hello()
            .negotiated()
            .config_vector(0)
            .queue(0, 1)
            .driver_ok()
    }),
    ("VIO-MSIX-014", "message numbers", HELD, || {
        trace().hello().up().table(&[0x63, 0x64, 0x65])
    }),
    (
        "VIO-MSIX-014",
        "the processor's vector, as the table tells",
        FAIL,
        || apic().table(&[0x63, 0x64, 0x65]),
    ),
    (
        "VIO-MSIX-014",
        "the processor's vector, as the driver tells",
        FAIL,
        || {
            trace()
                .hello()
                .log("WDFINT: MessageSignaled=1 MessageNumber=0 Vector=99 Irql=6 Affinity=0x1")
                .msix(true)
                .negotiated()
                .config_vector(0x63)
                .log(FAILS)
        },
    ),
    (
        "VIO-MSIX-014",
        "a vector of which nothing is known",
        INCONCLUSIVE,
        apic,
    ),
    ("VIO-MSIX-008", "messages that are sent", HELD, || {
        trace().hello().up().request(0)
    }),
    (
        "VIO-MSIX-008",
        "a message that is masked for ever",
        FAIL,
        || {
            let wired = |wired| Input::Irqs {
                kind: IrqKind::Msix,
                start: 0,
                count: 3,
                wired,
            };
            trace().hello().up().input(wired(false)).request(0)
        },
    ),
    (
        "VIO-MSIX-008",
        "a message that is masked for a while",
        HELD,
        || {
            let wired = |wired| Input::Irqs {
                kind: IrqKind::Msix,
                start: 0,
                count: 3,
                wired,
            };
            trace()
                .hello()
                .up()
                .input(wired(false))
                .request(0)
                .input(wired(true))
        },
    ),
    (
        "VIO-MSIX-009",
        "the configuration has a vector",
        HELD,
        || trace().hello().up(),
    ),
    ("VIO-MSIX-009", "the configuration has none", INFO, || {
        negotiated().queue(0, 1).driver_ok()
    }),
    (
        "VIO-MSIX-010",
        "all that share a vector are looked at",
        HELD,
        || shared().request(0).notify(0).config_change().dev_rd(0, 4),
    ),
    (
        "VIO-MSIX-010",
        "the configuration is forgotten",
        FAIL,
        || shared().config_change().request(0).reset(),
    ),
    ("VIO-MSIX-010", "a queue is forgotten", FAIL, || {
        shared()
            .request(1)
            .log("VIRTIO: queue 1: lost interrupt?")
            .log("MISFIRE: done ok load read dev=0")
    }),
    (
        "VIO-MSIX-010",
        "a queue is forgotten, and the log comes late",
        FAIL,
        || {
            shared()
                .request(1)
                .notify(1)
                .log("VIRTIO: queue 1: lost interrupt?")
                .log("MISFIRE: done ok load read dev=0")
        },
    ),
    (
        "VIO-MSIX-010",
        "an interrupt that was late, not forgotten",
        HELD,
        || {
            shared()
                .request(1)
                .notify(1)
                .input_shown(Input::Used { queue: 1 }, |shown| shown.clear())
                .log("VIRTIO: queue 1: lost interrupt?")
                .log("MISFIRE: done ok load read dev=0")
        },
    ),
    ("VIO-MSIX-010", "nothing is shared", UNSEEN, || {
        trace().hello().up().request(0)
    }),
    (
        "VIO-MSIX-011",
        "a table of two for three events",
        HELD,
        || {
            sized(2)
                .msix(true)
                .negotiated()
                .config_vector(0)
                .queue(0, 1)
                .queue(1, 1)
                .driver_ok()
        },
    ),
    (
        "VIO-MSIX-011",
        "the line, where there is one vector",
        HELD,
        || sized(1).up_intx(),
    ),
    (
        "VIO-MSIX-011",
        "the line, where there are two",
        FAIL,
        || sized(2).up_intx(),
    ),
    ("VIO-MSIX-011", "no start", FAIL, || {
        sized(2)
            .msix(true)
            .negotiated()
            .status(FEATURES | Status::FAILED)
            .log(FAILS)
    }),
    (
        "VIO-MSIX-011",
        "the line, because no messages were granted",
        UNSEEN,
        || {
            sized(2)
                .log("INT: INTx Level=9 Vector=9 Affinity=0x1 Flags=0x0")
                .up_intx()
                .log("MISFIRE: dev 0 started mode=intx granted=0 used=0 queues=2")
        },
    ),
    (
        "VIO-MSIX-012",
        "a queue without a vector is polled",
        HELD,
        || {
            negotiated()
                .config_vector(0)
                .queue(0, NO_VECTOR)
                .driver_ok()
                .request(0)
                .notify(0)
        },
    ),
    (
        "VIO-MSIX-012",
        "a queue without a vector is waited for",
        FAIL,
        || {
            once()
                .request(0)
                .log("VIRTIO: queue 0: lost interrupt?")
                .log("MISFIRE: done ok load read dev=0")
        },
    ),
    ("VIO-MSIX-013", "a reset first", HELD, || {
        trace().hello().up().reset().msix(false)
    }),
    (
        "VIO-MSIX-013",
        "MSI-X is disabled under a live device",
        WARN,
        || trace().hello().up().msix(false),
    ),
];
