//! Devices that come and go.

use misfire_device::trace::Host;

use super::hearing::if_there;
use super::waiting::Waited;
use super::{Patience, Session, Trouble};
use crate::guest::Slot;
use crate::machine::{MachineError, QmpError, slot_id};
use crate::scenario::Plug;

/// What a root port reports when its function is pulled out: surprise down.
const LINK_DOWN: &str = "SDN";

/// What it may report while a link comes up: a receiver error.
const LINK_UP: &str = "RCVR";

impl Session<'_> {
    /// Has a device come or go. Whoever lets it go ends with its slot empty, and whoever puts it in again
    /// waits for that first.
    pub(super) async fn plug(
        &mut self,
        plug: Plug,
        device: u8,
        text: &str,
        patience: &mut Patience,
    ) -> Result<Waited<bool>, Trouble> {
        if plug == Plug::Surprise
            && let Some(served) = self.served.get(usize::from(device))
        {
            served.host(Host {
                command: "unplug.surprise".into(),
                ..Host::default()
            });
        }
        match plug {
            Plug::Orderly => self.press(device).await?,
            Plug::Surprise => self.pulled(device).await?,
            Plug::Replug => {}
        }
        let waited = self.until_removed(Some(device), text, patience).await?;
        if plug == Plug::Replug && waited == Waited::Met(true) {
            self.put_in(device).await?;
        }
        Ok(waited)
    }

    /// Has the guest told that a device was pulled out.
    async fn pulled(&mut self, device: u8) -> Result<(), Trouble> {
        self.pulled.insert(device);
        if self.guest.watches_slots() {
            self.link(device, LINK_DOWN).await?;
        }
        self.let_go(device);
        Ok(())
    }

    fn let_go(&mut self, device: u8) {
        let (kept, surprise) = (self.keeps(device), self.pulled.contains(&device));
        self.guest.slot(device, Slot::LetGo { kept, surprise });
    }

    /// Whether QEMU keeps a device when the guest lets it go. Nothing but a guest's own switching takes one out
    /// that is pulled.
    pub(super) fn keeps(&self, device: u8) -> bool {
        let stays = !self.guest.switches_slots() && self.pulled.contains(&device);
        self.scenario.keeps(device) || stays
    }

    /// Switches the slots off that are still on because the guest does not do it.
    pub(super) async fn switch_off(&mut self) -> Result<(), Trouble> {
        while let Some(device) = self.to_switch_off.pop() {
            let switched = self.guest.machine().switch_slot(device, false).await;
            if_there(switched)?;
        }
        Ok(())
    }

    /// Has the root port of a device report an error of its link.
    async fn link(&mut self, device: u8, error: &str) -> Result<(), Trouble> {
        let line = format!("pcie_aer_inject_error {} {error}", slot_id(device.into()));
        let reported = self.guest.machine().qmp().monitor(line).await;
        if_there(reported.map(|_| ()).map_err(MachineError::from))
    }

    /// Presses the attention button of a slot. A device that was asked for already, or is gone, is no
    /// error.
    async fn press(&mut self, device: u8) -> Result<(), Trouble> {
        if self.keeps(device) && !self.guest.switches_slots() {
            // The guest would let QEMU take it out.
            self.let_go(device);
            return Ok(());
        }
        let pressed = self
            .guest
            .machine()
            .remove_device(usize::from(device))
            .await;
        self.let_go(device);
        match pressed {
            Err(MachineError::Qmp(QmpError::Refused { .. })) => Ok(()),
            pressed => if_there(pressed),
        }
    }

    /// Puts a device in again. Of one that QEMU has kept in its slot only the link comes up.
    async fn put_in(&mut self, device: u8) -> Result<(), Trouble> {
        self.removed.remove(&device);
        self.pulled.remove(&device);
        let Self { guest, spec, .. } = self;
        if self.deleted.remove(&device) {
            if_there(guest.machine().add_device(spec, device.into()).await)?;
        } else if guest.watches_slots() {
            self.link(device, LINK_UP).await?;
        } else if !guest.switches_slots() {
            if_there(guest.machine().switch_slot(device, true).await)?;
        }
        self.guest.slot(device, Slot::PutIn);
        Ok(())
    }

    pub(super) async fn until_removed(
        &mut self,
        device: Option<u8>,
        text: &str,
        patience: &mut Patience,
    ) -> Result<Waited<bool>, Trouble> {
        self.until(text, patience, true, |s| {
            let is_out = |device: &u8| {
                let kept = s.keeps(*device);
                s.removed.contains(device) && (kept || s.deleted.contains(device))
            };
            let gone = match device {
                Some(device) => is_out(&device),
                None => s.removed.iter().any(is_out),
            };
            gone.then_some(true)
        })
        .await
    }

    /// Does what faults asked the machine to do. A device that is not gone yet is put in later.
    pub(super) async fn obey_faults(&mut self) -> Result<(), Trouble> {
        for _ in 0..self.plugs.len() {
            match self.plugs.pop_front() {
                Some((Plug::Replug, device))
                    if self.removed.contains(&device)
                        && (self.keeps(device) || self.deleted.contains(&device)) =>
                {
                    self.put_in(device).await?;
                }
                Some(replug @ (Plug::Replug, _)) => self.plugs.push_back(replug),
                Some((Plug::Orderly, device)) => self.press(device).await?,
                Some((Plug::Surprise, device)) => self.pulled(device).await?,
                None => {}
            }
        }
        Ok(())
    }
}
