//! VIO-FEAT: feature negotiation (virtio 1.3, 2.2.1 and 6.1).

use misfire_device::shape::Kind;
use misfire_device::spec::{LEGACY_FEATURES, Status, feature_bit};

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use crate::log::Said;

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-FEAT-001",
        sentence: "Only features that the device offers are accepted.",
        source: "virtio 1.3, 2.2.1",
        breaks: "FEATURES_OK is set with a bit in driver_feature that device_feature does not have",
        watch: Watch::Each(subset),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-FEAT-002",
        sentence: "A feature is accepted only together with the features that it requires.",
        source: "virtio 1.3, 2.2.1; 2.2.3 and 4.1.4.10: without VERSION_1 there are only bits 0 to 31",
        breaks: "FEATURES_OK is set with a feature whose requirement was not accepted",
        proof: "No feature of a block device names another as its requirement; bits from 33 up can't be had without VERSION_1.",
        follows: &["VIO-FEAT-005"],
        watch: Watch::Each(requirements),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-FEAT-003",
        sentence: "Feature bits that are reserved, or not defined for the device, are never accepted, even if they are offered.",
        source: "virtio 1.3, 2.2.1 (new in 1.3)",
        breaks: "the device offers a bit that the specification does not define, and the driver accepts it",
        watch: Watch::Each(undefined),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-FEAT-004",
        sentence: "A feature that the driver does not know is no reason to give up.",
        source: "virtio 1.3, 2.2.1",
        breaks: "the device offers a bit that the specification does not define, and the driver gives up before FEATURES_OK",
        watch: Watch::with::<GivesUp>(),
        ..Rule::BASE
    },
    Rule {
        id: "VIO-FEAT-005",
        sentence: "VERSION_1 is accepted when it is offered.",
        source: "virtio 1.3, 6.1",
        breaks: "FEATURES_OK is set without bit 32, and the device offers it",
        watch: Watch::Each(version_1),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-FEAT-006",
        level: Level::Should,
        sentence: "ACCESS_PLATFORM, RING_PACKED, ORDER_PLATFORM and NOTIF_CONFIG_DATA are accepted when they are offered.",
        source: "virtio 1.3, 6.1",
        breaks: "one of bits 33, 34, 36 and 39 is offered and not accepted; only noted",
        watch: Watch::Each(recommended),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-FEAT-007",
        sentence: "A driver that misses a feature it needs falls back to an older way, or sets FAILED and stops.",
        source: "virtio 1.3, 2.2.1",
        breaks: "VERSION_1 is withheld, and the driver neither works nor leaves the device at FAILED or 0",
        follows: &["VIO-INIT-012"],
        watch: Watch::Each(withheld),
        ..Rule::MODERN
    },
    Rule {
        id: "VIO-FEAT-008",
        sentence: "SR_IOV is not accepted from a device without an SR-IOV capability.",
        source: "virtio 1.3, 6.1",
        breaks: "bit 37 is offered and accepted; the function has no such capability",
        watch: Watch::Each(sr_iov),
        ..Rule::MODERN
    },
];

/// Bits that the specification defines for every device beside those of the table: legacy ones, and
/// those that 1.4 added.
const ALSO_DEFINED: &[u8] = &[24, 27, 42, 43];

fn bits(numbers: impl IntoIterator<Item = u8>) -> u128 {
    numbers.into_iter().fold(0, |all, n| all | 1 << n)
}

fn named(name: &str) -> u128 {
    bits(feature_bit(name))
}

/// The bits that nothing defines for a device of this kind; the legacy interface defines some more.
fn undefined_bits(now: &Now<'_>) -> u128 {
    let kind = now.s.dev.shape.kind;
    let known = (0..128).filter(|n| kind.feature_name(*n).is_some());
    let also = kind.device_type().map_or(&[][..], |d| d.also_defined);
    let legacy = if now.is_legacy() {
        LEGACY_FEATURES
    } else {
        &[]
    };
    let legacy = legacy.iter().map(|(bit, _)| *bit);
    !bits(
        known
            .chain(legacy)
            .chain(also.iter().chain(ALSO_DEFINED).copied()),
    )
}

/// Features by name and number.
fn list(kind: Kind, set: u128) -> String {
    let one = |n: u8| match kind.feature_name(n) {
        Some(name) => format!("{name} ({n})"),
        None => format!("bit {n}"),
    };
    let all: Vec<_> = (0..128).filter(|n| set >> n & 1 != 0).map(one).collect();
    all.join(", ")
}

/// What was offered and what was accepted, when FEATURES_OK is set; with the legacy interface DRIVER_OK.
fn agreed(now: &Now<'_>) -> Option<(u128, u128)> {
    let end = if now.is_legacy() {
        Status::DRIVER_OK
    } else {
        Status::FEATURES_OK
    };
    now.sets(end).then(|| {
        let accepted = now.s.dev.accepted | now.s.epoch.features_written;
        (offered(now), accepted)
    })
}

/// What the device offers, with what a fault makes it seem to offer.
fn offered(now: &Now<'_>) -> u128 {
    now.s.dev.offered | now.s.epoch.features_shown
}

fn subset(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((offered, accepted)) = agreed(now) else {
        return;
    };
    match accepted & !offered {
        0 => say.held(Object::Status),
        more => say.broken(
            Object::Status,
            &[],
            format!(
                "{} accepted, though not offered",
                list(now.s.dev.shape.kind, more)
            ),
        ),
    }
}

fn requirements(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((_, accepted)) = agreed(now) else {
        return;
    };
    let version_1 = named("VERSION_1");
    let modern = accepted & (u128::MAX << 33);
    let mut tried = modern != 0;
    let mut without = if accepted & version_1 == 0 { modern } else { 0 };
    let device = now.s.dev.shape.kind.device_type();
    for feature in device.iter().flat_map(|d| d.features()) {
        let required = bits(feature.requires.iter().copied());
        let one_of = bits(feature.one_of.iter().copied());
        if accepted >> feature.bit & 1 != 0 && required | one_of != 0 {
            tried = true;
            if accepted & required != required || one_of != 0 && accepted & one_of == 0 {
                without |= 1 << feature.bit;
            }
        }
    }
    if without != 0 {
        say.broken(
            Object::Status,
            &[],
            format!(
                "{} accepted without what it requires",
                list(now.s.dev.shape.kind, without)
            ),
        );
    } else if tried {
        say.held(Object::Status);
    }
}

fn undefined(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((offered, accepted)) = agreed(now) else {
        return;
    };
    let decoys = offered & undefined_bits(now);
    if accepted & decoys != 0 {
        say.broken(
            Object::Status,
            &[],
            format!(
                "{} accepted, which no specification defines for this device",
                list(now.s.dev.shape.kind, accepted & decoys)
            ),
        );
    } else if decoys != 0 {
        say.held(Object::Status);
    }
}

#[derive(Default)]
struct GivesUp {
    over: bool,
}

impl Machine for GivesUp {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let decoys = offered(now) & undefined_bits(now);
        let epoch = &now.s.epoch;
        if decoys == 0 || self.over {
            return;
        }
        if now.sets(Status::DRIVER_OK) {
            self.over = true;
            return say.held(Object::Status);
        }
        let gives_up = now.sets(Status::FAILED) || now.said().is_some_and(Said::is_start_failure);
        if let (true, Some(read), None) = (gives_up, epoch.features_read, epoch.features_ok) {
            self.over = true;
            say.broken(
                Object::Status,
                &[read, now.seq],
                format!(
                    "{} offered, and the driver gives up after reading the features",
                    list(now.s.dev.shape.kind, decoys)
                ),
            );
        }
    }
}

fn version_1(now: &Now<'_>, say: &mut Say<'_>) {
    let version_1 = named("VERSION_1");
    match agreed(now) {
        Some((offered, accepted)) if offered & version_1 != 0 => {
            if accepted & version_1 != 0 {
                say.held(Object::Status);
            } else {
                say.broken(Object::Status, &[], "VERSION_1 is offered and not accepted");
            }
        }
        _ => {}
    }
}

fn recommended(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((offered, accepted)) = agreed(now) else {
        return;
    };
    let recommended = [
        "ACCESS_PLATFORM",
        "RING_PACKED",
        "ORDER_PLATFORM",
        "NOTIF_CONFIG_DATA",
    ]
    .iter()
    .fold(0, |all, name| all | named(name));
    let missed = offered & recommended & !accepted;
    if missed != 0 {
        say.info(
            Object::Status,
            &[],
            format!(
                "{} offered and not accepted",
                list(now.s.dev.shape.kind, missed)
            ),
        );
    } else if offered & recommended != 0 {
        say.held(Object::Status);
    }
}

fn withheld(now: &Now<'_>, say: &mut Say<'_>) {
    let s = now.s;
    if !matches!(now.at, At::End)
        || s.dev.offered & named("VERSION_1") != 0
        || !(s.past.features_read || s.epoch.features_read.is_some())
    {
        return;
    }
    if s.live() || s.dev.status.0 == 0 || s.epoch.failed.is_some() {
        say.held(Object::Status);
    } else {
        let evidence: Vec<_> = s.epoch.status_written.into_iter().collect();
        say.broken(
            Object::Status,
            &evidence,
            format!(
                "VERSION_1 is not offered, and device_status is left at {}",
                s.dev.status
            ),
        );
    }
}

fn sr_iov(now: &Now<'_>, say: &mut Say<'_>) {
    let sr_iov = named("SR_IOV");
    match agreed(now) {
        Some((offered, accepted)) if offered & sr_iov != 0 => {
            if accepted & sr_iov == 0 {
                say.held(Object::Status);
            } else {
                say.broken(
                    Object::Status,
                    &[],
                    "SR_IOV is accepted; the function has no SR-IOV capability",
                );
            }
        }
        _ => {}
    }
}
