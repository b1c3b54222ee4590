//! Cases of VIO-FEAT.

use misfire_device::spec::{NO_VECTOR, Status};

use super::*;

const DECOY: u128 = 1 << 45;
const VERSION_1: u128 = 1 << 32;

fn offering(features: u128) -> Trace {
    trace().hello_shape(block(), features)
}

fn accepting(more: u128) -> Trace {
    offering(offered() | more)
        .found()
        .accept(offered() | more)
        .features_ok()
}

fn ignoring(more: u128) -> Trace {
    offering(offered() | more)
        .negotiated()
        .queue(0, NO_VECTOR)
        .driver_ok()
}

pub const CASES: &[Case] = &[
    ("VIO-FEAT-001", "a subset", HELD, || {
        trace().hello().negotiated()
    }),
    ("VIO-FEAT-001", "more than is offered", FAIL, || {
        trace()
            .hello()
            .found()
            .accept(offered() | 1 << 34)
            .features_ok()
    }),
    (
        "VIO-FEAT-002",
        "a modern feature with VERSION_1",
        HELD,
        || accepting(1 << 38),
    ),
    (
        "VIO-FEAT-002",
        "a modern feature without VERSION_1",
        FAIL,
        || {
            offering(offered() | 1 << 38)
                .found()
                .accept(1 << 38)
                .features_ok()
        },
    ),
    ("VIO-FEAT-003", "a decoy is ignored", HELD, || {
        ignoring(DECOY)
    }),
    ("VIO-FEAT-003", "a decoy is accepted", FAIL, || {
        accepting(DECOY)
    }),
    ("VIO-FEAT-003", "no decoy is offered", UNSEEN, || {
        trace().hello().negotiated()
    }),
    ("VIO-FEAT-004", "a decoy does not matter", HELD, || {
        ignoring(DECOY)
    }),
    (
        "VIO-FEAT-004",
        "a decoy makes the driver give up",
        FAIL,
        || {
            offering(offered() | DECOY)
                .found()
                .accept(0)
                .status(3 | Status::FAILED)
        },
    ),
    ("VIO-FEAT-005", "VERSION_1 is accepted", HELD, || {
        trace().hello().negotiated()
    }),
    ("VIO-FEAT-005", "VERSION_1 is not accepted", FAIL, || {
        trace()
            .hello()
            .found()
            .accept(offered() & !VERSION_1)
            .features_ok()
    }),
    ("VIO-FEAT-006", "a packed ring is accepted", HELD, || {
        accepting(1 << 34)
    }),
    ("VIO-FEAT-006", "a packed ring is not wanted", INFO, || {
        ignoring(1 << 34)
    }),
    (
        "VIO-FEAT-007",
        "a driver that gives up without VERSION_1",
        HELD,
        || {
            offering(offered() & !VERSION_1)
                .found()
                .accept(0)
                .status(3 | Status::FAILED)
        },
    ),
    ("VIO-FEAT-007", "a driver that just stops", FAIL, || {
        offering(offered() & !VERSION_1).found().accept(0)
    }),
    ("VIO-FEAT-008", "SR_IOV is ignored", HELD, || {
        ignoring(1 << 37)
    }),
    ("VIO-FEAT-008", "SR_IOV is accepted", FAIL, || {
        accepting(1 << 37)
    }),
];
