//! Cases of WIN-PNP, WIN-STOR and of WIN-MSI where messages are switched off or change.

use misfire_device::spec::PciHeader;
use misfire_device::trace::Input;

use super::*;

/// The function is pulled out while it works.
fn pulled_out() -> Trace {
    trace().hello().up().request(0).input(Input::Unplugged)
}

/// The bus has found it gone.
fn missed() -> Trace {
    pulled_out().found_by_bus()
}

/// The function is sent to sleep.
fn asleep(trace: Trace) -> Trace {
    power(trace, 3)
}

fn power(mut trace: Trace, state: u64) -> Trace {
    let at = trace.place(Field::PowerControl);
    trace.access(Op::Write, Space::Config, at, 2, Some(state))
}

fn started(trace: Trace, granted: u32) -> Trace {
    trace.log(&format!(
        "MISFIRE: dev 0 started mode=msix granted={granted} used=3 queues=2"
    ))
}

const LOADED: &str = "MISFIRE: done ok load op=read dev=0";
const REJECTED: &str = "MISFIRE: done failed load reason=stopped";
const REMOVED: &str = "MISFIRE: done failed load reason=removed op=read dev=0";
const CRASH: &str = "MISFIRE: crash 0xD1 DRIVER_IRQL_NOT_LESS_OR_EQUAL";

pub const CASES: &[Case] = &[
    ("WIN-PNP-001", "the slot is switched off", HELD, || {
        missed().input(Input::FunctionReset).found_by_bus()
    }),
    ("WIN-PNP-001", "the driver polls to the end", FAIL, || {
        missed().reset().rd(CommonCfg::DeviceStatus)
    }),
    ("WIN-PNP-001", "a step runs out of time", FAIL, || {
        missed().mark("timeout").input(Input::FunctionReset)
    }),
    ("WIN-PNP-001", "the guest crashes", FAIL, || {
        missed().log(CRASH)
    }),
    ("WIN-PNP-001", "nothing is pulled out", UNSEEN, || {
        trace().hello().up().request(0)
    }),
    (
        "VIO-NTF-008",
        "a notification before anybody knows",
        HELD,
        || {
            let trace = pulled_out().notify(0).found_by_bus();
            trace.input(Input::FunctionReset).found_by_bus()
        },
    ),
    (
        "VIO-NTF-008",
        "a notification of a function that was found gone",
        FAIL,
        || missed().notify(0).input(Input::FunctionReset),
    ),
    (
        "VIO-RST-004",
        "bus mastering ends with the function itself",
        NOT_APPLICABLE,
        || missed().input(Input::FunctionReset),
    ),
    ("WIN-PNP-002", "everything again", HELD, || {
        let trace = asleep(trace().hello().up().reset());
        power(trace, 0).up().request(0)
    }),
    ("WIN-PNP-002", "nothing again", FAIL, || {
        power(asleep(trace().hello().up()), 0).request(0)
    }),
    ("WIN-PNP-002", "it never works again", FAIL, || {
        power(asleep(trace().hello().up()), 0).mark("timeout")
    }),
    ("WIN-PNP-002", "a driver that sleeps on", UNSEEN, || {
        asleep(trace().hello().up().reset())
    }),
    ("WIN-MSI-008", "MSI-X off after the reset", HELD, || {
        trace().hello().up().reset().msix(false)
    }),
    ("WIN-MSI-008", "MSI-X off while live", FAIL, || {
        trace().hello().up().msix(false).reset()
    }),
    ("WIN-MSI-008", "asleep while live", FAIL, || {
        asleep(trace().hello().up())
    }),
    ("WIN-MSI-008", "asleep after the reset", HELD, || {
        asleep(trace().hello().up().reset())
    }),
    (
        "WIN-MSI-008",
        "MSI-X off before the device was ever live",
        UNSEEN,
        || trace().hello().msix(true).msix(false),
    ),
    ("WIN-MSI-009", "requests go on", HELD, || {
        started(started(trace().hello().up(), 3), 1).log(LOADED)
    }),
    ("WIN-MSI-009", "requests are rejected", FAIL, || {
        started(started(trace().hello().up(), 3), 1).log(REJECTED)
    }),
    ("WIN-MSI-009", "requests hang", FAIL, || {
        started(started(trace().hello().up(), 3), 1).mark("timeout")
    }),
    ("WIN-MSI-009", "the same messages again", UNSEEN, || {
        started(started(trace().hello().up(), 3), 3).log(REJECTED)
    }),
    ("WIN-STOR-001", "requests end with the device", HELD, || {
        missed().log(REMOVED).input(Input::FunctionReset)
    }),
    ("WIN-STOR-001", "requests stay for ever", FAIL, || {
        missed().input(Input::FunctionReset).mark("timeout")
    }),
    ("WIN-STOR-001", "a lost interrupt is found", HELD, || {
        let trace = trace().hello().up();
        trace
            .fault("irq.drop", Legality::Illegal, "q0")
            .request(0)
            .log(LOADED)
    }),
    (
        "WIN-STOR-001",
        "a late completion crashes the guest",
        FAIL,
        || {
            let trace = trace().hello().up();
            trace
                .fault("late.completion", Legality::Illegal, "q0")
                .log(CRASH)
        },
    ),
    (
        "WIN-STOR-001",
        "nothing happens to requests",
        UNSEEN,
        || {
            let at = PciHeader::Command;
            trace().hello().up().request(0).pci(at, 6).log(LOADED)
        },
    ),
];
