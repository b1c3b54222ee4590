//! Cases of VIO-Q.

use misfire_device::spec::{CommonCfg as C, NO_VECTOR};

use super::*;

fn one_queue() -> Trace {
    trace().hello().negotiated().select(0)
}

fn memory(trace: Trace, size: u64) -> Trace {
    trace.input(Input::Dma {
        address: 0,
        size,
        mapped: true,
    })
}

pub const CASES: &[Case] = &[
    ("VIO-Q-001", "addresses, then queue_enable", HELD, || {
        one_queue().areas(0).enable()
    }),
    ("VIO-Q-001", "queue_enable without addresses", FAIL, || {
        one_queue().enable()
    }),
    ("VIO-Q-001", "an address after queue_enable", FAIL, || {
        one_queue().areas(0).enable().areas(0)
    }),
    (
        "VIO-Q-001",
        "addresses of an earlier epoch do not count",
        FAIL,
        || trace().hello().up().negotiated().select(0).enable(),
    ),
    ("VIO-Q-002", "aligned parts", HELD, || {
        one_queue().areas(0).enable()
    }),
    ("VIO-Q-002", "a used ring at an odd place", FAIL, || {
        one_queue()
            .areas(0)
            .wr(C::QueueDeviceLo, 0x10_8002_u32)
            .enable()
    }),
    ("VIO-Q-003", "a queue that is there", HELD, || {
        one_queue().areas(0).enable()
    }),
    ("VIO-Q-003", "a queue of size 0", FAIL, || {
        trace()
            .hello()
            .negotiated()
            .wr(C::QueueSelect, 1_u8)
            .rd_as(C::QueueSize, 0_u8)
            .areas(1)
            .enable()
    }),
    ("VIO-Q-004", "parts side by side in memory", HELD, || {
        memory(trace().hello(), 1 << 26).up()
    }),
    (
        "VIO-Q-004",
        "a queue beyond the end of memory",
        FAIL,
        || memory(trace().hello(), 1 << 20).up(),
    ),
    ("VIO-Q-004", "rings that overlap", FAIL, || {
        one_queue()
            .areas(0)
            .wr(C::QueueDriverLo, 0x10_0010_u32)
            .enable()
    }),
    ("VIO-Q-005", "each queue at its place", HELD, || {
        trace().hello().up().notify(0).notify(1)
    }),
    ("VIO-Q-005", "every queue at the first place", FAIL, || {
        trace().hello().up().notify_at(0, 2, 1)
    }),
    (
        "VIO-Q-006",
        "two queues with their own memory",
        HELD,
        || trace().hello().up(),
    ),
    ("VIO-Q-006", "two queues with the same memory", FAIL, || {
        one_queue().areas(0).enable().select(1).areas(0).enable()
    }),
    ("VIO-Q-007", "all queues in full", HELD, || {
        trace().hello().up()
    }),
    ("VIO-Q-007", "one queue of two", INFO, || {
        trace().hello().negotiated().queue(0, NO_VECTOR).driver_ok()
    }),
    ("VIO-Q-007", "smaller queues", INFO, || {
        let queue = |t: Trace, q| t.select(q).wr(C::QueueSize, 16_u8).areas(q).enable();
        queue(queue(trace().hello().negotiated(), 0), 1).driver_ok()
    }),
];
