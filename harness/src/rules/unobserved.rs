//! Rules that nothing a device or its harness sees can decide. They are listed with the reason, and
//! are never judged.

use super::registry::Rule;

/// Of VIO-ACC.
pub const ACC: &[Rule] = &[Rule {
    id: "VIO-ACC-008",
    sentence: "The vendor data capability is used only after its vendor_id was checked, and for nothing but diagnosis.",
    source: "virtio 1.3, 4.1.4.8.2",
    breaks: "its data are accessed without a read of vendor_id",
    unobservable: Some(
        "it is about the vendor data capability (virtio 1.3, 4.1.4.8), which the device does not have",
    ),
    ..Rule::BASE
}];

/// Of VIO-NTF.
pub const NTF: &[Rule] = &[Rule {
    id: "VIO-NTF-006b",
    sentence: "While the device suppresses notifications, the driver sends none.",
    source: "virtio 1.3, 2.7.10.1",
    breaks: "a notification while the device asked for none",
    unobservable: Some(
        "notifications while suppressed can't be told from a race with the device's own update of the ring",
    ),
    ..Rule::BASE
}];

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
        "a dump stack is another instance of the driver in a Windows that crashed: no sign that a device sees tells it from a restart, and no guest that is shipped has one",
    ),
    ..Rule::BASE
}];
