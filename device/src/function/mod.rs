//! The correct PCI function: configuration space, capabilities, interrupts, and behind them
//! either the virtio-pci registers or the ports of a port-card.
//!
//! Everything is a state machine over [`Input`]; the ports make the effects happen.

mod bars;
mod capabilities;
mod interrupts;
mod lanes;
mod pci;
mod port_card;
mod queues;
mod virtio;
mod window;

#[cfg(test)]
pub(crate) mod any_tests;
#[cfg(test)]
mod kind_tests;
#[cfg(test)]
mod legacy_tests;
#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod suspend_tests;
#[cfg(test)]
mod tests;

pub use bars::{BarLayout, Layout};
pub use pci::Pci;

use crate::endpoint::{Endpoint, Nanos};
use crate::shape::Shape;
use crate::spec::Field;
use crate::trace::{Access, Effect, Effects, Input, Op, Space};
use interrupts::Interrupts;
use port_card::Ports;
use virtio::Virtio;

/// A PCI function of either kind.
#[derive(Clone, Debug)]
pub struct Function {
    layout: Layout,
    pci: Pci,
    interrupts: Interrupts,
    kind: Behind,
    /// Pulled out of its slot.
    gone: bool,
}

/// What stands behind the PCI registers.
#[derive(Clone, Debug)]
enum Behind {
    Virtio(Box<Virtio>),
    Ports(Ports),
}

impl Function {
    /// A function of this shape, as after power-on.
    ///
    /// `features` are those that the backend offers, `config` its device configuration.
    pub fn new(shape: &Shape, features: u128, config: Vec<u8>) -> Self {
        let layout = Layout::new(shape);
        let pci = Pci::new(shape, &layout);
        let kind = match shape.kind.device_type() {
            Some(device) => Behind::Virtio(Box::new(Virtio::new(
                shape,
                device,
                layout.clone(),
                features,
                config,
            ))),
            None => Behind::Ports(Ports::new(shape.ports)),
        };
        Self {
            interrupts: Interrupts::new(shape.table_size()),
            layout,
            pci,
            kind,
            gone: false,
        }
    }

    /// Reads configuration space as the VMM does when it takes the function over.
    pub fn config_bytes(&self, off: u64, out: &mut [u8]) {
        self.pci.bytes(off, out);
    }

    fn access(&mut self, access: &Access) -> Effects {
        let mut effects = Effects::new();
        if !matches!(access.width, 1 | 2 | 4 | 8) {
            // No bus makes such an access.
            effects.push(Effect::Value(u64::MAX));
            return effects;
        }
        match access.space {
            Space::Config => match access.op {
                Op::Read => {
                    self.pci.set_msi_pending(self.interrupts.msi_pending());
                    effects.push(Effect::Value(self.pci.read(access.off, access.width)));
                }
                Op::Write => self.config_write(access, &mut effects),
            },
            space if !self.answers(space, access.window) => {
                if access.op == Op::Read {
                    effects.push(Effect::Value(lanes::ones(access.width)));
                }
            }
            Space::Bar2 => {
                // The table is the VMM's; only the pending bits are ours (PCI 3.0, 6.8.2.10).
                if access.op == Op::Read {
                    effects.push(Effect::Value(
                        self.interrupts.pba_read(access.off, access.width),
                    ));
                }
            }
            space => match &mut self.kind {
                Behind::Virtio(virtio) if self.layout.holds_legacy(space) => {
                    virtio.legacy_access(access, &mut self.pci, &mut self.interrupts, &mut effects);
                }
                Behind::Virtio(virtio) if self.layout.holds(space) => {
                    virtio.access(access, &mut self.pci, &mut self.interrupts, &mut effects)
                }
                Behind::Ports(ports) if space == Space::Bar0 => {
                    ports.access(access, &mut self.pci, &mut self.interrupts, &mut effects)
                }
                _ => {
                    if access.op == Op::Read {
                        effects.push(Effect::Value(0));
                    }
                }
            },
        }
        effects
    }

    /// Whether accesses of a BAR are answered.
    fn answers(&self, space: Space, window: bool) -> bool {
        if self.layout.holds_legacy(space) {
            self.pci.answers_ports(window)
        } else {
            self.pci.answers_memory(window)
        }
    }

    fn config_write(&mut self, access: &Access, effects: &mut Effects) {
        let before = self.pci.control();
        let written = self
            .pci
            .write(access.off, access.width, access.val.unwrap_or(0));
        if written.function_reset {
            self.reset(effects);
        }
        let after = self.pci.control();
        if before != after {
            effects.push(Effect::Control {
                command: after.command,
                msix: after.msix,
                msi: after.msi,
            });
        }
        if let Behind::Virtio(virtio) = &mut self.kind
            && !after.bus_master()
        {
            virtio.suspend(effects);
        }
        // Any write may have lifted a mask.
        self.settle(effects);
        if let Behind::Virtio(virtio) = &mut self.kind
            && !before.bus_master()
            && after.bus_master()
        {
            virtio.resume(effects);
            virtio.kick_all(&self.pci, effects);
        }
    }

    /// Brings line and pending messages to what the registers now ask for.
    fn settle(&mut self, effects: &mut Effects) {
        self.interrupts.flush(&self.pci, effects);
        let wanted = match &self.kind {
            Behind::Virtio(virtio) => virtio.line(),
            Behind::Ports(ports) => ports.line(),
        };
        self.interrupts.set_line(wanted, &mut self.pci, effects);
    }

    fn reset(&mut self, effects: &mut Effects) {
        let before = self.pci.control();
        match &mut self.kind {
            Behind::Virtio(virtio) => virtio.reset(effects),
            Behind::Ports(ports) => ports.reset(),
        }
        self.pci.reset();
        self.interrupts.reset();
        if self.interrupts.line_is_up() {
            self.interrupts.set_line(false, &mut self.pci, effects);
        }
        let after = self.pci.control();
        if before != after {
            effects.push(Effect::Control {
                command: after.command,
                msix: after.msix,
                msi: after.msi,
            });
        }
    }
}

impl Endpoint for Function {
    fn step(&mut self, _now: Nanos, input: &Input) -> Effects {
        let mut effects = Effects::new();
        match input {
            Input::FunctionReset => {
                self.gone = false;
                self.reset(&mut effects);
            }
            Input::Irqs {
                kind,
                start,
                count,
                wired,
            } => {
                self.interrupts.wire(*kind, *start, *count, *wired);
                self.interrupts.flush(&self.pci, &mut effects);
            }
            Input::Access(access) if self.gone => {
                // What nobody answers reads as all ones (PCI 3.0, 6.1).
                if access.op == Op::Read {
                    effects.push(Effect::Value(lanes::ones(access.width)));
                }
            }
            _ if self.gone => {}
            Input::Unplugged => {
                self.reset(&mut effects);
                self.gone = true;
            }
            Input::Access(access) => return self.access(access),
            Input::Used { queue } => {
                if let Behind::Virtio(virtio) = &mut self.kind {
                    virtio.used(*queue, &mut self.pci, &mut self.interrupts, &mut effects);
                }
            }
            Input::Config { offset, bytes } => {
                if let Behind::Virtio(virtio) = &mut self.kind {
                    virtio.config_change(
                        *offset,
                        bytes,
                        &mut self.pci,
                        &mut self.interrupts,
                        &mut effects,
                    );
                }
            }
            Input::Reconfigured { offset, bytes } => {
                if let Behind::Virtio(virtio) = &mut self.kind {
                    virtio.reconfigured(*offset, bytes);
                }
            }
            Input::Broken => {
                if let Behind::Virtio(virtio) = &mut self.kind {
                    virtio.broken(&mut self.pci, &mut self.interrupts, &mut effects);
                }
            }
            Input::Dma { .. }
            | Input::Chain { .. }
            | Input::Complete { .. }
            | Input::Kick { .. }
            | Input::Vhost { .. }
            | Input::Host(_)
            | Input::Time => {}
        }
        effects
    }

    fn name(&self, op: Op, space: Space, off: u64, width: u8, val: Option<u64>) -> Access {
        let (mut space, mut off, mut width, mut window) = (space, off, width, false);
        if space == Space::Config
            && let Some(target) = self.pci.window_target(off, width)
        {
            (space, off, width, window) = (target.space, target.off, target.width, true);
        }
        let field = match space {
            Space::Config => self.pci.field(off, width),
            Space::Bar2 => self.interrupts.field(off),
            _ => match &self.kind {
                Behind::Virtio(_) if self.layout.holds_legacy(space) => {
                    self.layout.legacy_field(off, self.pci.msix_enabled())
                }
                Behind::Virtio(_) if self.layout.holds(space) => self.layout.field(off),
                Behind::Ports(ports) if space == Space::Bar0 => ports.field(off),
                _ => None,
            },
        };
        let q = match (&self.kind, field) {
            (Behind::Virtio(virtio), Some(field)) => virtio.queue_of(field, off, val),
            _ => None,
        };
        let val = val.map(|v| v & lanes::ones(width));
        Access {
            op,
            space,
            off,
            width,
            val,
            field,
            q,
            window,
        }
    }
}

/// Whether a field is one that the driver reaches through configuration space.
pub fn in_config_space(field: Field) -> bool {
    matches!(
        field,
        Field::Pci(_)
            | Field::MsixControl
            | Field::MsiControl
            | Field::Msi
            | Field::PowerControl
            | Field::DeviceControl
            | Field::VirtioCapability
            | Field::VendorDataId
            | Field::VendorData
            | Field::Window
            | Field::Capability
    )
}
