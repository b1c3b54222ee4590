//! Cases of VIO-PKD.

use misfire_device::trace::{AlteredPart, Flaw, PackedSample};

use super::*;

fn sample(driver_flags: u16, driver_desc: u16) -> PackedSample {
    PackedSample {
        dev: 0,
        q: 0,
        driver_desc,
        driver_flags,
        device_desc: 0,
        device_flags: 0,
        next: 0x8000,
        next_flags: 0x80,
    }
}

fn first(next_flags: u16) -> Trace {
    let sample = PackedSample {
        next_flags,
        ..sample(0, 0)
    };
    packed_live().packed(sample).notify(0)
}

pub const CASES: &[Case] = &[
    ("VIO-PKD-001", "a list that ends", HELD, || {
        packed_live().list(0, 0x8000, 3, &[])
    }),
    ("VIO-PKD-001", "a list without an end", FAIL, || {
        packed_live().list(0, 0x8000, 3, &[Flaw::TooLong])
    }),
    ("VIO-PKD-001", "what is written comes first", FAIL, || {
        packed_live().list(0, 0x8000, 3, &[Flaw::ReadableAfterWritable])
    }),
    ("VIO-PKD-001", "a split ring", NOT_APPLICABLE, || {
        trace().hello().up().chain(0, &[Flaw::TooLong])
    }),
    ("VIO-PKD-002", "a list stays as it is", HELD, || {
        packed_live().list(0, 0x8000, 3, &[]).complete(0)
    }),
    (
        "VIO-PKD-002",
        "a descriptor is changed in flight",
        FAIL,
        || {
            packed_live()
                .list(0, 0x8000, 3, &[])
                .altered(0, AlteredPart::Descriptors)
                .complete(0)
        },
    ),
    (
        "VIO-PKD-002",
        "what changes at a reset is another rule's",
        UNSEEN,
        || {
            packed_live()
                .list(0, 0x8000, 3, &[])
                .altered(0, AlteredPart::Descriptors)
                .reset()
        },
    ),
    ("VIO-PKD-003", "the first comes last", HELD, || {
        packed_live().list(0, 0x8000, 3, &[])
    }),
    ("VIO-PKD-003", "the first comes first", FAIL, || {
        packed_live().list(0, 0x8000, 3, &[Flaw::Partial])
    }),
    ("VIO-PKD-003", "there is only one", UNSEEN, || {
        packed_live().list(0, 0x8000, 1, &[])
    }),
    ("VIO-PKD-004", "a table", HELD, || {
        packed_live().indirect(0, &[])
    }),
    ("VIO-PKD-004", "a table in a list", FAIL, || {
        packed_live().indirect(0, &[Flaw::IndirectAndNext])
    }),
    ("VIO-PKD-004", "NEXT in a table", FAIL, || {
        packed_live().indirect(0, &[Flaw::TableFlags])
    }),
    (
        "VIO-PKD-004",
        "a table that was not negotiated",
        FAIL,
        || packed_live().indirect(0, &[Flaw::NotNegotiated]),
    ),
    ("VIO-PKD-006", "enabled", HELD, || {
        packed_live().packed(sample(0, 0))
    }),
    ("VIO-PKD-006", "at a descriptor", HELD, || {
        packed_live().packed(sample(2, 0x807f))
    }),
    (
        "VIO-PKD-006",
        "at a descriptor beyond the ring",
        FAIL,
        || packed_live().packed(sample(2, 0x8080)),
    ),
    ("VIO-PKD-006", "the reserved value", FAIL, || {
        packed_live().packed(sample(3, 0))
    }),
    ("VIO-PKD-006", "reserved bits", FAIL, || {
        packed_live().packed(sample(4, 0))
    }),
    ("VIO-PKD-007", "the first list of an epoch", HELD, || {
        packed_live().list(0, 0x8000, 3, &[])
    }),
    ("VIO-PKD-007", "the old wrap counter", FAIL, || {
        first(0x8000)
    }),
    (
        "VIO-PKD-007",
        "the first descriptor was used already",
        UNSEEN,
        || first(0x8080),
    ),
];
