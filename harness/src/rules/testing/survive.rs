//! Cases of ROB, WIN-SYS and of messages while the device works.

use misfire_device::spec::{CommonCfg as C, NO_VECTOR};
use misfire_device::trace::{Cause, Legality, Message};

use super::*;

const OK: &str = "MISFIRE: done ok load read dev=0";
const STOPPED: &str = "MISFIRE: done failed load reason=stopped read dev=0";
const FAILED: &str = "MISFIRE: dev 0 failed status=0xC0000001 STATUS_UNSUCCESSFUL problem=10";
const CRASH: &str = "MISFIRE: crash 0xD1 DRIVER_IRQL_NOT_LESS_OR_EQUAL";
const STORM: &str = "MISFIRE: crash 0xF2 HARDWARE_INTERRUPT_STORM";
const EXIT: &str = "MISFIRE: exit";

fn after(fault: &str) -> Trace {
    trace()
        .hello()
        .up()
        .fault(fault, Legality::Illegal, "q0")
        .request(0)
}

/// Reads of a generation that is another one each time.
fn churning(reads: u16) -> Trace {
    let trace = trace()
        .hello()
        .negotiated()
        .fault("gen.churn", Legality::Grey, "cfg");
    (0..reads).fold(trace, |t, n| t.rd_as(C::ConfigGeneration, n & 0xff))
}

fn message(trace: Trace, entry: u16, cause: Cause) -> Trace {
    let message = Message {
        kind: IrqKind::Msix,
        entry,
        cause,
    };
    trace.input_shown(Input::Time, |shown| {
        shown.push(Effect::Message(message));
    })
}

fn stormed() -> Trace {
    (0..300).fold(trace().hello().up().request(0), |t, _| {
        message(t, 1, Cause::None)
    })
}

/// A driver that has its vectors and has not used the device yet.
fn begun() -> Trace {
    trace().hello().up()
}

/// DRIVER_OK, with a message for the configuration in the same moment.
fn early(cause: Cause) -> Trace {
    let mut trace = trace()
        .hello()
        .msix(true)
        .negotiated()
        .config_vector(0)
        .queue(0, 1)
        .queue(1, 2);
    let status = C::DeviceStatus;
    let off = BarLayout::COMMON + status.offset();
    let live = Some(LIVE.into());
    let access = trace.function().name(Op::Write, Space::Bar0, off, 1, live);
    trace.input_shown(Input::Access(access), |shown| {
        shown.push(Effect::Message(Message {
            kind: IrqKind::Msix,
            entry: 0,
            cause,
        }));
    })
}

pub const CASES: &[Case] = &[
    ("ROB-004", "a driver that refuses the device", HELD, || {
        after("reg.override").log(FAILED)
    }),
    ("ROB-004", "a driver that makes do", HELD, || {
        after("reg.default").log(OK)
    }),
    ("ROB-004", "a crash", FAIL, || {
        after("reg.override").log(CRASH)
    }),
    ("ROB-004", "a hang", FAIL, || {
        after("reg.ignore_write").mark("timeout")
    }),
    ("ROB-004", "a crash of another cause", UNSEEN, || {
        after("irq.drop").log(CRASH)
    }),
    ("ROB-005", "a driver that gives up", HELD, || {
        churning(40).log(FAILED)
    }),
    ("ROB-005", "a driver that reads for ever", FAIL, || {
        churning(120)
    }),
    ("ROB-005", "a driver that never comes back", FAIL, || {
        churning(20).mark("timeout")
    }),
    (
        "ROB-005",
        "many reads, but with other work in between",
        HELD,
        || {
            let trace = churning(60).wr(C::QueueSelect, 0_u8);
            (0..60_u16)
                .fold(trace, |t, n| t.rd_as(C::ConfigGeneration, n))
                .log(OK)
        },
    ),
    ("ROB-007", "a driver that gives up", HELD, || {
        after("allones").log(FAILED)
    }),
    ("ROB-007", "a driver that reads for ever", FAIL, || {
        after("allones").mark("timeout")
    }),
    ("ROB-008", "reserved bits are ignored", HELD, || {
        after("isr.add").log(OK)
    }),
    ("ROB-008", "reserved bits crash the guest", FAIL, || {
        after("isr.add").log(CRASH)
    }),
    (
        "ROB-008",
        "a line that is stuck is the system's end",
        INFO,
        || after("intx.stuck").log(STORM),
    ),
    ("ROB-013", "the device works after the storm", HELD, || {
        stormed().log(OK)
    }),
    ("ROB-013", "the driver has given up", FAIL, || {
        stormed().log(STOPPED)
    }),
    ("ROB-013", "the guest crashes", FAIL, || {
        stormed().log(CRASH)
    }),
    ("ROB-013", "a few messages are no storm", UNSEEN, || {
        (0..20)
            .fold(begun(), |t, _| message(t, 1, Cause::None))
            .log(CRASH)
    }),
    (
        "WIN-MSI-014",
        "a message of no queue is taken",
        HELD,
        || message(begun(), 2, Cause::None).log(OK),
    ),
    (
        "WIN-MSI-014",
        "a message of no queue is fatal",
        FAIL,
        || message(begun(), 2, Cause::None).log(CRASH),
    ),
    ("WIN-MSI-014", "no such message comes", UNSEEN, || {
        begun().request(0).log(OK)
    }),
    ("WIN-MSI-007", "an early change is looked at", HELD, || {
        early(Cause::Config).dev_rd(0, 4).request(0)
    }),
    (
        "WIN-MSI-007",
        "an early change is never looked at",
        FAIL,
        || early(Cause::Config).request(0).log(OK).reset(),
    ),
    ("WIN-MSI-007", "an early message is survived", HELD, || {
        early(Cause::None).request(0)
    }),
    ("WIN-MSI-007", "an early message is fatal", FAIL, || {
        early(Cause::None).log(CRASH)
    }),
    (
        "WIN-MSI-007",
        "a change after the start is never looked at",
        UNSEEN,
        || begun().config_change().request(0).log(OK).reset(),
    ),
    ("WIN-MSI-007", "a driver without messages", UNSEEN, || {
        trace()
            .hello()
            .negotiated()
            .queue(0, NO_VECTOR)
            .driver_ok()
            .config_change()
            .reset()
    }),
    (
        "WIN-SYS-001",
        "the guest leaves in good order",
        HELD,
        || begun().request(0).log(OK).log(EXIT),
    ),
    ("WIN-SYS-001", "the guest stops", FAIL, || {
        begun().log(CRASH)
    }),
    ("WIN-SYS-001", "the guest does not answer", FAIL, || {
        begun().mark("timeout")
    }),
    ("WIN-SYS-001", "the guest answers late", HELD, || {
        begun().mark("timeout").log(OK).log(EXIT)
    }),
];
