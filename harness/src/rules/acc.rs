//! VIO-ACC: accesses of registers (virtio 1.3, 4.1.3 and 4.1.4).

use misfire_device::spec::{CommonCfg as C, Field, LegacyCfg, Status, VirtioCapField};
use misfire_device::trace::{Access, Op, Space};

use super::machine::{Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-ACC-001",
        sentence: "A field of 8, 16 or 32 bits is accessed with exactly its width, aligned; one of 64 bits as two halves of 32.",
        source: "virtio 1.3, 4.1.3.1; B75",
        breaks: "common configuration, ISR status or device configuration is accessed with another width, or across fields",
        follows: &["VIO-LEG-001"],
        watch: Watch::Each(widths),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-ACC-002",
        sentence: "device_feature, num_queues, config_generation, queue_notify_off and queue_notif_config_data are not written.",
        source: "virtio 1.3, 4.1.4.3.2; the admin queue's fields are read-only by 4.1.4.3",
        breaks: "a write to one of them",
        watch: Watch::Each(read_only),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-ACC-003",
        sentence: "The virtio capabilities in configuration space are not written, except the configuration access window.",
        source: "virtio 1.3, 4.1.4.1",
        breaks: "a write inside a virtio capability",
        watch: Watch::Each(capability),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-ACC-004",
        sentence: "The configuration access window is set to an aligned offset and a length of 1, 2 or 4 inside a virtio structure before its data is touched.",
        source: "virtio 1.3, 4.1.4.9.2",
        breaks: "pci_cfg_data is accessed while cap.bar, cap.offset and cap.length describe no such place",
        proof: "The window's place is that of its lowest byte that the driver touched.",
        watch: Watch::with::<Window>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-ACC-005",
        sentence: "queue_enable is never written 0.",
        source: "virtio 1.3, 4.1.4.3.2",
        breaks: "a queue is taken down by writing 0 to queue_enable",
        watch: Watch::Each(disable),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-ACC-006",
        sentence: "queue_size is written only with a power of two (any value but 0 for packed rings), and not with more than the device offers.",
        source: "virtio 1.3, 4.1.4.3.2; the upper bound from 4.1.5.1.3 step 3",
        breaks: "another value is written to queue_size",
        watch: Watch::Each(size),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-ACC-007",
        level: Level::Derived,
        sentence: "A queue beyond num_queues may be selected to see that it is not there, but is not enabled.",
        source: "virtio 1.3, 4.1.4.3; B58",
        breaks: "queue_enable is written 1 with queue_select at or above num_queues",
        watch: Watch::Each(beyond),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-ACC-008",
        sentence: "The vendor data capability is looked into, or written, only after its vendor_id was checked.",
        source: "virtio 1.3, 4.1.4.8.2; that it serves diagnosis only is a SHOULD, which nothing shows",
        breaks: "its data are accessed, and vendor_id was not read before",
        watch: Watch::with::<VendorData>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-ACC-009",
        level: Level::Derived,
        sentence: "Accesses stay inside the structures that the capabilities describe.",
        source: "virtio 1.3, 4.1.4; B51",
        breaks: "an access of a BAR where no structure is",
        watch: Watch::Each(stray),
        ..Rule::BASE
    },
];

fn verb(access: &Access) -> &'static str {
    match access.op {
        Op::Read => "read",
        Op::Write => "written",
    }
}

fn object(access: &Access) -> Object {
    match access.field {
        Some(Field::Device(_)) => Object::Config,
        Some(Field::Isr | Field::Legacy(LegacyCfg::IsrStatus)) => Object::Isr,
        Some(Field::Common(_) | Field::Legacy(_)) => access.q.map_or(Object::Status, Object::Queue),
        _ => Object::Device,
    }
}

fn widths(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((access, _)) = now.access() else {
        return;
    };
    let (name, width) = match access.field {
        Some(Field::Common(register)) => (register.name().to_owned(), register.width()),
        Some(Field::Legacy(register)) => (register.name().to_owned(), register.width()),
        Some(Field::Isr) => ("ISR status".to_owned(), 1),
        // Any width is right there by the legacy interface (4.1.4.10).
        Some(Field::Device(_)) if now.is_legacy() => return say.held(Object::Config),
        Some(Field::Device(offset)) => {
            let device = now.s.dev.shape.kind.device_type();
            match device.and_then(|d| d.config_at(offset)) {
                // 64-bit fields are accessed in halves.
                Some(field) => (field.name.to_owned(), field.width.min(4)),
                None => return,
            }
        }
        _ => return,
    };
    if access.width == width && access.off.is_multiple_of(u64::from(width)) {
        say.held(object(access));
    } else {
        say.broken(
            object(access),
            &[],
            format!(
                "{name} is {} with {} bytes at offset {:#x}; it takes accesses of {width}",
                verb(access),
                access.width,
                access.off
            ),
        );
    }
}

fn read_only(now: &Now<'_>, say: &mut Say<'_>) {
    if now.sets(Status::DRIVER_OK) {
        say.held(Object::Device);
    }
    if let Some((
        register @ (C::DeviceFeature
        | C::NumQueues
        | C::ConfigGeneration
        | C::QueueNotifyOff
        | C::QueueNotifConfigData
        | C::AdminQueueIndex
        | C::AdminQueueNum),
        value,
    )) = now.common_write()
    {
        say.broken(
            Object::Device,
            &[],
            format!("{} is written {value:#x}", register.name()),
        );
    }
}

fn capability(now: &Now<'_>, say: &mut Say<'_>) {
    if now.sets(Status::DRIVER_OK) {
        say.held(Object::Device);
    }
    if let (Some((Field::VirtioCapability, value)), Some((access, _))) =
        (now.written(), now.access())
    {
        say.broken(
            Object::Device,
            &[],
            format!(
                "{value:#x} is written into a virtio capability, at {:#x} of configuration space",
                access.off
            ),
        );
    }
}

/// Whether the driver knows whose data the vendor data are.
#[derive(Default)]
struct VendorData {
    checked: bool,
}

impl Machine for VendorData {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let Some((access, _)) = now.access() else {
            return;
        };
        match access.field {
            Some(Field::VendorDataId) => self.checked |= access.op == Op::Read,
            Some(Field::VendorData) if self.checked => say.held(Object::Device),
            Some(Field::VendorData) => say.broken(
                Object::Device,
                &[],
                format!(
                    "vendor data are {} without a look at vendor_id",
                    verb(access)
                ),
            ),
            _ => {}
        }
    }
}

/// The configuration access window as the driver set it.
#[derive(Default)]
struct Window {
    base: Option<u64>,
    length: Option<u64>,
}

impl Machine for Window {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let Some((access, value)) = now.access() else {
            return;
        };
        if access.window {
            if access.field.is_some() {
                say.held(Object::Device);
            } else {
                say.broken(
                    Object::Device,
                    &[],
                    format!(
                        "the window reaches {:?} at {:#x}, where no virtio structure is",
                        access.space, access.off
                    ),
                );
            }
            return;
        }
        if access.field != Some(Field::Window) {
            return;
        }
        let place = access.off & !3;
        let base = self.base.map_or(place, |base| base.min(place));
        self.base = Some(base);
        let at = access.off - base;
        if at >= VirtioCapField::CapExtra.offset() {
            say.broken(
                Object::Device,
                &[],
                format!(
                    "pci_cfg_data is {} while the window describes no place in a virtio structure",
                    verb(access)
                ),
            );
        } else if access.op == Op::Write && at == VirtioCapField::CapLength.offset() {
            self.length = Some(value);
        } else if access.op == Op::Write
            && at == VirtioCapField::CapOffset.offset()
            && let Some(length @ (1 | 2 | 4)) = self.length
            && !value.is_multiple_of(length)
        {
            // The length may still be written afterwards: only what is then accessed counts.
            say.info(
                Object::Device,
                &[],
                format!("cap.offset {value:#x} is no multiple of cap.length {length}"),
            );
        }
    }
}

fn disable(now: &Now<'_>, say: &mut Say<'_>) {
    match now.wrote(C::QueueEnable) {
        Some(0) => {
            let q = now.s.dev.queue_select;
            say.broken(
                Object::Queue(q),
                &[],
                format!("queue_enable of queue {q} is written 0"),
            );
        }
        Some(_) => say.held(Object::Device),
        None => {}
    }
}

fn size(now: &Now<'_>, say: &mut Say<'_>) {
    let Some(value) = now.wrote(C::QueueSize) else {
        return;
    };
    let q = now.s.dev.queue_select;
    let packed = now.s.dev.accepted >> 34 & 1 != 0;
    let offered = now.s.epoch.queues.get(&q).and_then(|f| f.size_read);
    let wrong = if value == 0 {
        Some("0".to_owned())
    } else if !packed && !value.is_power_of_two() {
        Some(format!("{value}, which is no power of two"))
    } else {
        offered
            .filter(|most| value > u64::from(*most))
            .map(|most| format!("{value}, and the device offers {most}"))
    };
    match wrong {
        None => say.held(Object::Queue(q)),
        Some(what) => say.broken(
            Object::Queue(q),
            &[],
            format!("queue_size of queue {q} is written {what}"),
        ),
    }
}

fn beyond(now: &Now<'_>, say: &mut Say<'_>) {
    if now.wrote(C::QueueEnable) != Some(1) {
        return;
    }
    let (q, queues) = (now.s.dev.queue_select, now.s.dev.shape.queues);
    if q < queues {
        say.held(Object::Device);
    } else {
        say.broken(
            Object::Device,
            &[],
            format!("queue {q} is enabled; the device has {queues}"),
        );
    }
}

fn stray(now: &Now<'_>, say: &mut Say<'_>) {
    if now.sets(Status::DRIVER_OK) {
        say.held(Object::Device);
    }
    if let Some((access, _)) = now.access()
        && access.field.is_none()
        && access.space != Space::Config
        && !access.window
    {
        say.broken(
            Object::Device,
            &[],
            format!(
                "{:?} is {} at {:#x}, where no structure is",
                access.space,
                verb(access),
                access.off
            ),
        );
    }
}
