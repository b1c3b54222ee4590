//! Cases of VIO-INIT.

use misfire_device::spec::{CommonCfg as C, NO_VECTOR, Status};
use misfire_device::trace::Legality;

use super::*;

const FOUND: u8 = Status::ACKNOWLEDGE | Status::DRIVER;

/// A device that refuses FEATURES_OK, legally.
fn refused() -> Trace {
    let mut trace =
        trace()
            .hello()
            .found()
            .accept(offered())
            .fault("status.refuse", Legality::Legal, "status");
    let off = BarLayout::COMMON + C::DeviceStatus.offset();
    let function = trace.function();
    let heard = function.name(Op::Write, Space::Bar0, off, 1, Some(FOUND.into()));
    let made = function.name(Op::Write, Space::Bar0, off, 1, Some(FEATURES.into()));
    function.step(0, &Input::Access(heard));
    trace.push(What::Step(Step {
        dev: 0,
        part: Part::Function,
        input: Input::Access(made),
        heard: Some(vec![Input::Access(heard)]),
        shown: Effects::new(),
        meant: None,
    }))
}

pub const CASES: &[Case] = &[
    (
        "VIO-INIT-001",
        "a driver that begins with a reset",
        HELD,
        || trace().hello().up(),
    ),
    (
        "VIO-INIT-001",
        "a driver that takes over a live device without a reset",
        FAIL,
        || {
            trace()
                .hello()
                .up()
                .found_by_bus()
                .log("MISFIRE: guest reference 1")
                .status(Status::ACKNOWLEDGE)
        },
    ),
    (
        "VIO-INIT-001",
        "a driver that finds the device reset and does not reset it",
        WARN,
        || trace().hello().status(Status::ACKNOWLEDGE),
    ),
    ("VIO-INIT-002", "ACKNOWLEDGE, then DRIVER", HELD, || {
        trace().hello().found()
    }),
    ("VIO-INIT-002", "DRIVER alone", FAIL, || {
        trace().hello().reset().status(Status::DRIVER)
    }),
    ("VIO-INIT-002", "both in one write", INFO, || {
        trace().hello().reset().status(FOUND)
    }),
    ("VIO-INIT-003", "features after DRIVER", HELD, || {
        trace().hello().negotiated()
    }),
    (
        "VIO-INIT-003",
        "features accepted before DRIVER",
        FAIL,
        || trace().hello().reset().status(1).accept(offered()),
    ),
    (
        "VIO-INIT-003",
        "features accepted that were never read",
        FAIL,
        || trace().hello().found().wr(C::DriverFeature, 0x200_u32),
    ),
    (
        "VIO-INIT-004",
        "FEATURES_OK, queues, DRIVER_OK",
        HELD,
        || trace().hello().up(),
    ),
    (
        "VIO-INIT-004",
        "a queue is enabled before FEATURES_OK",
        FAIL,
        || {
            trace()
                .hello()
                .found()
                .accept(offered())
                .queue(0, NO_VECTOR)
                .features_ok()
                .driver_ok()
        },
    ),
    (
        "VIO-INIT-004",
        "queues are only discovered before FEATURES_OK",
        WARN,
        || {
            trace()
                .hello()
                .found()
                .select(0)
                .accept(offered())
                .features_ok()
                .queue(0, NO_VECTOR)
                .driver_ok()
        },
    ),
    ("VIO-INIT-005", "the status is read again", HELD, || {
        trace().hello().up()
    }),
    ("VIO-INIT-005", "the status is not read again", FAIL, || {
        trace()
            .hello()
            .found()
            .accept(offered())
            .status(FEATURES)
            .queue(0, NO_VECTOR)
            .driver_ok()
    }),
    (
        "VIO-INIT-006",
        "a driver that gives up when FEATURES_OK is refused",
        HELD,
        || refused().rd(C::DeviceStatus).status(FOUND | Status::FAILED),
    ),
    (
        "VIO-INIT-006",
        "a driver that takes a refused FEATURES_OK for accepted",
        FAIL,
        || {
            refused()
                .rd(C::DeviceStatus)
                .queue(0, NO_VECTOR)
                .driver_ok()
        },
    ),
    (
        "VIO-INIT-006",
        "a driver that never looks whether FEATURES_OK was refused",
        FAIL,
        || refused().queue(0, NO_VECTOR).driver_ok(),
    ),
    (
        "VIO-INIT-006",
        "a device that refuses nothing",
        UNSEEN,
        || trace().hello().up(),
    ),
    (
        "VIO-INIT-007",
        "features are left alone after FEATURES_OK",
        HELD,
        || trace().hello().up(),
    ),
    (
        "VIO-INIT-007",
        "a feature is added after FEATURES_OK",
        FAIL,
        || {
            trace()
                .hello()
                .found()
                .accept(1 << 32)
                .features_ok()
                .accept(offered())
        },
    ),
    (
        "VIO-INIT-007",
        "the same features are written after FEATURES_OK",
        INFO,
        || {
            trace()
                .hello()
                .negotiated()
                .accept(offered())
                .queue(0, NO_VECTOR)
                .driver_ok()
        },
    ),
    ("VIO-INIT-008", "configuration is only read", HELD, || {
        trace()
            .hello()
            .found()
            .dev_rd(0, 4)
            .accept(offered())
            .features_ok()
    }),
    (
        "VIO-INIT-008",
        "configuration is written before FEATURES_OK",
        FAIL,
        || trace().hello().found().dev_wr(0x20, 1, 1),
    ),
    ("VIO-INIT-009", "queues are enabled first", HELD, || {
        trace().hello().up()
    }),
    (
        "VIO-INIT-009",
        "a queue is enabled after DRIVER_OK",
        FAIL,
        || trace().hello().negotiated().driver_ok().queue(0, NO_VECTOR),
    ),
    ("VIO-INIT-010", "status bits are only added", HELD, || {
        trace().hello().up()
    }),
    (
        "VIO-INIT-010",
        "DRIVER is lost when FEATURES_OK is set",
        FAIL,
        || {
            trace()
                .hello()
                .found()
                .status(Status::ACKNOWLEDGE | Status::FEATURES_OK)
        },
    ),
    (
        "VIO-INIT-010",
        "a bit that the device refused is not missed",
        HELD,
        || refused().status(FOUND | Status::FAILED),
    ),
    ("VIO-INIT-011", "a reset after FAILED", HELD, || {
        trace()
            .hello()
            .found()
            .status(FOUND | Status::FAILED)
            .reset()
            .found()
    }),
    ("VIO-INIT-011", "no reset after FAILED", FAIL, || {
        trace()
            .hello()
            .found()
            .status(FOUND | Status::FAILED)
            .status(FOUND)
    }),
    ("VIO-INIT-012", "a driver that sets FAILED", HELD, || {
        refused().rd(C::DeviceStatus).status(FOUND | Status::FAILED)
    }),
    (
        "VIO-INIT-012",
        "a start that fails, one that works, and a device that is taken note of again",
        INCONCLUSIVE,
        || {
            refused()
                .rd(C::DeviceStatus)
                .status(FOUND | Status::FAILED)
                .log("MISFIRE: dev 0 failed status=0xC0000001 STATUS_UNSUCCESSFUL problem=10")
                .reset()
                .up()
                .reset()
                .status(Status::ACKNOWLEDGE)
        },
    ),
    ("VIO-INIT-012", "a driver that walks away", WARN, || {
        trace()
            .hello()
            .negotiated()
            .log("MISFIRE: dev 0 failed status=0xC0000001 STATUS_UNSUCCESSFUL problem=10")
    }),
    (
        "VIO-INIT-012",
        "a driver that walks away, and a machine that is gone then",
        WARN,
        || {
            trace()
                .hello()
                .negotiated()
                .log("MISFIRE: dev 0 failed status=0xC0000001 STATUS_UNSUCCESSFUL problem=10")
                .input(Input::FunctionReset)
        },
    ),
    (
        "VIO-INIT-012",
        "a trace that ends in the middle",
        INCONCLUSIVE,
        || trace().hello().negotiated(),
    ),
];
