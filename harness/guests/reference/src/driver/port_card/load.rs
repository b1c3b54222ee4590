//! What the console has the port-card's driver do.

use super::{PortCard, register};
use crate::dbg_print;
use crate::driver::args::Args;
use crate::driver::{Outcome, Running, Workload};
use crate::hal::time;
use crate::nt::dispatch;
use crate::nt::pnp::WdfDevice;
use crate::nt::policy::Kind;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A load that runs.
pub struct Load {
    /// Ports to ring, one write for each.
    rings: Vec<u32>,
    events: u64,
    rung: u64,
    /// Ports whose event is waited for.
    pub(super) waiting: u32,
    deadline: u64,
}

impl Workload for PortCard {
    fn running(&self, _device: &WdfDevice) -> Running {
        let mode = match self.kind {
            Some(Kind::Msi) => "msi",
            Some(Kind::Msix) if self.granted < self.ports => "msix-shared",
            Some(Kind::Msix) => "msix",
            None => "intx",
        };
        Running {
            mode,
            used: self.granted.min(self.ports),
            queues: self.ports,
        }
    }

    fn begin(&mut self, _device: &mut WdfDevice, args: &Args) -> Result<(), &'static str> {
        if args.word(1) != "port" || !args.only(&["dev", "events", "ports"]) {
            return Err("usage");
        }
        if self.ports == 0 {
            return Err("ports");
        }
        let rings = match args.get("ports") {
            None | Some("all") => (0..self.ports).map(|port| 1 << port).collect(),
            Some("both") if self.ports >= 2 => [0b11].into_iter().collect(),
            Some(port) => match port.parse::<usize>() {
                Ok(port) if port < self.ports => [1 << port].into_iter().collect(),
                _ => return Err("usage"),
            },
        };
        self.load = Some(Load {
            rings,
            events: args.number("events", 1)?,
            rung: 0,
            waiting: 0,
            deadline: u64::MAX,
        });
        Ok(())
    }

    fn poll(&mut self, _device: &mut WdfDevice) -> Option<Outcome> {
        let timeout = self.settings.timeout_ms * 1000;
        let served = self.served;
        let load = self.load.as_mut()?;
        let Some(registers) = self.registers else {
            self.load = None;
            return Some(Outcome::failed("device", String::new()));
        };
        let total = load.events * load.rings.len() as u64;
        if load.waiting == 0 && load.rung < total {
            let ring = load.rings[(load.rung % load.rings.len() as u64) as usize];
            load.rung += 1;
            load.waiting = ring;
            load.deadline = time::now() + timeout;
            registers.write(register::DOORBELL, ring);
            return None;
        }
        let late = load.waiting != 0 && time::now() >= load.deadline;
        if load.waiting != 0 && !late {
            return None;
        }
        let (rung, waiting) = (load.rung, load.waiting);
        self.load = None;
        if late {
            for port in (0..self.ports).filter(|port| waiting & 1 << port != 0) {
                dbg_print!("Port {port}: no interrupt for its event.");
            }
            let fields = format!("rung={rung} served={served} lost={}", waiting.count_ones());
            return Some(Outcome::failed("lost", fields));
        }
        Some(Outcome::ok(format!("rung={rung} served={served} lost=0")))
    }

    fn deadline(&self) -> u64 {
        self.load.as_ref().map_or(u64::MAX, |load| load.deadline)
    }

    fn state(&mut self, device: &WdfDevice) -> String {
        let counters = dispatch::counters(device.index);
        format!(
            "ports={} isr={} dpc={} unclaimed={} served={}",
            self.ports,
            counters.isr.iter().sum::<u32>(),
            counters.dpc.iter().sum::<u32>(),
            counters.unclaimed,
            self.served
        )
    }

    fn take_change(&mut self) -> Option<String> {
        None
    }
}
