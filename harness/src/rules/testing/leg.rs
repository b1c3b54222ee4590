//! Cases of VIO-LEG, and of other families on the legacy interface.

use misfire_device::shape::Interface;
use misfire_device::spec::{LegacyCfg as L, PciHeader, command};

use super::*;

const HEADER: u64 = 20;
const ANY_LAYOUT: u64 = 1 << 27;

impl Trace {
    /// A write of a legacy register.
    fn lw(self, register: L, val: u64) -> Self {
        self.port_wr(register.offset(), register.width(), val)
    }

    /// A read of a legacy register.
    fn lr(self, register: L) -> Self {
        self.port_rd(register.offset(), register.width())
    }

    fn port_wr(self, off: u64, width: u8, val: u64) -> Self {
        self.access(Op::Write, Space::Bar0, off, width, Some(val))
    }

    fn port_rd(self, off: u64, width: u8) -> Self {
        self.access(Op::Read, Space::Bar0, off, width, None)
    }

    /// Reset to DRIVER.
    fn begun(self) -> Self {
        let statuses = [0, 1, 3].into_iter();
        let begun = statuses.fold(self, |trace, status| trace.lw(L::DeviceStatus, status));
        begun.lr(L::DeviceFeatures)
    }

    /// A driver that accepts `features` and reads the capacity twice, from `at` on.
    fn accepted(self, features: u64, at: u64) -> Self {
        let accepted = self.begun().lw(L::DriverFeatures, features);
        (0..2).fold(accepted, |trace, _| trace.port_rd(at, 4).port_rd(at + 4, 4))
    }

    /// Puts a queue in use as its size wants it.
    fn placed(self, q: u16, page: u64) -> Self {
        self.lw(L::QueueSelect, q.into())
            .lr(L::QueueSize)
            .lw(L::QueueAddress, page)
    }

    /// DRIVER_OK.
    fn alive(self) -> Self {
        self.lw(L::DeviceStatus, 7)
    }
}

fn device(kind: Kind, virtio: Interface) -> Trace {
    let shape = Shape {
        virtio,
        ..match kind {
            Kind::Block => block(),
            kind => Shape::new(kind),
        }
    };
    let on = command::IO | command::MEMORY | command::BUS_MASTER;
    trace()
        .hello_shape(shape, offered())
        .pci(PciHeader::Command, on.into())
}

fn disk() -> Trace {
    device(Kind::Block, Interface::Transitional)
}

fn console() -> Trace {
    device(Kind::Console, Interface::Legacy)
}

/// A driver that does everything right, with the line.
fn up() -> Trace {
    disk().accepted(ANY_LAYOUT, HEADER).placed(0, 0x100).alive()
}

/// The same with MSI-X.
fn up_by_messages() -> Trace {
    disk()
        .msix(true)
        .accepted(ANY_LAYOUT, HEADER + 4)
        .lw(L::ConfigMsixVector, 0)
        .lr(L::ConfigMsixVector)
        .placed(0, 0x100)
        .lw(L::QueueMsixVector, 1)
        .lr(L::QueueMsixVector)
        .alive()
}

pub const CASES: &[Case] = &[
    ("VIO-LEG-001", "without MSI-X it begins at 20", HELD, up),
    (
        "VIO-LEG-001",
        "with MSI-X it begins at 24",
        HELD,
        up_by_messages,
    ),
    (
        "VIO-LEG-001",
        "it moves back when MSI-X is off",
        HELD,
        || up_by_messages().msix(false).port_rd(HEADER, 4),
    ),
    (
        "VIO-LEG-001",
        "the capacity is read where the vectors are",
        FAIL,
        || disk().msix(true).begun().port_rd(HEADER, 4),
    ),
    (
        "VIO-LEG-001",
        "a field of two bytes is read where a vector is",
        FAIL,
        || console().msix(true).begun().port_rd(HEADER, 2),
    ),
    (
        "VIO-LEG-001",
        "a vector is written that is none without MSI-X",
        FAIL,
        || {
            console()
                .begun()
                .port_wr(HEADER, 2, 0xffff)
                .port_rd(HEADER, 2)
        },
    ),
    (
        "VIO-LEG-001",
        "a byte of the address is written",
        HELD,
        || {
            device(Kind::Net, Interface::Legacy)
                .begun()
                .port_wr(HEADER, 1, 0x52)
        },
    ),
    (
        "VIO-LEG-001",
        "by the structures nothing is said",
        UNSEEN,
        || disk().wr_modern(0),
    ),
    (
        "VIO-LEG-001",
        "a modern device has no such interface",
        NOT_APPLICABLE,
        || trace().hello().up(),
    ),
    (
        "VIO-LEG-002",
        "no FEATURES_OK, and the size is read",
        HELD,
        up,
    ),
    ("VIO-LEG-002", "FEATURES_OK is set", FAIL, || {
        disk().accepted(0, HEADER).lw(L::DeviceStatus, 0xb)
    }),
    ("VIO-LEG-002", "the size is not read", FAIL, || {
        disk().accepted(0, HEADER).lw(L::QueueAddress, 0x100)
    }),
    ("VIO-LEG-002", "a queue is taken out of use", HELD, || {
        up().lw(L::QueueAddress, 0)
    }),
    ("VIO-LEG-003", "the features are of the first 32", HELD, up),
    (
        "VIO-LEG-003",
        "VERSION_1 is accepted by the structures",
        FAIL,
        || {
            disk()
                .accepted(ANY_LAYOUT, HEADER)
                .wr_modern(1)
                .placed(0, 0x100)
                .alive()
        },
    ),
    ("VIO-LEG-003", "bit 30 is accepted", WARN, || {
        disk().accepted(1 << 30, HEADER).placed(0, 0x100).alive()
    }),
    (
        "VIO-LEG-004",
        "each vector is read back",
        HELD,
        up_by_messages,
    ),
    ("VIO-LEG-004", "a vector is not read back", FAIL, || {
        disk()
            .msix(true)
            .accepted(0, HEADER + 4)
            .placed(0, 0x100)
            .lw(L::QueueMsixVector, 1)
            .alive()
    }),
    ("VIO-LEG-005", "the capacity is read twice", HELD, up),
    ("VIO-LEG-005", "the capacity is read once", WARN, || {
        disk()
            .begun()
            .port_rd(HEADER, 4)
            .port_rd(HEADER + 4, 4)
            .alive()
    }),
    (
        "VIO-LEG-005",
        "a console has nothing that can be torn",
        UNSEEN,
        || console().begun().port_rd(HEADER, 2).alive(),
    ),
];

impl Trace {
    /// Accepts word 1 of the features by the structures, which are in BAR 4.
    fn wr_modern(self, features: u64) -> Self {
        let registers = [
            (CommonCfg::DriverFeatureSelect, 1),
            (CommonCfg::DriverFeature, features),
        ];
        registers.into_iter().fold(self, |trace, (register, val)| {
            let (off, width) = (register.offset(), register.width());
            trace.access(Op::Write, Space::Bar4, off, width, Some(val))
        })
    }
}

/// What other families say of a driver of the legacy interface.
pub const OTHERS: &[Case] = &[
    ("VIO-INIT-001", "it resets the device first", HELD, up),
    ("VIO-INIT-002", "DRIVER without ACKNOWLEDGE", FAIL, || {
        disk().lw(L::DeviceStatus, 0).lw(L::DeviceStatus, 2)
    }),
    ("VIO-INIT-003", "features in their order", HELD, up),
    ("VIO-INIT-004", "FEATURES_OK is not asked for", UNSEEN, up),
    (
        "VIO-INIT-004",
        "there is no FEATURES_OK at all",
        NOT_APPLICABLE,
        || console().begun(),
    ),
    ("VIO-FEAT-001", "only what is offered is accepted", HELD, up),
    ("VIO-FEAT-001", "something else is accepted", FAIL, || {
        disk().accepted(1 << 3, HEADER).alive()
    }),
    (
        "VIO-FEAT-003",
        "ANY_LAYOUT means something here",
        UNSEEN,
        up,
    ),
    ("VIO-FEAT-005", "VERSION_1 can't be accepted", UNSEEN, up),
    ("VIO-RST-001", "a reset need not be waited for", UNSEEN, up),
    (
        "VIO-ACC-001",
        "registers by their width, configuration by any",
        HELD,
        || up().port_rd(HEADER, 1),
    ),
    (
        "VIO-ACC-001",
        "status and ISR status are read together",
        FAIL,
        || up().port_rd(L::DeviceStatus.offset(), 2),
    ),
    ("VIO-ACC-009", "an access behind everything", FAIL, || {
        device(Kind::Rng, Interface::Legacy).port_rd(0xf0, 4)
    }),
    (
        "VIO-Q-003",
        "a queue that is not there is put in use",
        FAIL,
        || up().placed(2, 0x200),
    ),
    ("VIO-Q-004", "two queues lie on each other", FAIL, || {
        up().placed(1, 0x101)
    }),
    ("VIO-Q-006", "two queues have the same page", FAIL, || {
        up().placed(1, 0x100)
    }),
    ("VIO-Q-006", "each queue has its own page", HELD, || {
        up().placed(1, 0x200)
    }),
    ("VIO-MSIX-001", "a vector outside the table", FAIL, || {
        up_by_messages().lw(L::QueueMsixVector, 7)
    }),
    (
        "VIO-MSIX-002",
        "vectors are read back",
        HELD,
        up_by_messages,
    ),
    (
        "VIO-ISR-001",
        "the ISR status is read on the line",
        HELD,
        || up().input(Input::Used { queue: 0 }).lr(L::IsrStatus),
    ),
    ("VIO-NTF-002", "a notification has two bytes", HELD, || {
        up().lw(L::QueueNotify, 0)
    }),
    (
        "VIO-NTF-007",
        "a queue that is not in use is notified",
        FAIL,
        || up().lw(L::QueueNotify, 1),
    ),
    (
        "VIO-NTF-008",
        "a notification after the reset",
        FAIL,
        || up().lw(L::DeviceStatus, 0).lw(L::QueueNotify, 0),
    ),
    ("VIO-CFG-001", "there is no generation to read", UNSEEN, up),
    (
        "VIO-CFG-005",
        "the address of a network device may be written",
        HELD,
        || {
            device(Kind::Net, Interface::Legacy)
                .begun()
                .port_wr(HEADER, 1, 0x52)
        },
    ),
    ("VIO-CFG-005", "the capacity may not", FAIL, || {
        up().port_wr(HEADER, 4, 0)
    }),
];
