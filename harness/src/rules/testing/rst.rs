//! Cases of VIO-RST.

use misfire_device::spec::{CommonCfg as C, PciHeader, Status};

use super::*;

pub const CASES: &[Case] = &[
    ("VIO-RST-001", "a driver that waits for 0", HELD, || {
        trace()
            .hello()
            .up()
            .wr(C::DeviceStatus, 0_u8)
            .rd_as(C::DeviceStatus, LIVE)
            .rd(C::DeviceStatus)
            .status(1)
    }),
    ("VIO-RST-001", "a driver that does not look", FAIL, || {
        trace().hello().up().wr(C::DeviceStatus, 0_u8).status(1)
    }),
    (
        "VIO-RST-001",
        "a driver that looks once and goes on",
        FAIL,
        || {
            trace()
                .hello()
                .up()
                .wr(C::DeviceStatus, 0_u8)
                .rd_as(C::DeviceStatus, LIVE)
                .status(1)
        },
    ),
    (
        "VIO-RST-001",
        "a driver that gives up waiting",
        UNSEEN,
        || {
            trace()
                .hello()
                .wr(C::DeviceStatus, 0_u8)
                .rd_as(C::DeviceStatus, 1_u8)
                .status(Status::FAILED)
        },
    ),
    ("VIO-RST-001", "a driver that never resets", UNSEEN, || {
        trace().hello().status(1)
    }),
    ("VIO-RST-002", "a driver that waits for 0", HELD, || {
        trace().hello().up()
    }),
    (
        "VIO-RST-002",
        "a driver that looks once and goes on",
        WARN,
        || {
            trace()
                .hello()
                .up()
                .wr(C::DeviceStatus, 0_u8)
                .rd_as(C::DeviceStatus, LIVE)
                .status(1)
        },
    ),
    (
        "VIO-RST-003",
        "a reset with buffers outstanding",
        HELD,
        || trace().hello().up().ring(0, 3, 1).reset(),
    ),
    ("VIO-RST-003", "buffers are taken back first", FAIL, || {
        trace().hello().up().ring(0, 3, 1).ring(0, 1, 1).reset()
    }),
    ("VIO-RST-003", "descriptors are cleared first", FAIL, || {
        trace()
            .hello()
            .up()
            .chain(0, &[])
            .altered(0, misfire_device::trace::AlteredPart::Descriptors)
            .reset()
    }),
    (
        "VIO-RST-003",
        "a change in flight is another rule's",
        UNSEEN,
        || {
            trace()
                .hello()
                .up()
                .chain(0, &[])
                .altered(0, misfire_device::trace::AlteredPart::Descriptors)
                .complete(0)
                .reset()
        },
    ),
    ("VIO-RST-003", "a list that is outstanding", HELD, || {
        packed_live().list(0, 0x8000, 3, &[]).reset()
    }),
    ("VIO-RST-003", "a list that was used", UNSEEN, || {
        packed_live().list(0, 0x8000, 3, &[]).complete(0).reset()
    }),
    ("VIO-RST-003", "indices that wrap", HELD, || {
        trace()
            .hello()
            .up()
            .ring(0, 0xffff, 0xfffe)
            .ring(0, 1, 0xffff)
            .reset()
    }),
    ("VIO-RST-004", "a reset before the guest ends", HELD, || {
        trace().hello().up().reset().log("MISFIRE: exit")
    }),
    (
        "VIO-RST-004",
        "a guest that ends with a live device",
        WARN,
        || trace().hello().up().log("MISFIRE: exit"),
    ),
    (
        "VIO-RST-004",
        "bus mastering off before the reset",
        WARN,
        || trace().hello().up().pci(PciHeader::Command, 2).reset(),
    ),
    ("VIO-RST-006", "everything again", HELD, || {
        trace().hello().up().up()
    }),
    ("VIO-RST-006", "no queue is enabled again", FAIL, || {
        trace().hello().up().negotiated().driver_ok()
    }),
    (
        "VIO-RST-006",
        "one queue is not enabled again",
        FAIL,
        || {
            trace()
                .hello()
                .up()
                .negotiated()
                .queue(0, 1)
                .driver_ok()
                .notify(1)
        },
    ),
    ("VIO-RST-007", "no notification in between", HELD, || {
        trace().hello().up().reset().status(Status::ACKNOWLEDGE)
    }),
    ("VIO-RST-007", "a notification in between", FAIL, || {
        trace().hello().up().reset().notify(0)
    }),
];
