//! Cases of VIO-SPL.

use misfire_device::spec::NO_VECTOR;
use misfire_device::trace::{AlteredPart, DirtyPart, Flaw};

use super::*;

fn live() -> Trace {
    trace().hello().up()
}

fn in_order() -> Trace {
    let features = offered() | 1 << 35;
    trace()
        .hello_shape(block(), features)
        .found()
        .accept(features)
        .features_ok()
        .queue(0, NO_VECTOR)
        .driver_ok()
}

fn without_event_idx() -> Trace {
    trace()
        .hello()
        .found()
        .accept(offered() & !(1 << 29))
        .features_ok()
        .queue(0, NO_VECTOR)
        .driver_ok()
}

fn flags(value: u16) -> RingSample {
    RingSample {
        dev: 0,
        q: 0,
        avail_flags: value,
        avail_idx: 0,
        used_flags: 0,
        used_idx: 0,
        used_event: 0,
        avail_event: 0,
    }
}

/// A chain with one flaw, on a live device.
macro_rules! flawed {
    ($id:literal, $sentence:literal, $outcome:expr, $flaw:ident) => {
        ($id, $sentence, $outcome, || live().chain(0, &[Flaw::$flaw]))
    };
}

pub const CASES: &[Case] = &[
    ("VIO-SPL-001", "a chain that ends", HELD, || {
        live().chain(0, &[])
    }),
    flawed!("VIO-SPL-001", "a chain that leads back", FAIL, Loop),
    flawed!("VIO-SPL-001", "a table that is too long", FAIL, TooLong),
    flawed!("VIO-SPL-001", "more than 4 GiB", FAIL, TooManyBytes),
    flawed!("VIO-SPL-001", "another rule's flaw", HELD, NextOutside),
    ("VIO-SPL-001", "a packed ring", NOT_APPLICABLE, || {
        packed_live().list(0, 0x8000, 1, &[Flaw::TooLong])
    }),
    ("VIO-SPL-002", "what is read comes first", HELD, || {
        live().chain(0, &[])
    }),
    flawed!(
        "VIO-SPL-002",
        "what is written comes first",
        FAIL,
        ReadableAfterWritable
    ),
    ("VIO-SPL-003", "a table", HELD, || live().indirect(0, &[])),
    ("VIO-SPL-003", "no table", UNSEEN, || live().chain(0, &[])),
    (
        "VIO-SPL-003",
        "a table that was not negotiated",
        FAIL,
        || live().indirect(0, &[Flaw::NotNegotiated]),
    ),
    ("VIO-SPL-003", "a table in a table", FAIL, || {
        live().indirect(0, &[Flaw::Nested])
    }),
    ("VIO-SPL-003", "INDIRECT and NEXT", FAIL, || {
        live().indirect(0, &[Flaw::IndirectAndNext])
    }),
    ("VIO-SPL-003", "a table of odd size", FAIL, || {
        live().indirect(0, &[Flaw::TableLength])
    }),
    ("VIO-SPL-004", "the index goes on", HELD, || {
        live().ring(0, 0, 0).ring(0, 2, 0)
    }),
    ("VIO-SPL-004", "a full ring", HELD, || {
        live().ring(0, 0, 0).ring(0, 128, 0)
    }),
    ("VIO-SPL-004", "the index goes round", HELD, || {
        live().ring(0, 0xffff, 0xffff).ring(0, 3, 0xffff)
    }),
    ("VIO-SPL-004", "the index goes back", FAIL, || {
        live().ring(0, 2, 0).ring(0, 1, 0)
    }),
    ("VIO-SPL-004", "the index jumps", FAIL, || {
        live().ring(0, 0, 0).ring(0, 129, 0)
    }),
    ("VIO-SPL-004", "after a reset it begins anew", HELD, || {
        live()
            .ring(0, 0, 0)
            .ring(0, 2, 2)
            .up()
            .ring(0, 0, 0)
            .ring(0, 1, 0)
    }),
    ("VIO-SPL-005", "indices of the table", HELD, || {
        live().chain(0, &[])
    }),
    flawed!("VIO-SPL-005", "a head beyond the table", FAIL, HeadOutside),
    flawed!("VIO-SPL-005", "a next beyond the table", FAIL, NextOutside),
    flawed!("VIO-SPL-005", "a head that is in flight", FAIL, InFlight),
    ("VIO-SPL-006", "a chain stays as it is", HELD, || {
        live().chain(0, &[]).complete(0)
    }),
    (
        "VIO-SPL-006",
        "a descriptor is changed in flight",
        FAIL,
        || {
            live()
                .chain(0, &[])
                .altered(0, AlteredPart::Descriptors)
                .complete(0)
        },
    ),
    ("VIO-SPL-006", "an entry is changed in flight", FAIL, || {
        live()
            .chain(0, &[])
            .altered(0, AlteredPart::Entry)
            .notify(0)
    }),
    (
        "VIO-SPL-006",
        "what changes at a reset is another rule's",
        UNSEEN,
        || {
            live()
                .chain(0, &[])
                .altered(0, AlteredPart::Descriptors)
                .reset()
        },
    ),
    (
        "VIO-SPL-007",
        "no interrupts, without EVENT_IDX",
        HELD,
        || without_event_idx().sample(flags(1)),
    ),
    ("VIO-SPL-007", "an unknown flag", FAIL, || {
        without_event_idx().sample(flags(2))
    }),
    ("VIO-SPL-007", "no interrupts, with EVENT_IDX", FAIL, || {
        live().sample(flags(1))
    }),
    (
        "VIO-SPL-008",
        "work goes on after a spurious interrupt",
        HELD,
        || {
            live()
                .fault("irq.spurious", Legality::Legal, "q0")
                .log("MISFIRE: done ok load read dev=0")
        },
    ),
    ("VIO-SPL-008", "a request never ends after it", FAIL, || {
        live()
            .fault("irq.spurious", Legality::Legal, "q0")
            .mark("timeout")
    }),
    (
        "VIO-SPL-008",
        "a spurious config interrupt is another rule's",
        UNSEEN,
        || {
            live()
                .fault("irq.spurious", Legality::Legal, "cfg")
                .mark("timeout")
        },
    ),
    ("VIO-SPL-009", "the used ring is the device's", HELD, || {
        live().ring(0, 0, 0).ring(0, 1, 1).reset()
    }),
    (
        "VIO-SPL-009",
        "flags that are not cleared at first",
        FAIL,
        || {
            let sample = RingSample {
                used_flags: 1,
                ..flags(0)
            };
            live().sample(sample)
        },
    ),
    ("VIO-SPL-009", "the device's own flags", HELD, || {
        let sample = RingSample {
            used_flags: 1,
            ..flags(0)
        };
        live().ring(0, 0, 0).sample(sample).reset()
    }),
    (
        "VIO-SPL-009",
        "the driver writes to the used ring",
        FAIL,
        || live().ring(0, 0, 0).dirty(0, DirtyPart::Element),
    ),
    (
        "VIO-SPL-011",
        "an interrupt for what was used",
        HELD,
        || {
            live()
                .chain(0, &[])
                .complete(0)
                .used(0)
                .log("MISFIRE: done ok load read dev=0")
        },
    ),
    (
        "VIO-SPL-011",
        "the driver waits for what it did not ask for",
        FAIL,
        || live().chain(0, &[]).complete(0).mark("timeout"),
    ),
    (
        "VIO-SPL-011",
        "a queue without a message is looked at",
        UNSEEN,
        || {
            trace()
                .hello()
                .msix(true)
                .negotiated()
                .config_vector(0)
                .queue(0, NO_VECTOR)
                .driver_ok()
                .chain(0, &[])
                .complete(0)
                .mark("timeout")
        },
    ),
    (
        "VIO-SPL-011",
        "the guest is through, and waits for something else in vain",
        UNSEEN,
        || {
            live()
                .chain(0, &[])
                .complete(0)
                .log("MISFIRE: done ok load frames dev=0")
                .mark("timeout")
        },
    ),
    ("VIO-SPL-011", "the device has used nothing", UNSEEN, || {
        live().chain(0, &[]).mark("timeout")
    }),
    ("VIO-SPL-012", "one behind the other", HELD, || {
        in_order().chain(0, &[])
    }),
    ("VIO-SPL-012", "back and forth", FAIL, || {
        in_order().chain(0, &[Flaw::OutOfOrder])
    }),
    ("VIO-SPL-012", "without IN_ORDER", UNSEEN, || {
        live().chain(0, &[])
    }),
    ("VIO-SPL-013", "buffers in memory", HELD, || {
        live().chain(0, &[])
    }),
    flawed!(
        "VIO-SPL-013",
        "a buffer outside memory",
        FAIL,
        BufferUnmapped
    ),
    flawed!("VIO-SPL-013", "a table outside memory", FAIL, Unmapped),
    flawed!("VIO-SPL-013", "a buffer of no bytes", INFO, Empty),
];
