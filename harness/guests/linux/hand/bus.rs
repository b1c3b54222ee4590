//! Slots, the functions in them, and their drivers.

use core::sync::atomic::{AtomicU64, Ordering};

use super::sys::{self, File};
use super::text::{Text, last_part, number};
use super::{log, text};

/// The slot of a device, which has a root port of its own.
#[derive(Clone, Copy)]
pub struct Slot(pub usize);

/// What a slot control register is given (PCI Express 3.0, 7.8.10). QEMU hides and resets what is in a slot without
/// power, and takes it out when the indicator is off too.
pub const ON: u16 = 0x0100;
/// Without power, the indicator lit.
pub const KEPT: u16 = 0x0500;
/// Without power, and dark.
pub const OFF: u16 = 0x0700;

/// Where in a root port's configuration the register is; the same in all of them.
static SLOT_CONTROL: AtomicU64 = AtomicU64::new(0);

/// What a driver did of a device.
pub struct Found {
    /// How it is told.
    pub mode: &'static str,
    /// Messages that it was granted.
    pub granted: u64,
    /// Those that it uses.
    pub used: u64,
    /// Queues that it uses.
    pub queues: u64,
    /// The function's ids.
    pub vendor: Text,
    /// The function's ids.
    pub device: Text,
    /// Its name.
    pub driver: Text,
}

/// The first name in a folder that begins so, as a path.
pub fn first(folder: &Text, begins: &str) -> Option<Text> {
    sys::look(folder.path(), |name| {
        let is = name.starts_with(begins.as_bytes());
        is.then(|| text![folder.bytes(), "/", name])
    })
}

/// Finds the register that switches a slot: in the capability 16.
pub fn find_slot_control() {
    let mut config = [0; 256];
    let file = File::open(text![Slot(0).port().bytes(), "/config"].path(), sys::READ);
    let _ = file.map(|file| file.read(&mut config));
    let mut at = usize::from(config[0x34]);
    // There is no room for more.
    for _ in 0..48 {
        if config[at] == 16 {
            SLOT_CONTROL.store(at as u64 + 0x18, Ordering::Relaxed);
            return;
        }
        at = usize::from(config[(at + 1) % 256]);
    }
}

impl Slot {
    fn port(self) -> Text {
        text!["/sys/bus/pci/devices/0000:00:1", self.0 as u64, ".0"]
    }

    /// Has the kernel enable the slot's port, which it does anyway when a driver takes what is in the slot: of what
    /// that takes, most is in the kept state so.
    pub fn enable(self) {
        sys::put(text![self.port().bytes(), "/enable"].path(), b"1");
    }

    /// The function in it.
    pub fn function(self) -> Option<Text> {
        first(&self.port(), "0000:")
    }

    /// The virtio device that the function is.
    pub fn virtio(self) -> Option<Text> {
        first(&self.function()?, "virtio")
    }

    /// Has the kernel look into it. When it has, a driver has taken what was found there, or refused it.
    pub fn look(self) {
        if let Some(bus) = first(&text![self.port().bytes(), "/pci_bus"], "0000:") {
            sys::put(text![bus.bytes(), "/rescan"].path(), b"1");
        }
    }

    /// Switches its power.
    pub fn power(self, to: u16) {
        let config = File::open(text![self.port().bytes(), "/config"].path(), sys::WRITE);
        if let Some(config) = config {
            let _ = config.write_at(&to.to_le_bytes(), SLOT_CONTROL.load(Ordering::Relaxed));
        }
    }

    /// Takes the driver from the function.
    pub fn unbind(self) -> bool {
        self.told(b"/sys/bus/pci/drivers/virtio-pci/unbind\0")
    }

    /// Gives the function back to its driver. One that has been given back and was not started is given back anew.
    pub fn bind(self) -> bool {
        let bound = |f: Text| sys::exists(text![f.bytes(), "/driver"].path());
        if self.function().is_some_and(bound) && self.found(0).is_none() {
            self.unbind();
        }
        self.told(b"/sys/bus/pci/drivers/virtio-pci/bind\0")
    }

    fn told(self, path: &[u8]) -> bool {
        let function = self.function();
        function.is_some_and(|function| sys::put(path, last_part(function.bytes())))
    }

    /// Lets the function go and switches the slot; tells whether it did not answer any more.
    pub fn let_go(self, to: u16) -> Option<bool> {
        let function = self.function()?;
        let mut vendor = [0; 2];
        let config = File::open(text![function.bytes(), "/config"].path(), sys::READ);
        let _ = config.map(|config| config.read(&mut vendor));
        sys::put(text![function.bytes(), "/remove"].path(), b"1");
        self.power(to);
        Some(vendor == [0xff; 2])
    }

    /// What the driver did of what is in the slot, a device with so many queues; `None` when it did not start it.
    pub fn found(self, queues: u64) -> Option<Found> {
        let function = self.function()?;
        let virtio = self.virtio()?;
        let driver = sys::link(text![virtio.bytes(), "/driver"].path());
        if driver.bytes().is_empty() {
            return None;
        }
        let name = last_part(virtio.bytes());
        let mut found = Found {
            mode: "polled",
            granted: 0,
            used: 0,
            queues: 0,
            vendor: id(&function, "vendor"),
            device: id(&function, "device"),
            driver: text![last_part(driver.bytes())],
        };
        self.each_message(&function, |_, user| {
            found.granted += 1;
            let Some(event) = user.strip_prefix(name) else {
                return;
            };
            found.used += 1;
            match event {
                b"-config" => found.mode = "msix",
                b"-virtqueues" => (found.mode, found.queues) = ("msix-shared", queues),
                _ => (found.mode, found.queues) = ("msix", found.queues + 1),
            }
        });
        if found.granted == 0 {
            let users = line_users(&function);
            let ours = users
                .bytes()
                .split(|byte| *byte == b',')
                .any(|user| user == name);
            if ours {
                found.mode = "intx";
            }
        }
        if found.used == 0 {
            found.queues = queues;
        } else if found.used == 2 && found.queues == 0 {
            found.mode = "msix-shared";
        }
        Some(found)
    }

    /// Each message of a function: its number, and who uses it.
    fn each_message(self, function: &Text, mut see: impl FnMut(u64, &[u8])) {
        let mut numbers = [0; 64];
        let mut count = 0;
        sys::look(text![function.bytes(), "/msi_irqs"].path(), |name| {
            if let Some(place) = numbers.get_mut(count) {
                *place = number(name);
                count += 1;
            }
            None::<()>
        });
        let numbers = &mut numbers[..count];
        numbers.sort_unstable();
        for irq in numbers {
            let user = sys::line(text!["/sys/kernel/irq/", *irq, "/actions"].path());
            see(*irq, user.bytes());
        }
    }

    /// How many interrupts have told of changes of the configuration, and whether they have told of nothing else.
    pub fn changes(self) -> (u64, bool) {
        let (Some(function), Some(virtio)) = (self.function(), self.virtio()) else {
            return (0, false);
        };
        let name = text![last_part(virtio.bytes()), "-config"];
        let (mut changes, mut own) = (0, false);
        // Of a SCSI host nothing is shown, so that on the line its interrupts have to do.
        if first(&virtio, "host").is_some() {
            let line = number(sys::line(text![function.bytes(), "/irq"].path()).bytes());
            changes = interrupts(line);
        }
        self.each_message(&function, |irq, user| {
            if user == name.bytes() {
                (changes, own) = (interrupts(irq), true);
            }
        });
        (changes, own)
    }

    /// Whether the driver has taken a feature of the device.
    pub fn has_feature(self, bit: usize) -> bool {
        let features = self
            .virtio()
            .map(|virtio| sys::line(text![virtio.bytes(), "/features"].path()));
        features.is_some_and(|bits| bits.bytes().get(bit) == Some(&b'1'))
    }

    /// Puts what the kernel counted into its log.
    pub fn count_interrupts(self) {
        let Some(function) = self.function() else {
            return;
        };
        let tell = |irq: u64, user: &[u8]| {
            if irq != 0 && !user.is_empty() {
                let counts = sys::line(text!["/sys/kernel/irq/", irq, "/per_cpu_count"].path());
                log(&text![
                    "<7>interrupts: ",
                    irq,
                    " ",
                    user,
                    " ",
                    counts.bytes(),
                    "\n"
                ]);
            }
        };
        self.each_message(&function, tell);
        let line = number(sys::line(text![function.bytes(), "/irq"].path()).bytes());
        tell(line, line_users(&function).bytes());
    }
}

/// How often an interrupt has come.
fn interrupts(irq: u64) -> u64 {
    let counts = sys::line(text!["/sys/kernel/irq/", irq, "/per_cpu_count"].path());
    counts.bytes().split(|byte| *byte == b',').map(number).sum()
}

/// Who uses the line of a function.
fn line_users(function: &Text) -> Text {
    let line = number(sys::line(text![function.bytes(), "/irq"].path()).bytes());
    sys::line(text!["/sys/kernel/irq/", line, "/actions"].path())
}

/// An id of a function, without `0x`.
fn id(function: &Text, which: &str) -> Text {
    let id = sys::line(text![function.bytes(), "/", which].path());
    text![id.bytes().get(2..).unwrap_or_default()]
}
