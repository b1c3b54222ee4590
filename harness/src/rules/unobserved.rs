//! Rules that nothing a device or its harness sees can decide. They are listed with the reason, and
//! are never judged.

use super::registry::Rule;

const NO_ADMINISTRATION: Option<&str> = Some(
    "the device has no administration virtqueue and does not offer ADMIN_VQ: it could have one, and none is built",
);

/// Of VIO-ADM.
pub const ADM: &[Rule] = &[
    Rule {
        id: "VIO-ADM-001",
        sentence: "Administration virtqueues are enabled only from admin_queue_index on, and admin_queue_num of them.",
        source: "virtio 1.3, 4.1.4.3.2",
        breaks: "another queue is used as one",
        unobservable: NO_ADMINISTRATION,
        ..Rule::BASE
    },
    Rule {
        id: "VIO-ADM-002",
        sentence: "Commands are listed and agreed on before others are used, and no other is.",
        source: "virtio 1.3, 2.12.1",
        breaks: "a command that was not agreed on",
        unobservable: NO_ADMINISTRATION,
        ..Rule::BASE
    },
];

/// Of VIO-SPL.
pub const SPL: &[Rule] = &[Rule {
    id: "VIO-SPL-010",
    sentence: "A memory barrier stands before the update of avail.idx, so that all it publishes is complete.",
    source: "virtio 1.3, 2.7.13.3.1; B77",
    breaks: "avail.idx becomes visible before the entries or descriptors that it publishes",
    unobservable: Some(
        "software emulation runs the guest's processors in turn and in program order, so a missing barrier changes nothing that the device can see",
    ),
    ..Rule::BASE
}];

/// Of VIO-PKD.
pub const PKD: &[Rule] = &[Rule {
    id: "VIO-PKD-005",
    sentence: "A memory barrier stands before the flags of a descriptor are written, and before the device's event suppression is read.",
    source: "virtio 1.3, 2.8.21.1.1; B77",
    breaks: "a descriptor's flags become visible before the rest of it",
    unobservable: Some(
        "software emulation runs the guest's processors in turn and in program order, so a missing barrier changes nothing that the device can see",
    ),
    ..Rule::BASE
}];

/// Of WIN-DUMP.
pub const DUMP: &[Rule] = &[Rule {
    id: "WIN-DUMP-001",
    level: super::Level::Vendor,
    sentence: "In crash-dump and hibernation mode a boot disk's driver polls one queue without interrupts or deferred calls, and completes the dump.",
    source: "storport's dump documents; B23",
    breaks: "the dump never ends",
    unobservable: Some(
        "a dump stack is another instance of the driver in a system that crashed, and no sign that a device sees tells it from a restart; of a miniport's own image WIN-SPT-016 says it, on the guest `nt` with `--crash-dump`",
    ),
    ..Rule::BASE
}];
