//! Cases of VIO-CAP and of the vendor data capability.

use misfire_device::spec::CommonCfg as C;

use super::*;

fn shaped(text: &str) -> Trace {
    let shape: Shape = toml::from_str(&format!("kind = \"block\"\nqueues = 2\n{text}")).unwrap();
    trace().hello_shape(shape, offered())
}

fn refused(text: &str) -> Trace {
    shaped(text)
        .log("MISFIRE: dev 0 failed status=0xC0000182 STATUS_DEVICE_CONFIGURATION_ERROR problem=10")
}

const REFUSED: &str =
    "MISFIRE: dev 0 failed status=0xC0000182 STATUS_DEVICE_CONFIGURATION_ERROR problem=10";

fn entropy() -> Trace {
    let shape: Shape = toml::from_str("kind = \"rng\"\ndevcfg-len = 0").unwrap();
    assert_eq!(shape.check(), Ok(()));
    trace().hello_shape(shape, offered())
}

/// The driver finds the structures, and gives up later.
fn gives_up(text: &str) -> Trace {
    shaped(text)
        .found()
        .log("MISFIRE: dev 0 failed status=0xC00000BB STATUS_NOT_SUPPORTED problem=10")
}

fn vendor(field: Field) -> Trace {
    let mut trace = shaped("vendor-cap = 0x1234");
    let at = trace.place(field);
    trace.access(Op::Read, Space::Config, at, 2, None)
}

pub const CASES: &[Case] = &[
    ("VIO-CAP-001", "the first instances are used", HELD, || {
        shaped("caps = \"dup\"").up()
    }),
    (
        "VIO-CAP-001",
        "the second common configuration is used",
        WARN,
        || {
            shaped("caps = \"dup\"").access(
                Op::Read,
                Space::Bar1,
                C::DeviceStatus.offset(),
                1,
                None,
            )
        },
    ),
    ("VIO-CAP-001", "there is one of each", UNSEEN, || {
        trace().hello().up()
    }),
    ("VIO-CAP-002", "a reserved type is ignored", HELD, || {
        shaped("caps = \"reserved-type\"").up()
    }),
    (
        "VIO-CAP-002",
        "a reserved type ends initialisation",
        FAIL,
        || refused("caps = \"reserved-type\""),
    ),
    (
        "VIO-CAP-002",
        "the driver gives up for another reason",
        UNSEEN,
        || gives_up("caps = \"reserved-type\""),
    ),
    ("VIO-CAP-003", "a reserved bar is ignored", HELD, || {
        shaped("caps = \"reserved-bar\"").up()
    }),
    (
        "VIO-CAP-003",
        "a reserved bar ends initialisation",
        FAIL,
        || refused("caps = \"reserved-bar\""),
    ),
    ("VIO-CAP-003", "no bar is reserved", UNSEEN, || refused("")),
    ("VIO-CAP-004", "longer capabilities are taken", HELD, || {
        shaped("caps = \"long\"").up()
    }),
    (
        "VIO-CAP-004",
        "longer capabilities are not taken",
        FAIL,
        || refused("caps = \"long\""),
    ),
    ("VIO-CAP-005", "large structures are taken", HELD, || {
        shaped("caps = \"huge\"").msix(true).access(
            Op::Write,
            Space::Bar0,
            C::DeviceStatus.offset(),
            1,
            Some(LIVE.into()),
        )
    }),
    ("VIO-CAP-005", "large structures are refused", FAIL, || {
        refused("caps = \"huge\"")
    }),
    ("VIO-CAP-006", "another revision", HELD, || {
        shaped("revision = 255").up()
    }),
    ("VIO-CAP-006", "another board", HELD, || {
        shaped("subsystem = { vendor = 1, id = 2 }").up()
    }),
    ("VIO-CAP-006", "another revision is refused", FAIL, || {
        refused("revision = 0")
    }),
    ("VIO-CAP-007", "a longer configuration", HELD, || {
        shaped("devcfg-len = 512").up()
    }),
    (
        "VIO-CAP-007",
        "a longer configuration is refused",
        FAIL,
        || refused("devcfg-len = 512"),
    ),
    (
        "VIO-CAP-007",
        "a configuration of exactly its fields",
        UNSEEN,
        || shaped("devcfg-len = 60").up(),
    ),
    ("VIO-CAP-008", "a driver that declines", HELD, || {
        refused("caps = \"none\"")
    }),
    ("VIO-CAP-008", "a driver that crashes", FAIL, || {
        shaped("caps = \"none\"").log("*** STOP: 0x00000050 (0x14,0x2,0x0,0x0)")
    }),
    ("VIO-CAP-008", "a crash for another reason", UNSEEN, || {
        shaped("").log("*** STOP: 0x00000050 (0x14,0x2,0x0,0x0)")
    }),
    (
        "VIO-CAP-009",
        "no configuration, and none is needed",
        HELD,
        || entropy().up(),
    ),
    (
        "VIO-CAP-009",
        "a device without configuration is refused",
        FAIL,
        || entropy().log(REFUSED),
    ),
    ("VIO-CAP-009", "there is a configuration", UNSEEN, || {
        trace().hello().up()
    }),
    ("VIO-ACC-008", "vendor data of a known vendor", HELD, || {
        let mut trace = vendor(Field::VendorDataId);
        let at = trace.place(Field::VendorData);
        trace.access(Op::Read, Space::Config, at, 4, None)
    }),
    ("VIO-ACC-008", "vendor data of anybody", FAIL, || {
        vendor(Field::VendorData)
    }),
    (
        "VIO-ACC-008",
        "vendor data of nobody that is known",
        UNSEEN,
        || vendor(Field::VendorDataId),
    ),
];
