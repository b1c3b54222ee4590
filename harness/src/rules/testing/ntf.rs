//! Cases of VIO-NTF.

use misfire_device::spec::NO_VECTOR;
use misfire_device::trace::PackedSample;

use super::*;

const DATA: u128 = 1 << 38;
const CONFIG_DATA: u128 = 1 << 39;
const EVENT_IDX: u128 = 1 << 29;

fn with(features: u128) -> Trace {
    trace()
        .hello_shape(block(), offered() | features)
        .found()
        .accept(offered() | features)
        .features_ok()
        .queue(0, NO_VECTOR)
        .queue(1, NO_VECTOR)
        .driver_ok()
}

fn packed_data() -> Trace {
    let features = offered() | DATA | 1 << 34;
    trace()
        .hello_shape(block(), features)
        .found()
        .accept(features)
        .features_ok()
        .queue(0, NO_VECTOR)
        .driver_ok()
}

/// A packed ring whose device asks with `flags` and `desc`, and looks at `next`, where `list` says
/// whether there is a list.
fn place(flags: u16, desc: u16, next: u16, list: bool) -> PackedSample {
    let marks = if next >> 15 == 1 { 1 << 7 } else { 1 << 15 };
    PackedSample {
        dev: 0,
        q: 0,
        driver_desc: 0,
        driver_flags: 0,
        device_desc: desc,
        device_flags: flags,
        next,
        next_flags: if list { marks } else { 0 },
    }
}

fn without_event_idx() -> Trace {
    trace()
        .hello()
        .found()
        .accept(offered() & !EVENT_IDX)
        .features_ok()
        .queue(0, NO_VECTOR)
        .driver_ok()
}

fn sample(avail_idx: u16, used_idx: u16, avail_event: u16, used_flags: u16) -> RingSample {
    RingSample {
        dev: 0,
        q: 0,
        avail_flags: 0,
        avail_idx,
        used_flags,
        used_idx,
        used_event: 0,
        avail_event,
    }
}

pub const CASES: &[Case] = &[
    (
        "VIO-NTF-001",
        "notifications once the device is live",
        HELD,
        || trace().hello().up().notify(0),
    ),
    (
        "VIO-NTF-001",
        "a notification before DRIVER_OK",
        FAIL,
        || {
            trace()
                .hello()
                .negotiated()
                .queue(0, NO_VECTOR)
                .notify(0)
                .driver_ok()
        },
    ),
    (
        "VIO-NTF-001",
        "a notification right after a reset is another rule's",
        UNSEEN,
        || trace().hello().up().reset().notify(0),
    ),
    ("VIO-NTF-002", "16 bits", HELD, || {
        trace().hello().up().notify(0)
    }),
    ("VIO-NTF-002", "32 bits", FAIL, || {
        trace().hello().up().notify_at(0, 4, 0)
    }),
    (
        "VIO-NTF-002",
        "32 bits with NOTIFICATION_DATA",
        HELD,
        || with(DATA).notify_at(1, 4, 0x0001_0001),
    ),
    ("VIO-NTF-003", "the queue's index", HELD, || {
        trace().hello().up().notify(1)
    }),
    ("VIO-NTF-003", "something else", FAIL, || {
        trace().hello().up().notify_at(0, 2, 7)
    }),
    (
        "VIO-NTF-003",
        "the index, where the device asked for another value",
        FAIL,
        || {
            with(CONFIG_DATA)
                .wr(CommonCfg::QueueSelect, 1_u8)
                .rd_as(CommonCfg::QueueNotifConfigData, 0x55_u8)
                .notify(1)
        },
    ),
    ("VIO-NTF-004", "a queue that is there", HELD, || {
        trace().hello().up().notify(0)
    }),
    ("VIO-NTF-004", "a queue that is not there", FAIL, || {
        trace().hello().up().notify(9)
    }),
    ("VIO-NTF-005", "the index of the next buffer", HELD, || {
        with(DATA).ring(0, 3, 0).notify_at(0, 4, 0x0003_0000)
    }),
    (
        "VIO-NTF-005",
        "an index that is not there yet",
        FAIL,
        || with(DATA).ring(0, 3, 0).notify_at(0, 4, 0x0005_0000),
    ),
    (
        "VIO-NTF-005",
        "the same index again and again",
        FAIL,
        || {
            with(DATA)
                .ring(0, 1, 0)
                .notify_at(0, 4, 0)
                .ring(0, 2, 1)
                .notify_at(0, 4, 0)
                .reset()
        },
    ),
    ("VIO-NTF-005", "another processor is ahead", HELD, || {
        with(DATA)
            .ring(0, 2, 0)
            .notify_at(0, 4, 0x0001_0000)
            .ring(0, 3, 0)
            .notify_at(0, 4, 0x0002_0000)
            .ring(0, 3, 0)
            .notify_at(0, 4, 0x0003_0000)
            .reset()
    }),
    ("VIO-NTF-005", "the place behind the list", HELD, || {
        packed_data()
            .notify_at(0, 4, 0x8003_0000)
            .list(0, 0x8000, 3, &[])
    }),
    ("VIO-NTF-005", "a place in the list", FAIL, || {
        packed_data()
            .notify_at(0, 4, 0x8002_0000)
            .list(0, 0x8000, 3, &[])
    }),
    (
        "VIO-NTF-005",
        "the place behind the end of the ring",
        HELD,
        || {
            packed_data()
                .notify_at(0, 4, 0x0001_0000)
                .list(0, 0x8000 | 126, 3, &[])
        },
    ),
    ("VIO-NTF-005", "a place beyond the ring", FAIL, || {
        packed_data().notify_at(0, 4, 0x8080_0000)
    }),
    (
        "VIO-NTF-005",
        "always the place of the list itself",
        FAIL,
        || {
            packed_data()
                .notify_at(0, 4, 0x8000_0000)
                .list(0, 0x8000, 3, &[])
                .notify_at(0, 4, 0x8003_0000)
                .list(0, 0x8003, 3, &[])
                .reset()
        },
    ),
    (
        "VIO-NTF-006",
        "a request that was never told of",
        FAIL,
        || {
            without_event_idx()
                .ring(0, 0, 0)
                .ring(0, 1, 0)
                .mark("timeout")
        },
    ),
    ("VIO-NTF-006", "every buffer was told of", HELD, || {
        without_event_idx()
            .ring(0, 1, 0)
            .notify(0)
            .ring(0, 1, 1)
            .reset()
    }),
    (
        "VIO-NTF-006",
        "a buffer that the device was not told of",
        FAIL,
        || {
            without_event_idx()
                .ring(0, 1, 0)
                .notify(0)
                .ring(0, 2, 1)
                .reset()
        },
    ),
    (
        "VIO-NTF-006",
        "a buffer that the device did not want to be told of",
        UNSEEN,
        || {
            without_event_idx()
                .ring(0, 1, 0)
                .notify(0)
                .sample(sample(2, 1, 0, 1))
                .reset()
        },
    ),
    (
        "VIO-NTF-006b",
        "buffers that came while the device asked for nothing",
        HELD,
        || {
            without_event_idx()
                .sample(sample(1, 1, 0, 1))
                .sample(sample(2, 1, 0, 1))
                .mark("timeout")
        },
    ),
    (
        "VIO-NTF-006b",
        "an index that is not among the new ones",
        HELD,
        || {
            with(EVENT_IDX)
                .sample(sample(1, 1, 0x8000, 0))
                .sample(sample(2, 1, 0x8000, 0))
                .reset()
        },
    ),
    (
        "VIO-NTF-006b",
        "a notification in spite of the flags",
        WARN,
        || {
            without_event_idx()
                .sample(sample(1, 1, 0, 1))
                .notify(0)
                .sample(sample(2, 1, 0, 1))
                .notify(0)
        },
    ),
    (
        "VIO-NTF-006b",
        "a notification that the index did not ask for",
        WARN,
        || {
            with(EVENT_IDX)
                .sample(sample(1, 1, 0x8000, 0))
                .notify(0)
                .sample(sample(2, 1, 0x8000, 0))
                .notify(0)
        },
    ),
    (
        "VIO-NTF-006b",
        "a ring that was looked at while the driver was about to notify",
        UNSEEN,
        || {
            with(EVENT_IDX)
                .sample(sample(1, 0, 0, 0))
                .sample(sample(8, 0, 0, 0))
                .notify(0)
                .reset()
        },
    ),
    (
        "VIO-NTF-006b",
        "the device asked for none after the buffers came",
        UNSEEN,
        || {
            without_event_idx()
                .sample(sample(1, 1, 0, 0))
                .sample(sample(2, 1, 0, 1))
                .notify(0)
                .reset()
        },
    ),
    (
        "VIO-NTF-006b",
        "a notification of nothing new",
        UNSEEN,
        || {
            without_event_idx()
                .sample(sample(1, 1, 0, 1))
                .sample(sample(1, 1, 0, 1))
                .notify(0)
                .reset()
        },
    ),
    (
        "VIO-NTF-006b",
        "the index that the device waits for is among the new ones",
        UNSEEN,
        || {
            with(EVENT_IDX)
                .sample(sample(1, 1, 1, 0))
                .sample(sample(2, 1, 1, 0))
                .notify(0)
                .reset()
        },
    ),
    ("VIO-NTF-006", "every list was told of", HELD, || {
        packed_live()
            .packed(place(0, 0, 0x8000, false))
            .packed(place(0, 0, 0x8000, true))
            .notify(0)
            .packed(place(0, 0, 0x8001, false))
            .reset()
    }),
    (
        "VIO-NTF-006",
        "a list that the device was not told of",
        FAIL,
        || {
            packed_live()
                .packed(place(0, 0, 0x8000, true))
                .notify(0)
                .packed(place(0, 0, 0x8001, false))
                .packed(place(0, 0, 0x8001, true))
                .mark("timeout")
        },
    ),
    (
        "VIO-NTF-006",
        "a list at the place that the device names, behind the end of the ring",
        FAIL,
        || {
            packed_live()
                .packed(place(2, 3, 3, false))
                .packed(place(2, 3, 3, true))
                .reset()
        },
    ),
    (
        "VIO-NTF-006",
        "a list where the device does not want to be told, or of which it knows",
        UNSEEN,
        || {
            packed_live()
                .packed(place(0, 0, 0x8000, false))
                .packed(place(1, 0, 0x8000, true))
                .packed(place(2, 0x8007, 0x8000, true))
                .packed(place(0, 0, 0x8001, true))
                .reset()
        },
    ),
    (
        "VIO-NTF-006",
        "the index that the device waits for went by",
        FAIL,
        || {
            trace()
                .hello()
                .up_intx()
                .ring(0, 1, 0)
                .notify(0)
                .sample(sample(1, 1, 1, 0))
                .sample(sample(2, 1, 1, 0))
                .reset()
        },
    ),
    (
        "VIO-NTF-006",
        "buffers posted ahead, so that there always was one when the device asked",
        UNSEEN,
        || {
            trace()
                .hello()
                .up_intx()
                .ring(0, 2, 0)
                .notify(0)
                .sample(sample(2, 1, 1, 0))
                .sample(sample(3, 2, 2, 0))
                .sample(sample(4, 2, 2, 0))
                .reset()
        },
    ),
    (
        "VIO-NTF-006",
        "the index that the device waits for is far",
        UNSEEN,
        || {
            trace()
                .hello()
                .up_intx()
                .ring(0, 1, 0)
                .notify(0)
                .sample(sample(2, 1, 7, 0))
                .reset()
        },
    ),
    ("VIO-NTF-007", "an enabled queue", HELD, || {
        trace().hello().up().notify(0)
    }),
    ("VIO-NTF-007", "a queue that was not enabled", FAIL, || {
        trace()
            .hello()
            .negotiated()
            .queue(0, NO_VECTOR)
            .driver_ok()
            .notify(1)
    }),
    ("VIO-NTF-008", "no notification after a reset", HELD, || {
        trace().hello().up().reset().status(1)
    }),
    ("VIO-NTF-008", "a notification after a reset", FAIL, || {
        trace().hello().up().reset().notify(1)
    }),
];
