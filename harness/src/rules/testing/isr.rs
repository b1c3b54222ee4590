//! Cases of VIO-ISR.

use misfire_device::spec::{CommonCfg as C, NO_VECTOR};
use misfire_device::trace::Legality;

use super::*;

fn line() -> Trace {
    trace().hello().up_intx()
}

/// A read of ISR status that gives this value.
fn isr_as(mut trace: Trace, value: u64) -> Trace {
    let access = trace
        .function()
        .name(Op::Read, Space::Bar0, BarLayout::ISR, 1, None);
    trace.input_shown(Input::Access(access), |shown| {
        shown[0] = Effect::Value(value);
    })
}

fn stale() -> Trace {
    let trace =
        trace()
            .hello()
            .negotiated()
            .queue(0, NO_VECTOR)
            .fault("isr.stale", Legality::Grey, "isr");
    trace
        .input_shown(Input::Time, |shown| shown.push(Effect::Pin(true)))
        .driver_ok()
}

fn bits_zero() -> Trace {
    trace()
        .hello()
        .up()
        .fault("isr.msix", Legality::Grey, "isr")
        .config_change()
}

pub const CASES: &[Case] = &[
    (
        "VIO-ISR-001",
        "each interrupt is acknowledged",
        HELD,
        || line().request(0).isr().reset(),
    ),
    (
        "VIO-ISR-001",
        "ISR status is not read, and the step's time runs out",
        FAIL,
        || line().request(0).mark("timeout"),
    ),
    (
        "VIO-ISR-001",
        "ISR status is not read, and Windows stops",
        FAIL,
        || {
            line()
                .request(0)
                .log("MISFIRE: crash 0xF2 HARDWARE_INTERRUPT_STORM")
        },
    ),
    (
        "VIO-ISR-001",
        "ISR status is not read, and the machine is gone before the console says why",
        FAIL,
        || {
            line()
                .request(0)
                .input(Input::FunctionReset)
                .log("MISFIRE: crash 0xF2 HARDWARE_INTERRUPT_STORM")
        },
    ),
    (
        "VIO-ISR-001",
        "ISR status is never read, though the driver lives on",
        FAIL,
        || line().request(0).notify(1).reset(),
    ),
    (
        "VIO-ISR-001",
        "an interrupt just before a reset",
        UNSEEN,
        || line().used(0).reset(),
    ),
    ("VIO-ISR-001", "messages", UNSEEN, || {
        trace().hello().up().request(0)
    }),
    ("VIO-ISR-002", "2 and 3 are both served", HELD, || {
        line()
            .config_change()
            .isr()
            .dev_rd(0, 4)
            .used(0)
            .config_change()
            .isr()
            .dev_rd(0, 4)
            .notify(0)
    }),
    ("VIO-ISR-002", "2 is ignored", FAIL, || {
        line().config_change().isr().request(0).isr().reset()
    }),
    ("VIO-ISR-002", "3 loses the queue", FAIL, || {
        line()
            .used(0)
            .config_change()
            .isr()
            .dev_rd(0, 4)
            .log("VIRTIO: queue 0: lost interrupt?")
            .log("MISFIRE: done ok load read dev=0")
    }),
    ("VIO-ISR-002", "only 1 ever comes", UNSEEN, || {
        line().request(0).isr().notify(0)
    }),
    ("VIO-ISR-003", "messages alone", HELD, || {
        trace().hello().up().request(0).request(1).reset()
    }),
    (
        "VIO-ISR-003",
        "ISR status is read for a queue's message",
        WARN,
        || trace().hello().up().request(0).isr(),
    ),
    (
        "VIO-ISR-003",
        "the vector is shared with the configuration",
        INFO,
        || {
            trace()
                .hello()
                .msix(true)
                .negotiated()
                .config_vector(0)
                .queue(0, 0)
                .driver_ok()
                .request(0)
                .isr()
        },
    ),
    (
        "VIO-ISR-003",
        "ISR status is read for a configuration message",
        HELD,
        || {
            trace()
                .hello()
                .up()
                .request(0)
                .config_change()
                .isr()
                .reset()
        },
    ),
    (
        "VIO-ISR-004",
        "another device's interrupt is left alone",
        HELD,
        || line().isr().log("CNT: line isr=3 dpc=2 unclaimed=1"),
    ),
    (
        "VIO-ISR-004",
        "another device's interrupt is claimed",
        WARN,
        || line().isr().log("CNT: line isr=3 dpc=3 unclaimed=0"),
    ),
    (
        "VIO-ISR-004",
        "a driver that does not tell",
        INCONCLUSIVE,
        || line().isr(),
    ),
    (
        "VIO-ISR-005",
        "a stale interrupt is acknowledged",
        HELD,
        || stale().isr(),
    ),
    ("VIO-ISR-005", "a stale interrupt storms", FAIL, || {
        stale().mark("timeout")
    }),
    ("VIO-ISR-006", "reserved bits do not matter", HELD, || {
        isr_as(line().used(0), 0x81).notify(0)
    }),
    ("VIO-ISR-006", "reserved bits hide the others", WARN, || {
        isr_as(line().config_change(), 0x82)
            .request(0)
            .isr()
            .reset()
    }),
    (
        "VIO-ISR-006",
        "reserved bits of a device that may not show them",
        WARN,
        || {
            isr_as(
                line()
                    .fault("isr.override", Legality::Illegal, "isr")
                    .config_change(),
                0x82,
            )
            .request(0)
            .isr()
            .reset()
        },
    ),
    ("VIO-ISR-007", "the message says enough", HELD, || {
        bits_zero().rd(C::ConfigGeneration)
    }),
    ("VIO-ISR-007", "the driver wanted a bit", INFO, || {
        bits_zero().isr().request(0).reset()
    }),
];
