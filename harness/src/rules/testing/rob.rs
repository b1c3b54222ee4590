//! Cases of ROB.

use misfire_device::spec::CommonCfg as C;

use super::*;

/// A reset that the device does not complete, as a driver that polls sees it.
fn hanging() -> Trace {
    let trace = trace().hello().up().wr(C::DeviceStatus, 0_u8);
    (0..4).fold(trace, |t, _| t.rd_as(C::DeviceStatus, LIVE))
}

fn gives_up() -> Trace {
    hanging().log("MISFIRE: dev 0 failed status=0xC0000001 STATUS_UNSUCCESSFUL problem=10")
}

pub const CASES: &[Case] = &[
    ("VIO-RST-005", "a driver that gives up", HELD, gives_up),
    ("VIO-RST-005", "a driver that polls for ever", FAIL, hanging),
    ("ROB-006", "a driver that gives up", HELD, gives_up),
    ("ROB-006", "a slow reset", HELD, || {
        hanging().rd(C::DeviceStatus)
    }),
    ("ROB-006", "a driver that polls for ever", FAIL, hanging),
    ("ROB-006", "a step that runs out of time", FAIL, || {
        hanging().mark("timeout").rd(C::DeviceStatus)
    }),
    (
        "ROB-006",
        "a reset that is complete at once",
        UNSEEN,
        || trace().hello().up().reset(),
    ),
];
