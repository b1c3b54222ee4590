//! Cases of ROB.

use misfire_device::spec::CommonCfg as C;
use misfire_device::trace::Legality;

use super::*;

/// A reset that the device does not complete, as a driver that polls sees it.
fn hanging() -> Trace {
    let trace = trace().hello().up().wr(C::DeviceStatus, 0_u8);
    (0..4).fold(trace, |t, _| t.rd_as(C::DeviceStatus, LIVE))
}

fn gives_up() -> Trace {
    hanging().log("MISFIRE: dev 0 failed status=0xC0000001 STATUS_UNSUCCESSFUL problem=10")
}

pub const CASES: &[Case] = &[
    ("VIO-RST-005", "a driver that gives up", HELD, gives_up),
    ("VIO-RST-005", "a driver that polls for ever", FAIL, hanging),
    ("ROB-006", "a driver that gives up", HELD, gives_up),
    ("ROB-006", "a slow reset", HELD, || {
        hanging().rd(C::DeviceStatus)
    }),
    ("ROB-006", "a driver that polls for ever", FAIL, hanging),
    ("ROB-006", "a step that runs out of time", FAIL, || {
        hanging().mark("timeout").rd(C::DeviceStatus)
    }),
    (
        "ROB-006",
        "a reset that is complete at once",
        UNSEEN,
        || trace().hello().up().reset(),
    ),
];

fn odd(fault: &str, class: Legality) -> Trace {
    trace().hello().up().fault(fault, class, "q0").request(0)
}

const OK: &str = "MISFIRE: done ok load read dev=0";
const LATE: &str = "MISFIRE: done failed load reason=timeout read dev=0";
const CRASH: &str = "MISFIRE: crash 0xD1 DRIVER_IRQL_NOT_LESS_OR_EQUAL";

pub const INTERRUPTS: &[Case] = &[
    ("ROB-011", "spurious interrupts do no harm", HELD, || {
        odd("irq.spurious", Legality::Legal).log(OK)
    }),
    (
        "ROB-011",
        "spurious interrupts crash the guest",
        FAIL,
        || odd("irq.spurious", Legality::Legal).log(CRASH),
    ),
    ("ROB-011", "doubled interrupts hang a request", FAIL, || {
        odd("irq.dup", Legality::Legal).log(LATE)
    }),
    (
        "ROB-011",
        "a misrouted interrupt may hang a request",
        UNSEEN,
        || odd("irq.misroute", Legality::Illegal).log(LATE),
    ),
    (
        "ROB-011",
        "a misrouted interrupt may not crash the guest",
        FAIL,
        || odd("irq.misroute", Legality::Illegal).log(CRASH),
    ),
    ("ROB-014", "the watchdog finds the request", HELD, || {
        odd("irq.drop", Legality::Illegal)
            .log("VIRTIO: queue 0: lost interrupt?")
            .log(OK)
    }),
    (
        "ROB-014",
        "the watchdog finds what came astray",
        HELD,
        || {
            odd("irq.misroute", Legality::Illegal)
                .log("VIRTIO: queue 0: lost interrupt?")
                .log(OK)
        },
    ),
    ("ROB-014", "nobody misses what came astray", UNSEEN, || {
        odd("vector.clear", Legality::Illegal).log(OK)
    }),
    ("ROB-014", "the request hangs", FAIL, || {
        odd("irq.drop", Legality::Illegal).log(LATE)
    }),
    ("ROB-014", "the step's time runs out", FAIL, || {
        odd("irq.drop", Legality::Illegal).mark("timeout")
    }),
];

/// A fault in a used ring.
fn ring_fault(name: &str) -> Trace {
    odd(name, Legality::Illegal)
}

pub const RINGS: &[Case] = &[
    ("ROB-001", "the request ends", HELD, || {
        ring_fault("used.id").log(OK)
    }),
    ("ROB-001", "the guest crashes", FAIL, || {
        ring_fault("used.dup").log(CRASH)
    }),
    ("ROB-001", "a load that fails has ended", HELD, || {
        ring_fault("used.id").log(LATE)
    }),
    ("ROB-001", "another fault", UNSEEN, || {
        ring_fault("used.len").log(CRASH)
    }),
    ("ROB-002", "the request ends", HELD, || {
        ring_fault("used.len").log(OK)
    }),
    ("ROB-002", "the guest crashes", FAIL, || {
        ring_fault("used.len").log(CRASH)
    }),
    ("ROB-003", "the request ends", HELD, || {
        ring_fault("used.jump").log(OK)
    }),
    ("ROB-003", "the request never ends", FAIL, || {
        ring_fault("ring.keep").mark("timeout")
    }),
    ("ROB-009", "the request ends", HELD, || {
        ring_fault("used.skip").log(OK)
    }),
    ("ROB-009", "the request never ends", FAIL, || {
        ring_fault("avail_event.lie").mark("timeout")
    }),
    ("ROB-010", "the request ends", HELD, || {
        ring_fault("late.completion").log(OK)
    }),
    ("ROB-010", "the guest crashes", FAIL, || {
        ring_fault("late.completion").log(CRASH)
    }),
    ("ROB-010", "no fault at all", UNSEEN, || {
        trace().hello().up().log(CRASH)
    }),
];
