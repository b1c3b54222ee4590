//! Cases of VIO-QRST.

use misfire_device::spec::CommonCfg as C;
use misfire_device::trace::AlteredPart;

use super::*;

fn with() -> Trace {
    let features = offered() | 1 << 40;
    trace()
        .hello_shape(block(), features)
        .msix(true)
        .found()
        .accept(features)
        .features_ok()
        .config_vector(0)
        .queue(0, 1)
        .queue(1, 2)
        .driver_ok()
}

/// Queue 1 is reset.
fn reset() -> Trace {
    with().select(1).wr(C::QueueReset, 1_u8)
}

pub const CASES: &[Case] = &[
    ("VIO-QRST-001", "queue_reset reads 0", HELD, || {
        reset().rd(C::QueueReset).areas(1).enable()
    }),
    ("VIO-QRST-001", "queue_reset is not read", FAIL, || {
        reset().areas(1)
    }),
    ("VIO-QRST-001", "queue_reset reads 1", FAIL, || {
        reset().rd_as(C::QueueReset, 1_u8).areas(1)
    }),
    (
        "VIO-QRST-001",
        "another queue is left alone",
        UNSEEN,
        || reset().select(0).vector(1),
    ),
    ("VIO-QRST-002", "the memory stays as it is", HELD, || {
        reset().rd(C::QueueReset)
    }),
    (
        "VIO-QRST-002",
        "the memory is used again at once",
        FAIL,
        || reset().altered(1, AlteredPart::Released).rd(C::QueueReset),
    ),
    ("VIO-QRST-003", "with RING_RESET", HELD, reset),
    ("VIO-QRST-003", "without RING_RESET", FAIL, || {
        trace().hello().up().select(1).wr(C::QueueReset, 1_u8)
    }),
    ("VIO-QRST-004", "everything anew", HELD, || {
        reset().rd(C::QueueReset).areas(1).vector(2).enable()
    }),
    ("VIO-QRST-004", "without addresses", FAIL, || {
        reset().rd(C::QueueReset).vector(2).enable()
    }),
    ("VIO-QRST-004", "without a vector", WARN, || {
        reset().rd(C::QueueReset).areas(1).enable()
    }),
    (
        "VIO-INIT-009",
        "a queue that was reset is enabled again",
        HELD,
        || reset().rd(C::QueueReset).areas(1).vector(2).enable(),
    ),
    (
        "VIO-Q-001",
        "a queue that was reset gets new addresses",
        HELD,
        || reset().rd(C::QueueReset).areas(1).vector(2).enable(),
    ),
];
