//! VIO-CAP: the capabilities and what they describe (virtio 1.3, 4.1.2 and 4.1.4).

use misfire_device::shape::{Interface, Kind, Oddity, Shape};
use misfire_device::spec::{Field, Status};
use misfire_device::trace::Space;

use super::machine::{Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use crate::log::Said;

const PROOF: &str = "The device shows it, and the driver either becomes live or says that it does not start before it touches the common configuration.";

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-CAP-001",
        level: Level::Should,
        sentence: "Of several structures of one type the first that the driver can use is used.",
        source: "virtio 1.3, 4.1.4.1; P14",
        breaks: "the device has two of each, both good, and the driver uses the second",
        proof: "The second instances are in BAR 1.",
        watch: Watch::with::<First>(),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-CAP-002",
        sentence: "A virtio capability with a reserved cfg_type is ignored.",
        source: "virtio 1.3, 4.1.4.1; B73",
        breaks: "the driver does not start, or touches what such a capability points to",
        proof: PROOF,
        watch: Watch::With(|| {
            odd(
                |shape| shape.caps.has(Oddity::ReservedType),
                "a capability has a reserved cfg_type",
            )
        }),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-CAP-003",
        sentence: "A virtio capability with a reserved bar is ignored.",
        source: "virtio 1.3, 4.1.4.1; B73",
        breaks: "the driver does not start",
        proof: PROOF,
        watch: Watch::With(|| {
            odd(
                |shape| shape.caps.has(Oddity::ReservedBar),
                "a capability has a reserved bar",
            )
        }),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-CAP-004",
        sentence: "A cap_len that is larger than the structure needs is accepted.",
        source: "virtio 1.3, 4.1.4.1; B73",
        breaks: "the driver does not start",
        proof: PROOF,
        watch: Watch::With(|| {
            odd(
                |shape| shape.caps.has(Oddity::Long),
                "the capabilities are longer than needed",
            )
        }),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-CAP-005",
        sentence: "A structure of unexpected length is coped with.",
        source: "virtio 1.3, 4.1.4.1",
        breaks: "the driver does not start",
        proof: PROOF,
        watch: Watch::With(|| {
            odd(
                |shape| shape.caps.has(Oddity::Huge),
                "the structures are a megabyte long",
            )
        }),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-CAP-006",
        sentence: "A modern device is matched by vendor and device id, with any revision and any board.",
        source: "virtio 1.3, 4.1.2.2",
        breaks: "the driver does not start a device of another revision or board",
        proof: PROOF,
        watch: Watch::With(|| {
            odd(
                |shape| shape.revision.is_some_and(|id| id != 1) || shape.subsystem.is_some(),
                "revision or board are not the usual ones",
            )
        }),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-CAP-007",
        sentence: "The device configuration need not have an exact length: it only has to be long enough.",
        source: "virtio 1.3, 2.5.1",
        breaks: "the driver does not start with a longer one",
        proof: PROOF,
        watch: Watch::With(|| {
            odd(
                |shape| {
                    shape
                        .devcfg_len
                        .is_some_and(|len| len > shape.kind.config_bytes())
                },
                "the device configuration is longer than its fields",
            )
        }),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-CAP-008",
        sentence: "A driver that finds no virtio capability, and knows no legacy interface, fails gracefully.",
        source: "virtio 1.3, 4.1.5.1.1.1",
        breaks: "the guest crashes",
        proof: "From what the guest says.",
        watch: Watch::with::<Without>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-CAP-009",
        level: Level::Derived,
        sentence: "A device of a type that has no configuration may have a structure of no length for it, or none.",
        source: "virtio 1.3, 4.1.4.6; B62",
        breaks: "the driver does not start",
        proof: PROOF,
        watch: Watch::With(|| {
            odd(
                |shape| shape.devcfg_bytes() == 0,
                "there is no device configuration",
            )
        }),
        ..Rule::MODERN
    },
];

/// Whether the access is one of a structure, by its BAR.
fn structure(now: &Now<'_>) -> Option<Space> {
    let (access, _) = now.access()?;
    let known = matches!(
        access.field,
        Some(Field::Common(_) | Field::Isr | Field::Notify | Field::Device(_))
    );
    (known && !access.window).then_some(access.space)
}

#[derive(Default)]
struct First {
    second: bool,
}

impl Machine for First {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if !now.s.dev.shape.caps.has(Oddity::Dup) {
            return;
        }
        if structure(now) == Some(Space::Bar1) && !self.second {
            self.second = true;
            say.broken(
                Object::Device,
                &[],
                "the second instance of a structure is used, and the first is as good",
            );
        } else if now.sets(Status::DRIVER_OK) && !self.second {
            say.held(Object::Device);
        }
    }
}

/// Something about the device that a driver has to take as it is.
struct Odd {
    is: fn(&Shape) -> bool,
    text: &'static str,
    touched: bool,
    over: bool,
}

fn odd(is: fn(&Shape) -> bool, text: &'static str) -> Box<dyn Machine> {
    Box::new(Odd {
        is,
        text,
        touched: false,
        over: false,
    })
}

impl Machine for Odd {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if self.over || !(self.is)(&now.s.dev.shape) {
            return;
        }
        if now.sets(Status::DRIVER_OK) {
            self.over = true;
            return say.held(Object::Device);
        }
        let field = now.access().and_then(|(access, _)| access.field);
        self.touched |= matches!(field, Some(Field::Common(_)));
        let fails = now.said().is_some_and(Said::is_start_failure);
        if fails && !self.touched && now.s.faults.is_empty() {
            self.over = true;
            let text = format!("{}, and the driver does not start", self.text);
            say.broken(Object::Device, &[now.seq], text);
        }
    }
}

#[derive(Default)]
struct Without {
    over: bool,
}

impl Machine for Without {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let shape = &now.s.dev.shape;
        let modern = shape.kind != Kind::PortCard && shape.virtio == Interface::Modern;
        if self.over || !modern || shape.has_structures() {
            return;
        }
        let Some(said) = now.said() else { return };
        if said.is_crash() {
            self.over = true;
            let text = "there is no virtio capability, and the guest crashes";
            say.broken(Object::Device, &[now.seq], text);
        } else if said.is_start_failure() {
            self.over = true;
            say.held(Object::Device);
        }
    }
}
