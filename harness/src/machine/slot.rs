//! The power of a slot, switched from outside: a guest of somebody else's would have QEMU take out what
//! QEMU does not survive to lose (decision 0010).

use misfire_device::spec::{MOST_CAPABILITIES, PciHeader, cap_id, config_ports, slot_control};

use super::qmp::{Qmp, QmpError};
use super::spec::FIRST_SLOT;

/// A function on bus 0.
#[derive(Clone, Copy, Debug)]
struct ConfigSpace(u32);

impl ConfigSpace {
    /// The root port in front of device `dev`.
    fn of_port(dev: u8) -> Self {
        let first = u32::try_from(FIRST_SLOT).unwrap_or_default();
        Self(first + u32::from(dev))
    }

    /// What the address port takes for the register at `offset`, and the port that it is at then.
    fn ports(self, offset: u32) -> (u32, u32) {
        (
            config_ports::ENABLE | self.0 << config_ports::DEVICE_SHIFT | offset & !3,
            u32::from(config_ports::DATA) + (offset & 3),
        )
    }
}

impl Qmp {
    /// Switches the power of the slot of device `dev`, through the configuration of its root port
    /// (PCI Express 3.0, 7.8.10). The light stays on, so that QEMU keeps what is in the slot. The guest stands
    /// still meanwhile, and finds the address port as it was.
    ///
    /// # Errors
    /// When QEMU is gone or does not answer, or there is no such slot.
    pub async fn switch_slot(&mut self, dev: u8, on: bool) -> Result<(), QmpError> {
        let runs = self.status().await? == "running";
        self.monitor("stop".to_owned()).await?;
        let switched = self.switch_stopped(dev, on).await;
        if runs {
            self.go_on().await?;
        }
        switched
    }

    async fn switch_stopped(&mut self, dev: u8, on: bool) -> Result<(), QmpError> {
        let before = self.port_in('w', config_ports::ADDRESS.into()).await?;
        let port = ConfigSpace::of_port(dev);
        let switched = async {
            let Some(capability) = self.express(port).await? else {
                return Err(QmpError::Refused {
                    doing: format!("switching the slot of device {dev}"),
                    reason: "there is no root port".to_owned(),
                });
            };
            let control = capability + u32::from(slot_control::OFFSET);
            let others =
                self.config_in(port, control, 'h').await? & !u32::from(slot_control::POWER);
            let power = if on {
                slot_control::ON
            } else {
                slot_control::OFF_LIT
            };
            self.config_out(port, control, 'h', others | u32::from(power))
                .await
        };
        let switched = switched.await;
        self.port_out('w', config_ports::ADDRESS.into(), before)
            .await?;
        switched
    }

    /// Where the PCI Express capability of a function is.
    async fn express(&mut self, at: ConfigSpace) -> Result<Option<u32>, QmpError> {
        let mut next = PciHeader::CapabilitiesPointer.offset() as u32;
        for _ in 0..MOST_CAPABILITIES {
            // Its last two bits mean nothing (PCI Local Bus 3.0, 6.7).
            let capability = self.config_in(at, next, 'b').await? & !3;
            if capability == 0 {
                break;
            }
            if self.config_in(at, capability, 'b').await? == u32::from(cap_id::EXPRESS) {
                return Ok(Some(capability));
            }
            next = capability + 1;
        }
        Ok(None)
    }

    async fn config_in(
        &mut self,
        at: ConfigSpace,
        offset: u32,
        size: char,
    ) -> Result<u32, QmpError> {
        let (address, port) = at.ports(offset);
        self.port_out('w', config_ports::ADDRESS.into(), address)
            .await?;
        self.port_in(size, port).await
    }

    async fn config_out(
        &mut self,
        at: ConfigSpace,
        offset: u32,
        size: char,
        value: u32,
    ) -> Result<(), QmpError> {
        let (address, port) = at.ports(offset);
        self.port_out('w', config_ports::ADDRESS.into(), address)
            .await?;
        self.port_out(size, port, value).await
    }

    /// Reads a port of the machine; `size` as the human monitor has it: `b`, `h` or `w`.
    async fn port_in(&mut self, size: char, port: u32) -> Result<u32, QmpError> {
        let line = format!("i/{size} {port:#x}");
        let said = self.monitor(line.clone()).await?;
        // portw[0x0cfc] = 0x1b36
        let value = said.trim().rsplit_once("= 0x").map(|(_, digits)| digits);
        value
            .and_then(|digits| u32::from_str_radix(digits.trim(), 16).ok())
            .ok_or(QmpError::Refused {
                doing: format!("`{line}`"),
                reason: said,
            })
    }

    async fn port_out(&mut self, size: char, port: u32, value: u32) -> Result<(), QmpError> {
        self.monitor(format!("o/{size} {port:#x} {value:#x}"))
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_of_a_root_port_is_at_the_ports_that_the_specification_has_for_it() {
        assert_eq!(ConfigSpace::of_port(0).ports(0x6c), (0x8000_806c, 0xcfc));
        assert_eq!(ConfigSpace::of_port(2).ports(0x6e), (0x8000_906c, 0xcfe));
    }
}
