//! Cases of VIO-ACC.

use misfire_device::spec::{CommonCfg as C, NO_VECTOR, VirtioCapField};

use super::*;

fn window(bar: u64, offset: u64, length: u64) -> Trace {
    let mut trace = trace().hello();
    let at = trace.place(Field::Window);
    let field = |f: VirtioCapField| at + f.offset();
    trace
        .access(Op::Read, Space::Config, at, 1, None)
        .access(
            Op::Write,
            Space::Config,
            field(VirtioCapField::CapBar),
            1,
            Some(bar),
        )
        .access(
            Op::Write,
            Space::Config,
            field(VirtioCapField::CapLength),
            4,
            Some(length),
        )
        .access(
            Op::Write,
            Space::Config,
            field(VirtioCapField::CapOffset),
            4,
            Some(offset),
        )
        .access(
            Op::Read,
            Space::Config,
            field(VirtioCapField::CapExtra),
            1,
            None,
        )
}

pub const CASES: &[Case] = &[
    ("VIO-ACC-001", "natural widths", HELD, || {
        trace().hello().up().dev_rd(0, 4).dev_rd(4, 4).isr()
    }),
    (
        "VIO-ACC-001",
        "an address written with 8 bytes",
        FAIL,
        || {
            trace().hello().negotiated().access(
                Op::Write,
                Space::Bar0,
                C::QueueDescLo.offset(),
                8,
                Some(0),
            )
        },
    ),
    ("VIO-ACC-001", "half of queue_size", FAIL, || {
        trace()
            .hello()
            .negotiated()
            .access(Op::Read, Space::Bar0, C::QueueSize.offset(), 1, None)
    }),
    ("VIO-ACC-001", "capacity read with 8 bytes", FAIL, || {
        trace().hello().up().dev_rd(0, 8)
    }),
    ("VIO-ACC-001", "ISR status read with 4 bytes", FAIL, || {
        trace()
            .hello()
            .up()
            .access(Op::Read, Space::Bar0, BarLayout::ISR, 4, None)
    }),
    ("VIO-ACC-002", "read-only fields are read", HELD, || {
        trace().hello().up()
    }),
    ("VIO-ACC-002", "num_queues is written", FAIL, || {
        trace().hello().negotiated().wr(C::NumQueues, 1_u8)
    }),
    ("VIO-ACC-003", "capabilities are read", HELD, || {
        trace().hello().up()
    }),
    ("VIO-ACC-003", "a capability is written", FAIL, || {
        let mut trace = trace().hello();
        let at = trace.place(Field::VirtioCapability);
        trace.access(Op::Write, Space::Config, at + 4, 1, Some(2))
    }),
    (
        "VIO-ACC-004",
        "the window reads device_status",
        HELD,
        || window(0, C::DeviceStatus.offset(), 1),
    ),
    ("VIO-ACC-004", "the window is not aligned", FAIL, || {
        window(0, C::DeviceStatus.offset() + 1, 2)
    }),
    (
        "VIO-ACC-004",
        "the window looks between the structures",
        FAIL,
        || window(0, 0x800, 4),
    ),
    ("VIO-ACC-004", "the window is not used", UNSEEN, || {
        trace().hello().up()
    }),
    (
        "VIO-ACC-005",
        "queues are taken down by a reset",
        HELD,
        || trace().hello().up().reset(),
    ),
    (
        "VIO-ACC-005",
        "a queue is taken down by queue_enable",
        FAIL,
        || trace().hello().up().select(0).wr(C::QueueEnable, 0_u8),
    ),
    ("VIO-ACC-006", "a smaller power of two", HELD, || {
        trace()
            .hello()
            .negotiated()
            .select(0)
            .wr(C::QueueSize, 64_u16)
    }),
    ("VIO-ACC-006", "no power of two", FAIL, || {
        trace()
            .hello()
            .negotiated()
            .select(0)
            .wr(C::QueueSize, 100_u16)
    }),
    ("VIO-ACC-006", "more than the device offers", FAIL, || {
        trace()
            .hello()
            .negotiated()
            .select(0)
            .wr(C::QueueSize, 256_u16)
    }),
    (
        "VIO-ACC-007",
        "queues that are not there are only looked for",
        HELD,
        || trace().hello().negotiated().select(2).queue(0, NO_VECTOR),
    ),
    (
        "VIO-ACC-007",
        "a queue that is not there is enabled",
        FAIL,
        || trace().hello().negotiated().select(2).enable(),
    ),
    ("VIO-ACC-009", "accesses in their places", HELD, || {
        trace().hello().up()
    }),
    (
        "VIO-ACC-009",
        "an access between the structures",
        FAIL,
        || {
            trace()
                .hello()
                .up()
                .access(Op::Read, Space::Bar0, 0x800, 4, None)
        },
    ),
];
