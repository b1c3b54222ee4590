//! What is known of the guest and of its devices.

use misfire_device::shape::Attach;
use misfire_device::trace::{Input, Op, Step, What};

use super::{Happened, Session, Trouble};
use crate::guest::Guest;
use crate::log::{KernelTrouble, MachineLine};
use crate::machine::{MachineError, QmpError, TablePlace, device_number};
use crate::scenario::Plug;

impl Session<'_> {
    /// What a guest does whose device has died says nothing of its driver.
    pub(super) fn alive(&self) -> Result<(), Trouble> {
        let mut each = self.served.iter().enumerate();
        let died = each.find_map(|(dev, served)| Some((dev, served.died()?)));
        died.map_or(Ok(()), |(dev, source)| Err(Trouble::Died { dev, source }))
    }

    pub(super) fn hear(&mut self, line: &str) -> Result<(), Trouble> {
        self.stuck |= line.starts_with("NT: check poll ");
        match MachineLine::parse(line) {
            Some(MachineLine::Ready) => self.ready = true,
            Some(MachineLine::Started(started)) => {
                if let Some(device) = self.started.get_mut(usize::from(started.dev)) {
                    *device = true;
                }
                self.decline(started.dev, false);
            }
            Some(MachineLine::Failed { dev, .. }) => self.decline(dev, true),
            Some(MachineLine::Removed { dev, .. }) => {
                if let Some(device) = self.started.get_mut(usize::from(dev)) {
                    *device = false;
                }
                self.removed.insert(dev);
                if self.keeps(dev) && !self.guest.switches_slots() {
                    self.to_switch_off.push(dev);
                }
            }
            Some(MachineLine::Done(done)) => self.answers.push_back(done),
            Some(MachineLine::Crash(_)) => self.over = true,
            // It has done what it had to, and waits for its end.
            Some(MachineLine::Exit) if self.leaving && self.guest.waits_for_end() => {
                self.over = true;
            }
            Some(MachineLine::Error(text)) => return Err(Trouble::Guest(text)),
            _ => {}
        }
        Ok(())
    }

    /// How much has happened. On Linux a register that is read again and again with the same value is nothing new,
    /// and neither is what the kernel says of what does not happen.
    pub(super) fn happened(&mut self) -> usize {
        let is_linux = matches!(self.guest, Guest::Linux(_));
        let Happened {
            looked,
            count,
            hang,
            read,
        } = &mut self.happened;
        *looked = self.recorder.look(*looked, |event| {
            let is_new = match &event.what {
                What::Log { line } if is_linux => {
                    *hang |= KernelTrouble::of(line).is_some_and(KernelTrouble::is_hang);
                    !*hang || MachineLine::parse(line).is_some()
                }
                What::Step(step) if is_linux => {
                    let again = read.as_ref() == Some(step);
                    if !again {
                        *read = is_read(step).then(|| step.clone());
                    }
                    !again
                }
                _ => true,
            };
            *count += usize::from(is_new);
        });
        *count
    }

    fn decline(&mut self, dev: u8, declined: bool) {
        if let Some(device) = self.declined.get_mut(usize::from(dev)) {
            *device = declined;
        }
    }

    /// Brings what is known of the devices up to date.
    pub(super) fn catch_up(&mut self) {
        let Self {
            world,
            deleted,
            plugs,
            ..
        } = self;
        self.seen = self.recorder.look(self.seen, |event| {
            world.apply(event);
            match &event.what {
                What::Fault(fired) => {
                    plugs.extend(Plug::of_fault(&fired.fault).map(|plug| (plug, fired.dev)));
                }
                What::Qmp { event, data } if event == "DEVICE_DELETED" => {
                    deleted.extend(data["device"].as_str().and_then(device_number));
                }
                _ => {}
            }
        });
    }

    /// Reads the MSI-X table of each device that uses it, or did, into the journal: a driver that
    /// fell back to the line has left in it what it was granted.
    pub(super) async fn tables(&mut self) -> Result<(), Trouble> {
        self.catch_up();
        for (dev, device) in (0..).zip(&self.scenario.devices) {
            let bar = match device.shape.attach {
                Attach::VfioUser => 2,
                Attach::VhostUser => 1, // QEMU's virtio-pci
            };
            let place = TablePlace {
                bar,
                offset: 0,
                entries: device.shape.table_size(),
            };
            let uses = match device.shape.attach {
                Attach::VfioUser => self
                    .world
                    .devices
                    .get(&dev)
                    .is_some_and(|d| d.msix_was_enabled),
                Attach::VhostUser => true,
            };
            if place.entries == 0 || !uses {
                continue;
            }
            match self.guest.machine().record_msix_table(dev, place).await {
                Ok(entries) => {
                    if let Some(served) = self.served.get(usize::from(dev)) {
                        served.tell_table(&entries);
                    }
                }
                Err(MachineError::Qmp(QmpError::NoTable { .. })) => {}
                Err(error) => if_there(Err(error))?,
            }
        }
        Ok(())
    }
}

fn is_read(step: &Step) -> bool {
    matches!(&step.input, Input::Access(access) if access.op == Op::Read)
}

/// What was asked of QEMU, which may be gone. Then the guest has left, or QEMU died: whoever waits for the
/// guest's next line is told which.
pub(super) fn if_there(done: Result<(), MachineError>) -> Result<(), Trouble> {
    match done {
        Err(MachineError::Qmp(QmpError::Channel { .. })) => Ok(()),
        done => Ok(done?),
    }
}
