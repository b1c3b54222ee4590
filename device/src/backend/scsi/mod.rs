//! The SCSI host (5.6): one target with one disk or several. What happens to its own accord, happens to the first, but
//! when the target goes it goes with all.

mod address;
mod command;
mod config;
mod control;
mod disk;
mod event;
mod part;
mod request;
mod sense;
mod tasks;

#[cfg(test)]
mod managed;
#[cfg(test)]
mod tests;

pub use config::{features, value};

use std::sync::Arc;

use virtio_bindings::virtio_scsi as scsi;

use super::chain::{Chain, NoStatus};
use super::device::{Device, Look, Memory, Offer};
use super::storage::Storage;
use crate::shape::Shape;
use crate::spec::QueueRole;
use crate::trace::Host;
use control::Control;
use disk::Disk;
use event::{Event, Events};
use part::Part;
use request::Request;
use sense::Sense;
use tasks::Tasks;

/// The queue of events.
const EVENT_QUEUE: u16 = 1;

/// A host with its disks, of which there is at least one.
pub struct Scsi {
    offer: Offer,
    disks: Vec<Disk>,
    /// Whether the target is plugged in.
    present: bool,
    events: Events,
    tasks: Tasks,
    asked: Asked,
}

/// What the chain that was looked at last asks for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Request(Request),
    Control(Control),
    /// To be filled with an event.
    Event(Event),
}

impl Scsi {
    /// A host whose disks have `sectors` sectors each on `storage`. `name` is the first disk's serial number, as
    /// far as 20 bytes go, and the others' begins with it.
    pub fn new(shape: &Shape, sectors: u64, name: &str, storage: Box<dyn Storage>) -> Self {
        let mut disks = vec![];
        let storage: Arc<dyn Storage> = storage.into();
        for unit in 0..shape.units.max(1) {
            let name = match unit {
                0 => name.to_owned(),
                unit => format!("{name:.18}-{unit}"),
            };
            let part = Part::new(storage.clone(), unit);
            disks.push(Disk::new(Box::new(part), sectors, &name));
        }
        Self {
            offer: Offer::new(shape, sectors),
            disks,
            present: true,
            events: Events::default(),
            tasks: Tasks::default(),
            asked: Asked::Control(Control::Malformed),
        }
    }

    /// The size of the first disk in sectors.
    pub fn sectors(&self) -> u64 {
        self.disks[0].sectors
    }

    /// How many units there are now.
    fn units(&self) -> usize {
        if self.present { self.disks.len() } else { 0 }
    }

    /// Tells the driver of something, if it agreed to be told of such things.
    fn tell(&mut self, event: Event, feature: u32) {
        if self.offer.has(feature) {
            self.events.push(event);
            self.offer.wake(EVENT_QUEUE);
        }
    }

    fn resize(&mut self, sectors: u64) {
        let disk = &mut self.disks[0];
        if sectors != disk.sectors {
            disk.sectors = sectors;
            disk.attention = Some(Sense::CAPACITY);
            let event = Event::parameters(Sense::CAPACITY);
            self.tell(event, scsi::VIRTIO_SCSI_F_CHANGE);
        }
    }

    fn plug(&mut self, present: bool) {
        if present != self.present {
            self.present = present;
            for disk in &mut self.disks {
                disk.attention = present.then_some(Sense::LUNS);
            }
            let event = if present {
                Event::RESCAN
            } else {
                Event::REMOVED
            };
            self.tell(event, scsi::VIRTIO_SCSI_F_HOTPLUG);
        }
    }

    fn serve_event(&mut self, memory: &Memory, chain: &Chain, event: Event) -> u32 {
        self.events.told(event);
        let bytes = event.bytes();
        let room = usize::try_from(chain.writable_bytes()).unwrap_or(usize::MAX);
        let told = &bytes[..bytes.len().min(room)];
        match chain.writer().write(memory, told) {
            Ok(()) => told.len() as u32,
            Err(_) => 0,
        }
    }
}

impl Device for Scsi {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn offer_mut(&mut self) -> &mut Offer {
        &mut self.offer
    }

    fn look(&mut self, memory: &Memory, queue: u16, chain: &Chain) -> Result<Look, NoStatus> {
        self.asked = match QueueRole::scsi(queue) {
            QueueRole::Control => {
                chain.needs_answer()?;
                Asked::Control(Control::read(memory, chain))
            }
            QueueRole::Event => match self.events.next(chain.writable_bytes()) {
                Some(event) => Asked::Event(event),
                None => return Ok(Look::Wait),
            },
            _ => Asked::Request(Request::read(memory, chain, &self.offer)?),
        };
        Ok(Look::Take)
    }

    fn words(&self, _queue: u16) -> String {
        match &self.asked {
            Asked::Request(request) => request.to_string(),
            Asked::Control(control) => control.to_string(),
            Asked::Event(event) => event.to_string(),
        }
    }

    fn serve(&mut self, memory: &Memory, queue: u16, chain: &Chain) -> Result<u32, NoStatus> {
        match self.asked {
            Asked::Request(request) => {
                let units = self.units();
                let written = request.carry_out(memory, chain, &mut self.disks, units)?;
                if let Some(task) = request.task(chain, units) {
                    self.tasks.finished(queue, chain.head(), task);
                }
                Ok(written)
            }
            Asked::Control(control) => {
                let units = self.units();
                control.carry_out(memory, chain, &mut self.disks, &mut self.tasks, units)
            }
            Asked::Event(event) => Ok(self.serve_event(memory, chain, event)),
        }
    }

    fn begin(&mut self) {
        self.events = Events::default();
        self.tasks = Tasks::default();
        for disk in &mut self.disks {
            disk.attention = None;
        }
    }

    fn used(&mut self, queue: u16, head: u16) {
        self.tasks.used(queue, head);
    }

    fn stopped(&mut self, queue: u16) {
        self.tasks.stopped(queue);
    }

    fn command(&mut self, host: &Host) {
        let number = |key: &str| u64::try_from(host.args.get(key)?.as_integer()?).ok();
        match host.command.as_str() {
            "cfg.change" => {
                if let Some(sectors) = number("capacity") {
                    self.resize(sectors);
                }
            }
            "disk.unplug" => self.plug(false),
            "disk.plug" => self.plug(true),
            _ => {}
        }
    }
}
