//! VIO-LEG: the legacy interface (virtio 1.3, 2.2.3, 2.5.4, 2.7.2, 3.1.2 and 4.1.4.10).

use std::collections::BTreeMap;

use misfire_device::shape::Kind;
use misfire_device::spec::{
    Field, LEGACY_REACH, LEGACY_UNUSED, LegacyCfg, NO_VECTOR, Rights, Status,
};
use misfire_device::trace::{Mode, Op};

use super::machine::{Machine, Now, Object, Say, Watch};
use super::msix::ReadBack;
use super::registry::{Level, Rule};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-LEG-001",
        sentence: "Device configuration is looked for 20 bytes into the ports without MSI-X, and 24 with it, where the two vectors are in between.",
        source: "virtio 1.3, 4.1.4.10; B19, B66",
        breaks: "with MSI-X a vector register is accessed with another width than two bytes, or read before it was written; without MSI-X a vector is written where there is none",
        proof: "A configuration that is read four bytes too far shows nothing by itself.",
        watch: Watch::Each(layout),
        ..Rule::LEGACY
    },
    Rule {
        id: "VIO-LEG-002",
        sentence: "The legacy order is kept: no FEATURES_OK, and a queue's size is read before its first page is written, which puts it in use.",
        source: "virtio 1.3, 3.1.2, 2.7.2 and 4.1.5.1.3.1",
        breaks: "FEATURES_OK is set by the legacy interface, or queue_address is written and queue_size was not read",
        watch: Watch::Each(order),
        ..Rule::LEGACY
    },
    Rule {
        id: "VIO-LEG-003",
        sentence: "Of the features the first 32 alone are there, and bit 30 is not to be accepted.",
        source: "virtio 1.3, 2.2.3, 4.1.4.10 and 6.3",
        breaks: "a driver that sets DRIVER_OK by the legacy interface has accepted a feature above 31; bit 30 is a warning",
        watch: Watch::Each(features),
        ..Rule::LEGACY
    },
    Rule {
        id: "VIO-LEG-004",
        level: Level::Derived,
        sentence: "Vectors are read back on the legacy interface too.",
        source: "virtio 1.3, 4.1.4.10 and 4.1.5.1.2.2",
        breaks: "as VIO-MSIX-002",
        watch: Watch::with::<ReadBack>(),
        ..Rule::LEGACY
    },
    Rule {
        id: "VIO-LEG-005",
        level: Level::Should,
        sentence: "Without config_generation capacity and address are read until two readings are equal.",
        source: "virtio 1.3, 2.5.4",
        breaks: "at DRIVER_OK a part of the capacity of a disk, or of the address of a network device, was read once, or its last two readings differ",
        watch: Watch::with::<Stable>(),
        ..Rule::LEGACY
    },
];

fn layout(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((access, value)) = now.access() else {
        return;
    };
    let msix = now.s.mode() == Mode::Msix;
    match access.field {
        Some(Field::Legacy(
            register @ (LegacyCfg::ConfigMsixVector | LegacyCfg::QueueMsixVector),
        )) => {
            let object = match register {
                LegacyCfg::ConfigMsixVector => Object::Config,
                _ => Object::Queue(access.q.unwrap_or(now.s.dev.queue_select)),
            };
            let mapping = now.s.epoch.mapping(object);
            let unwritten = mapping.is_none_or(|mapping| mapping.wrote.is_none());
            if access.width != register.width() || access.op == Op::Read && unwritten {
                say.broken(
                    Object::Config,
                    &[],
                    format!(
                        "{} is {} with {} bytes as if it were device configuration, which MSI-X has moved by four bytes",
                        register.name(),
                        match access.op {
                            Op::Read => "read",
                            Op::Write => "written",
                        },
                        access.width
                    ),
                );
            } else {
                say.held(object);
            }
        }
        Some(Field::Device(offset)) => {
            let device = now.s.dev.shape.kind.device_type();
            let field = device.and_then(|device| device.config_at(offset));
            let writable = field.is_some_and(|field| field.rights != Rights::ro);
            let is_vector =
                value == u64::from(NO_VECTOR) || value < u64::from(now.s.dev.shape.table_size());
            let place = access.off == LegacyCfg::ConfigMsixVector.offset()
                || access.off == LegacyCfg::QueueMsixVector.offset();
            if !msix
                && place
                && is_vector
                && !writable
                && access.op == Op::Write
                && access.width == 2
            {
                say.broken(
                    Object::Config,
                    &[],
                    format!(
                        "{value:#x} is written at {:#x}, where a vector would be with MSI-X: it is device configuration",
                        access.off
                    ),
                );
            } else {
                say.held(Object::Config);
            }
        }
        _ => {}
    }
}

fn order(now: &Now<'_>, say: &mut Say<'_>) {
    if now.sets(Status::FEATURES_OK) {
        return say.broken(
            Object::Status,
            &[],
            "FEATURES_OK is set, which the legacy interface does not have",
        );
    }
    if now.sets(Status::DRIVER_OK) && now.s.epoch.features_ok.is_none() {
        say.held(Object::Status);
    }
    if let Some((q, page)) = now.places_queue().filter(|(_, page)| *page != 0) {
        let facts = now.s.epoch.queues.get(&q);
        if facts.is_some_and(|facts| facts.size_read.is_some()) {
            say.held(Object::Queue(q));
        } else {
            say.broken(
                Object::Queue(q),
                &[],
                format!(
                    "queue {q} is put at page {page:#x}, and its queue_size was not read: where its rings are follows from it"
                ),
            );
        }
    }
}

fn features(now: &Now<'_>, say: &mut Say<'_>) {
    if !now.sets(Status::DRIVER_OK) {
        return;
    }
    let accepted = now.s.dev.accepted | now.s.epoch.features_written;
    let above = accepted & !LEGACY_REACH;
    if above != 0 {
        say.broken(
            Object::Status,
            &[],
            format!(
                "feature bits {above:#x} are accepted, and the legacy interface has none above 31"
            ),
        );
    } else if accepted >> LEGACY_UNUSED & 1 != 0 {
        say.warn(
            Object::Status,
            &[],
            format!("bit {LEGACY_UNUSED} is accepted, which is no feature"),
        );
    } else {
        say.held(Object::Status);
    }
}

/// The readings of what several accesses or a change in between can tear.
#[derive(Default)]
struct Stable {
    /// By offset and width: the last reading, its value, and whether the one before was equal.
    seen: BTreeMap<(u16, u8), (u64, u64, bool)>,
}

/// What is to be read until it stays the same: its name, and how many bytes of the configuration.
fn torn(kind: Kind) -> Option<(&'static str, u16)> {
    match kind {
        Kind::Block => Some(("capacity", 8)),
        Kind::Net => Some(("mac", 6)),
        _ => None,
    }
}

impl Machine for Stable {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if now.resets() {
            self.seen.clear();
        }
        let Some((name, bytes)) = torn(now.s.dev.shape.kind) else {
            return;
        };
        if let Some((access, value)) = now.access()
            && let (Some(Field::Device(offset)), Op::Read) = (access.field, access.op)
            && offset < bytes
        {
            let place = (offset, access.width);
            let equal = self.seen.get(&place).is_some_and(|(_, v, _)| *v == value);
            self.seen.insert(place, (now.seq, value, equal));
        }
        if !now.sets(Status::DRIVER_OK) || self.seen.is_empty() {
            return;
        }
        match self.seen.values().find(|(_, _, equal)| !equal) {
            Some((read, ..)) => say.warn(
                Object::Config,
                &[*read, now.seq],
                format!("{name} is used after one reading: a change meanwhile would not be seen"),
            ),
            None => say.held(Object::Config),
        }
    }
}
