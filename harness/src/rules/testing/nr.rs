//! Cases of VIO-NR.

use misfire_device::spec::{CommonCfg as C, NO_VECTOR, Status};

use super::*;

fn broken() -> Trace {
    trace().hello().up().request(0).input(Input::Broken)
}

fn noticed() -> Trace {
    broken().rd(C::DeviceStatus)
}

const FAILED: &str = "MISFIRE: dev 0 failed status=0xC0000001 STATUS_UNSUCCESSFUL problem=43";

/// A recovery whose features the device does not take.
fn refused() -> Trace {
    noticed()
        .found()
        .accept(offered())
        .status(FEATURES)
        .rd_as(C::DeviceStatus, FEATURES & !Status::FEATURES_OK)
}

pub const CASES: &[Case] = &[
    ("VIO-NR-001", "a driver that recovers", HELD, || {
        noticed().up()
    }),
    (
        "VIO-NR-001",
        "a driver that only stops in the end",
        WARN,
        || noticed().reset().log("MISFIRE: exit"),
    ),
    ("VIO-NR-001", "a driver that does not look", WARN, || {
        broken().request(0)
    }),
    (
        "VIO-NR-001",
        "a driver that resets without having looked",
        WARN,
        || broken().up(),
    ),
    (
        "VIO-NR-001",
        "a driver that could not be told",
        NOT_APPLICABLE,
        || {
            trace()
                .hello()
                .msix(true)
                .negotiated()
                .queue(0, 1)
                .driver_ok()
                .input(Input::Broken)
        },
    ),
    ("VIO-NR-002", "requests are given up", HELD, || {
        broken().log("MISFIRE: done failed load reason=device dev=0")
    }),
    ("VIO-NR-002", "requests hang", WARN, || {
        broken().chain(0, &[]).mark("timeout")
    }),
    (
        "VIO-NR-002",
        "something else is waited for in vain",
        UNSEEN,
        || broken().mark("timeout"),
    ),
    ("VIO-NR-003", "everything again, and it works", HELD, || {
        noticed()
            .up()
            .request(0)
            .log("MISFIRE: done ok load read dev=0")
    }),
    ("VIO-NR-003", "a queue is forgotten", FAIL, || {
        noticed()
            .negotiated()
            .config_vector(0)
            .queue(0, 1)
            .driver_ok()
    }),
    ("VIO-NR-003", "the vectors are forgotten", FAIL, || {
        noticed()
            .negotiated()
            .queue(0, NO_VECTOR)
            .queue(1, NO_VECTOR)
            .driver_ok()
    }),
    (
        "VIO-NR-004",
        "a driver that gives up and resets",
        HELD,
        || trace().hello().negotiated().input(Input::Broken).reset(),
    ),
    ("VIO-NR-004", "a driver that leaves it there", WARN, || {
        trace().hello().negotiated().input(Input::Broken)
    }),
    (
        "VIO-NR-004",
        "a driver that tries a refused recovery again",
        HELD,
        || refused().up().log("MISFIRE: done ok load read dev=0"),
    ),
    (
        "VIO-NR-004",
        "a driver that gives up when its recovery is refused",
        WARN,
        || refused().reset().log(FAILED),
    ),
    ("VIO-NR-005", "a reset", HELD, || noticed().reset()),
    ("VIO-NR-005", "a status without the bit", FAIL, || {
        noticed().status(LIVE)
    }),
    ("VIO-NR-005", "FAILED, with the bit", HELD, || {
        noticed().status(LIVE | Status::NEEDS_RESET | Status::FAILED)
    }),
];
