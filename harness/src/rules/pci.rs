//! VIO-PCI: what the PCI specification asks of whoever drives the function.

use misfire_device::spec::{Status, command, msi_control, msix_control};
use misfire_device::trace::{Effect, Mode};

use super::machine::{At, Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use crate::log::Said;

const BASE: Rule = Rule {
    level: Level::Derived,
    ..Rule::BASE
};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "VIO-PCI-001",
        sentence: "Bus mastering is on before the first buffer is made available, and stays on while the device is live.",
        source: "PCI Local Bus 3.0, 6.2.2; B49",
        breaks: "a queue of a live device is notified with bus mastering off",
        watch: Watch::Each(bus_master),
        ..BASE
    },
    Rule {
        id: "VIO-PCI-002",
        sentence: "A table entry is programmed before it can send, and MSI and MSI-X are never both enabled.",
        source: "PCI Local Bus 3.0, 6.8.2.2 and 6.8.3",
        breaks: "both are enabled, or an event is mapped to an unmasked entry without an address",
        proof: "From message control, and from the MSI-X table as read when the device went live.",
        virtio: false,
        watch: Watch::Each(programmed),
        ..BASE
    },
    Rule {
        id: "VIO-PCI-003",
        sentence: "A table entry is edited only while it, or the function, is masked.",
        source: "PCI Local Bus 3.0, 6.8.2.9; B60",
        breaks: "address or data of an unmasked entry are written",
        unobservable: Some(
            "the machine keeps the MSI-X table itself: the device does not see writes to it, and from outside it can be read only now and then; what QEMU itself traces of accesses is not looked at",
        ),
        ..BASE
    },
    Rule {
        id: "VIO-PCI-004",
        sentence: "A driver that waits for its line has not forbidden it in the command register.",
        source: "PCI Local Bus 3.0, 6.2.2",
        breaks: "a live device without messages has Interrupt Disable set, and the guest waits for it in vain",
        watch: Watch::Each(forbidden),
        ..BASE
    },
    Rule {
        id: "VIO-PCI-005",
        level: Level::Should,
        sentence: "The pending bits are only read.",
        source: "PCI Local Bus 3.0, 6.8.2.10; B43",
        breaks: "the pending bit array is written",
        unobservable: Some(
            "the machine answers the pending bits itself: a write of them ends in QEMU, and no device sees it",
        ),
        ..BASE
    },
];

fn bus_master(now: &Now<'_>, say: &mut Say<'_>) {
    let Some((access, _)) = now.notifies() else {
        return;
    };
    let object = access.q.map_or(Object::Device, Object::Queue);
    if !now.s.dev.status.has(Status::DRIVER_OK) {
        return;
    }
    if now.s.dev.command & command::BUS_MASTER != 0 {
        say.held(object);
    } else {
        say.broken(
            object,
            &[],
            format!(
                "{object} is notified with bus mastering off: the device can't fetch the buffer"
            ),
        );
    }
}

fn programmed(now: &Now<'_>, say: &mut Say<'_>) {
    for effect in now.shown() {
        if let Effect::Control { msix, msi, .. } = effect
            && msix & msix_control::ENABLE != 0
            && msi & msi_control::ENABLE != 0
        {
            say.broken(Object::Device, &[], "MSI and MSI-X are both enabled");
        }
    }
    let At::Table(entries) = now.at else { return };
    let s = now.s;
    let open = s.dev.msix_control & msix_control::FUNCTION_MASK == 0;
    if !s.live() || s.mode() != Mode::Msix || !open {
        return;
    }
    for object in s.events() {
        let vector = s.vector(object);
        let Some(entry) = entries.get(usize::from(vector)) else {
            continue;
        };
        if entry.addr != 0 || entry.ctrl & 1 != 0 {
            say.held(object);
        } else {
            say.broken(
                object,
                &[],
                format!(
                    "{object} is mapped to entry {vector}, which is unmasked and has no address"
                ),
            );
        }
    }
}

fn forbidden(now: &Now<'_>, say: &mut Say<'_>) {
    let s = now.s;
    if !s.live() || s.mode() != Mode::Intx {
        return;
    }
    if now.pin() == Some(true) {
        say.held(Object::Isr);
        return;
    }
    let in_vain =
        now.failure() || matches!(now.said(), Some(Said::Lost { .. } | Said::TimedOut { .. }));
    if in_vain && s.dev.command & command::INTX_DISABLE != 0 && s.faults.is_empty() {
        let evidence: Vec<_> = s.epoch.driver_ok.into_iter().chain([now.seq]).collect();
        say.broken(
            Object::Isr,
            &evidence,
            "Interrupt Disable is set, and the driver waits for its line in vain",
        );
    }
}
