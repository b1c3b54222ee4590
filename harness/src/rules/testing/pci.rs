//! Cases of VIO-PCI, and of WIN-MSI as far as it is about message capabilities.

use misfire_device::spec::{PciHeader, command};
use misfire_device::trace::TableEntry;

use super::*;

const MEMORY: u64 = command::MEMORY as u64;
const MASTER: u64 = command::BUS_MASTER as u64;
const NO_LINE: u64 = command::INTX_DISABLE as u64;
const TIMED_OUT: &str = "MISFIRE: done failed load reason=timeout op=read dev=0";

fn shaped(text: &str) -> Trace {
    let shape: Shape = toml::from_str(text).unwrap();
    trace().hello_shape(shape, offered())
}

fn both() -> Trace {
    shaped("kind = \"block\"\nqueues = 2\nmsi = 4")
}

fn with_entries(addr: u64, ctrl: u32) -> Trace {
    let entries = vec![
        TableEntry {
            addr,
            data: 0x41,
            ctrl
        };
        3
    ];
    let table = What::MsixTable { dev: 0, entries };
    trace().hello().up().push(table)
}

fn started(text: &str, how: &str) -> Trace {
    shaped(text).log(&format!("MISFIRE: dev 0 started {how}"))
}

const CARD: &str = "kind = \"port-card\"\nports = 4\nmsi = 4";
const LARGE: &str = "kind = \"block\"\nmsix = 2048";

pub const CASES: &[Case] = &[
    ("VIO-PCI-001", "bus mastering is on", HELD, || {
        trace().hello().up().notify(0)
    }),
    ("VIO-PCI-001", "bus mastering is off", FAIL, || {
        trace()
            .hello()
            .pci(PciHeader::Command, MEMORY)
            .up()
            .notify(0)
    }),
    (
        "VIO-PCI-001",
        "bus mastering comes late, and in time",
        HELD,
        || {
            trace()
                .hello()
                .pci(PciHeader::Command, MEMORY)
                .up()
                .pci(PciHeader::Command, MEMORY | MASTER)
                .notify(0)
        },
    ),
    ("VIO-PCI-002", "mapped entries are programmed", HELD, || {
        with_entries(0xfee0_0000, 0)
    }),
    ("VIO-PCI-002", "a mapped entry has no address", FAIL, || {
        with_entries(0, 0)
    }),
    ("VIO-PCI-002", "it has none and is masked", HELD, || {
        with_entries(0, 1)
    }),
    ("VIO-PCI-002", "MSI and MSI-X at once", FAIL, || {
        both().msi(1).msix(true)
    }),
    ("VIO-PCI-002", "the table was not read", UNSEEN, || {
        trace().hello().up()
    }),
    ("VIO-PCI-004", "the line comes", HELD, || {
        trace().hello().up_intx().request(0).isr()
    }),
    ("VIO-PCI-004", "the line is forbidden", FAIL, || {
        trace()
            .hello()
            .pci(PciHeader::Command, MEMORY | MASTER | NO_LINE)
            .up_intx()
            .request(0)
            .log(TIMED_OUT)
    }),
    (
        "VIO-PCI-004",
        "the line is forbidden, and messages come",
        UNSEEN,
        || {
            trace()
                .hello()
                .pci(PciHeader::Command, MEMORY | MASTER | NO_LINE)
                .up()
                .request(0)
                .log(TIMED_OUT)
        },
    ),
    (
        "WIN-MSI-003",
        "a large table, and the device starts",
        HELD,
        || started(LARGE, "mode=msix granted=17 used=2 queues=1"),
    ),
    (
        "WIN-MSI-003",
        "a large table, and it does not start",
        FAIL,
        || {
            shaped(LARGE).log(
                "MISFIRE: dev 0 failed status=0xC000009A STATUS_INSUFFICIENT_RESOURCES problem=12",
            )
        },
    ),
    ("WIN-MSI-003", "a small table", UNSEEN, || {
        started(
            "kind = \"block\"\nmsix = 910",
            "mode=msix granted=17 used=2 queues=1",
        )
    }),
    ("WIN-MSI-005", "a message for each port", HELD, || {
        started(CARD, "mode=msi granted=4 used=4 queues=4")
    }),
    ("WIN-MSI-005", "one message for four ports", FAIL, || {
        shaped(CARD)
            .log("Message Interrupt level 0x4, Vector 0x40, MessageCount 1")
            .log("Created interrupt(0): Signaled(Y), Num(0), Vect(0x40)")
            .log("MISFIRE: dev 0 started mode=msi granted=4 used=4 queues=4")
    }),
    ("WIN-MSI-005", "one message was granted", UNSEEN, || {
        started(CARD, "mode=msi granted=1 used=1 queues=4")
    }),
    (
        "WIN-MSI-005",
        "a disk has no use for more than one",
        UNSEEN,
        || {
            started(
                "kind = \"block\"\nmsix = 0\nmsi = 4",
                "mode=msi granted=4 used=1 queues=1",
            )
        },
    ),
    ("WIN-MSI-016", "MSI-X is used", HELD, || {
        both()
            .up()
            .log("MISFIRE: dev 0 started mode=msix granted=3 used=3 queues=2")
    }),
    ("WIN-MSI-016", "a line is used", HELD, || {
        both()
            .log("INT: INTx Level=5 Vector=81 Affinity=0x1 Flags=0x0")
            .up_intx()
            .log("MISFIRE: dev 0 started mode=intx granted=0 used=0 queues=2")
    }),
    ("WIN-MSI-016", "MSI is used", FAIL, || {
        both()
            .msi(1)
            .log("MISFIRE: dev 0 started mode=msi granted=1 used=1 queues=2")
    }),
    ("WIN-MSI-016", "there is no MSI capability", UNSEEN, || {
        trace()
            .hello()
            .up()
            .log("MISFIRE: dev 0 started mode=msix granted=3 used=3 queues=2")
    }),
];
