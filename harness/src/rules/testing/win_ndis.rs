//! Cases of WIN-NDIS.

use super::*;

fn adapter() -> Trace {
    let shape = Shape::new(Kind::Net);
    trace().hello_shape(shape, offered()).up()
}

const DONE: &str = "MISFIRE: done ok load frames dev=0";

pub const CASES: &[Case] = &[
    (
        "WIN-NDIS-001",
        "frames come back after a reset",
        HELD,
        || adapter().input(Input::Broken).up().log(DONE),
    ),
    (
        "WIN-NDIS-001",
        "an adapter that is never reset",
        FAIL,
        || adapter().input(Input::Broken).log(DONE),
    ),
    ("WIN-NDIS-001", "no frame after the reset", FAIL, || {
        adapter()
            .input(Input::Broken)
            .up()
            .log("MISFIRE: done failed load reason=timeout dev=0")
    }),
    ("WIN-NDIS-001", "nothing happens to it", UNSEEN, || {
        adapter().log(DONE)
    }),
    ("WIN-NDIS-001", "a disk", NOT_APPLICABLE, || {
        trace().hello().up().input(Input::Broken).up().log(DONE)
    }),
];
