//! Cases of VIO-CFG.

use misfire_device::spec::{BlkConfig, CommonCfg as C};
use misfire_device::trace::Legality;

use super::*;

fn capacity(trace: Trace) -> Trace {
    trace
        .rd(C::ConfigGeneration)
        .dev_rd(0, 4)
        .dev_rd(4, 4)
        .rd(C::ConfigGeneration)
}

/// A read of the capacity during which it changes.
fn torn() -> Trace {
    trace()
        .hello()
        .up()
        .rd(C::ConfigGeneration)
        .dev_rd(0, 4)
        .config_change()
        .dev_rd(4, 4)
        .rd(C::ConfigGeneration)
}

fn spurious() -> Trace {
    trace()
        .hello()
        .up()
        .fault("irq.spurious", Legality::Legal, "cfg")
        .input(Input::Time)
}

pub const CASES: &[Case] = &[
    ("VIO-CFG-001", "a bracketed read", HELD, || {
        capacity(trace().hello().negotiated())
    }),
    ("VIO-CFG-001", "a read with nothing around it", WARN, || {
        trace().hello().negotiated().dev_rd(0, 4).dev_rd(4, 4)
    }),
    ("VIO-CFG-001", "a read with nothing after it", WARN, || {
        trace()
            .hello()
            .negotiated()
            .rd(C::ConfigGeneration)
            .dev_rd(0, 4)
            .dev_rd(4, 4)
            .driver_ok()
    }),
    (
        "VIO-CFG-001",
        "a run that ends in the middle",
        UNSEEN,
        || {
            trace()
                .hello()
                .negotiated()
                .rd(C::ConfigGeneration)
                .dev_rd(0, 4)
        },
    ),
    (
        "VIO-CFG-001",
        "a read with nothing after it but other work",
        WARN,
        || {
            trace()
                .hello()
                .up()
                .rd(C::ConfigGeneration)
                .dev_rd(0, 4)
                .dev_rd(4, 4)
                .rd(C::NumQueues)
        },
    ),
    ("VIO-CFG-002", "a torn read is made again", HELD, || {
        capacity(torn())
    }),
    ("VIO-CFG-002", "a torn read is believed", FAIL, || {
        torn().request(0)
    }),
    ("VIO-CFG-002", "a run that ends meanwhile", UNSEEN, torn),
    ("VIO-CFG-002", "a driver that gives up", UNSEEN, || {
        torn().status(0x8b)
    }),
    ("VIO-CFG-002", "nothing changes", UNSEEN, || {
        capacity(trace().hello().up())
    }),
    (
        "VIO-CFG-003",
        "a field whose feature is offered",
        HELD,
        || {
            trace()
                .hello()
                .negotiated()
                .dev_rd(BlkConfig::NumQueues.offset(), 2)
        },
    ),
    (
        "VIO-CFG-003",
        "a field whose feature is not offered",
        FAIL,
        || {
            trace()
                .hello()
                .negotiated()
                .dev_rd(BlkConfig::MaxDiscardSeg.offset(), 4)
        },
    ),
    ("VIO-CFG-004", "a change that is looked at", HELD, || {
        trace().hello().up().config_change().dev_rd(0, 4)
    }),
    ("VIO-CFG-004", "a change that nobody looks at", FAIL, || {
        trace().hello().up().config_change().request(0).reset()
    }),
    (
        "VIO-CFG-004",
        "a change that nobody looks at, on the line",
        FAIL,
        || {
            trace()
                .hello()
                .up_intx()
                .config_change()
                .isr()
                .request(0)
                .isr()
                .reset()
        },
    ),
    (
        "VIO-CFG-004",
        "a change just before the end",
        UNSEEN,
        || trace().hello().up().config_change().reset(),
    ),
    ("VIO-CFG-005", "configuration is only read", HELD, || {
        capacity(trace().hello().up())
    }),
    ("VIO-CFG-005", "the capacity is written", FAIL, || {
        trace().hello().up().dev_wr(0, 4, 1)
    }),
    ("VIO-CFG-006", "a few changes", HELD, || {
        capacity(capacity(torn()))
    }),
    ("VIO-CFG-006", "a driver that reads for ever", FAIL, || {
        (0..1100_u16).fold(trace().hello().up(), |t, n| {
            t.rd_as(C::ConfigGeneration, n & 0xff)
        })
    }),
    ("VIO-CFG-007", "a driver that goes on", HELD, || {
        spurious().request(0)
    }),
    (
        "VIO-CFG-007",
        "a driver that resets the device",
        FAIL,
        || spurious().reset(),
    ),
    (
        "VIO-CFG-007",
        "a driver that resets the device when a step has ended meanwhile",
        FAIL,
        || spurious().mark("end").mark("begin").reset(),
    ),
    (
        "VIO-CFG-007",
        "a driver that resets the device since it is told to",
        HELD,
        || spurious().told("guest device restart").reset(),
    ),
    (
        "VIO-CFG-007",
        "a guest that crashes, and whose console lags",
        FAIL,
        || spurious().request(0).log("MISFIRE: crash 0xD1 X"),
    ),
    ("VIO-CFG-007", "a guest that crashes", FAIL, || {
        spurious().log("MISFIRE: crash 0xD1 X")
    }),
];
