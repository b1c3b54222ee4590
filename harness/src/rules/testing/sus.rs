//! Cases of VIO-SUS.

use misfire_device::spec::{CommonCfg as C, SUSPEND, Status};

use super::*;

fn negotiated() -> Trace {
    let features = offered() | 1 << SUSPEND;
    trace()
        .hello_shape(block(), features)
        .found()
        .accept(features)
        .features_ok()
        .queue(0, 0xffff)
}

/// The driver sets SUSPEND of a live device.
fn asked() -> Trace {
    negotiated().driver_ok().status(LIVE | Status::SUSPEND)
}

fn suspended() -> Trace {
    asked().rd(C::DeviceStatus)
}

fn resumed() -> Trace {
    suspended().status(LIVE | Status::SUSPEND)
}

pub const CASES: &[Case] = &[
    (
        "VIO-SUS-001",
        "a live device, and negotiated",
        HELD,
        suspended,
    ),
    ("VIO-SUS-001", "not negotiated", WARN, || {
        trace().hello().up().status(LIVE | Status::SUSPEND)
    }),
    ("VIO-SUS-001", "before DRIVER_OK", WARN, || {
        negotiated().status(FEATURES | Status::SUSPEND)
    }),
    ("VIO-SUS-001", "never set", UNSEEN, || {
        negotiated().driver_ok().rd(C::DeviceStatus)
    }),
    ("VIO-SUS-002", "read to be suspended", HELD, suspended),
    (
        "VIO-SUS-002",
        "read again until it is, and resumed",
        HELD,
        || {
            asked()
                .rd_as(C::DeviceStatus, LIVE)
                .rd(C::DeviceStatus)
                .status(LIVE | Status::SUSPEND)
                .rd(C::DeviceStatus)
                .notify(0)
        },
    ),
    ("VIO-SUS-002", "resumed without a read", FAIL, || {
        asked().status(LIVE | Status::SUSPEND)
    }),
    (
        "VIO-SUS-002",
        "resumed when it was not suspended yet",
        FAIL,
        || {
            asked()
                .rd_as(C::DeviceStatus, LIVE)
                .status(LIVE | Status::SUSPEND)
        },
    ),
    (
        "VIO-SUS-002",
        "a notification while suspended",
        FAIL,
        || suspended().notify(0),
    ),
    (
        "VIO-SUS-002",
        "the configuration is written while suspended",
        FAIL,
        || suspended().dev_wr(0x20, 1, 1),
    ),
    ("VIO-SUS-002", "a reset instead of the wait", UNSEEN, || {
        asked().reset()
    }),
    ("VIO-SUS-002", "not negotiated", UNSEEN, || {
        let asked = trace().hello().up().status(LIVE | Status::SUSPEND);
        asked.notify(0)
    }),
    ("VIO-SUS-003", "read to run again", HELD, || {
        resumed().rd(C::DeviceStatus).notify(0)
    }),
    (
        "VIO-SUS-003",
        "SUSPEND is not kept in what is written",
        HELD,
        || suspended().status(LIVE).rd(C::DeviceStatus),
    ),
    ("VIO-SUS-003", "a notification at once", FAIL, || {
        resumed().notify(0)
    }),
    (
        "VIO-SUS-003",
        "a notification when it does not run yet",
        FAIL,
        || {
            resumed()
                .rd_as(C::DeviceStatus, FEATURES | Status::SUSPEND)
                .notify(0)
        },
    ),
    ("VIO-SUS-003", "a reset instead of the wait", UNSEEN, || {
        resumed().reset()
    }),
    (
        "VIO-INIT-010",
        "a resume without SUSPEND clears nothing",
        HELD,
        || suspended().status(LIVE),
    ),
];
