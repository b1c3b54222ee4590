//! WIN-MSI: what the message capabilities of a device ask of a driver on Windows.
//!
//! Sources named by page are those of Microsoft's driver documentation.

use misfire_device::shape::Kind;
use misfire_device::trace::Mode;

use super::machine::{Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule, Sight};
use super::track::Starts;

const BASE: Rule = Rule {
    level: Level::Vendor,
    robust: true,
    virtio: false,
    sight: Sight::Anything,
    ..Rule::BASE
};

/// The most messages that Windows Vista and 7 let a function ask for.
const OLDEST_LIMIT: u16 = 910;

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "WIN-MSI-003",
        sentence: "No more messages are asked for than the system lets a function have, 910 or 2048: a device with a larger table starts all the same.",
        source: "kernel/using-interrupt-resource-descriptors; S16",
        breaks: "the table has more than 910 entries, and the device does not start for want of resources",
        proof: "From what the guest says; an INF's own limit is `misfire inf`'s.",
        watch: Watch::with::<Large>(),
        ..BASE
    },
    Rule {
        id: "WIN-MSI-004",
        level: Level::Should,
        sentence: "About one message for each processor is asked for, and not many more.",
        source: "kernel/using-interrupt-resource-descriptors; S16",
        breaks: "more messages are in use than there are processors",
        unobservable: Some(
            "how many processors the guest uses is not seen by a device, and the reference guest has one",
        ),
        ..BASE
    },
    Rule {
        id: "WIN-MSI-005",
        sentence: "With MSI one descriptor stands for all messages, with MSI-X there is one for each: a driver counts both rightly.",
        source: "kernel/using-interrupt-resource-descriptors; S04, S08, S09, B03, P22",
        breaks: "several messages of the MSI capability are granted, and the driver of a device with an event for each uses one",
        proof: "From what the guest says. virtio has no use for more than one message of MSI.",
        watch: Watch::with::<Counts>(),
        ..BASE
    },
    Rule {
        id: "WIN-MSI-011",
        level: Level::May,
        sentence: "With MSI-X the interrupt service routine touches no register.",
        source: "OSR NTDEV, Setting Up MSIX Interrupts; S12",
        breaks: "a register is read in the routine",
        unobservable: Some(
            "a device sees that a register is read, and not by which routine; reads of ISR status are VIO-ISR-003's",
        ),
        ..BASE
    },
    Rule {
        id: "WIN-MSI-013",
        level: Level::Should,
        sentence: "The INF asks for messages, and for enough of them.",
        source: "kernel/enabling-message-signaled-interrupts-in-the-registry; S05, S14, S23, B35",
        breaks: "MSISupported is missing, or MessageNumberLimit is less than the driver uses",
        unobservable: Some(
            "what an INF says is seen neither by a device nor by its driver: `misfire inf` reads it, and holds it against the device",
        ),
        ..BASE
    },
    Rule {
        id: "WIN-MSI-016",
        sentence: "Of a device with MSI and MSI-X, MSI-X is used; and the driver takes a line if that is what it gets.",
        source: "kernel/introduction-to-message-signaled-interrupts, network/registering-and-deregistering-an-msi-interrupt",
        breaks: "MSI is enabled although there is an MSI-X table, or the device does not start on its line",
        follows: &["VIO-PCI-002", "WIN-MSI-002"],
        sight: Sight::Registers,
        watch: Watch::with::<Both>(),
        ..BASE
    },
];

#[derive(Default)]
struct Large {
    starts: Starts,
}

impl Machine for Large {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let table = now.s.dev.shape.table_size();
        let Some(attempt) = self.starts.see(now).filter(|_| table > OLDEST_LIMIT) else {
            return;
        };
        if attempt.started.is_some() {
            say.held(Object::Device);
        } else if let Some((seq, status)) = &attempt.failed
            && attempt.resources.is_empty()
            && status.contains("INSUFFICIENT_RESOURCES")
        {
            say.broken(
                Object::Device,
                &[*seq],
                format!("the table has {table} entries, and the device does not start: {status}"),
            );
        }
    }
}

#[derive(Default)]
struct Counts {
    starts: Starts,
}

impl Machine for Counts {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let shape = &now.s.dev.shape;
        let Some(attempt) = self.starts.see(now) else {
            return;
        };
        let Some((seq, started)) = &attempt.started else {
            return;
        };
        let useful = u32::from(shape.ports).min(started.granted);
        if shape.kind != Kind::PortCard || started.mode != "msi" || useful < 2 {
            return;
        }
        // What the driver uses can't be more than it has objects for.
        let objects = match attempt.objects.len() as u32 {
            0 => started.used,
            objects => objects.min(started.used),
        };
        if objects >= useful {
            say.held(Object::Device);
        } else {
            say.broken(
                Object::Device,
                &[*seq],
                format!(
                    "{} messages are granted by one descriptor, and the driver uses {objects}",
                    started.granted
                ),
            );
        }
    }
}

#[derive(Default)]
struct Both {
    starts: Starts,
    over: bool,
}

impl Machine for Both {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let s = now.s;
        let shape = &s.dev.shape;
        let attempt = self.starts.see(now).cloned();
        if shape.msi == 0 || shape.table_size() == 0 || self.over {
            return;
        }
        if let Some(messages) = s.past.msi_enabled {
            self.over = true;
            let text =
                format!("MSI is enabled with {messages} messages, and there is an MSI-X table");
            return say.broken(Object::Device, &[now.seq], text);
        }
        let Some(attempt) = attempt else { return };
        if let (true, Some((seq, status))) = (attempt.on_line(), &attempt.failed) {
            let text = format!("a line is granted, and the driver does not start: {status}");
            say.broken(Object::Device, &[*seq], text);
        } else if attempt.started.is_some() && (attempt.on_line() || s.mode() == Mode::Msix) {
            say.held(Object::Device);
        }
    }
}
