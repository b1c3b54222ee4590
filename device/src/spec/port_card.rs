//! The registers of `port-card`, our plain PCI endpoint.

use super::registers;

registers! {
    /// BAR 0 of a port-card: N ports, and a message for each.
    pub enum PortCard, size 0x1000 {
        0x000: u32 ro  device => Id "id" = 0x5452_4f50,
        0x004: u32 ro  device => PortsPresent "ports_present",
        0x008: u32 rw  device => IntEnable "int_enable",
        0x00c: u32 w1c device => IntStatus "int_status",
        0x010: u32 wo  device => Doorbell "doorbell",
    }
}

impl PortCard {
    /// Offset of `EVENT_COUNT[0]`; one 32-bit read-only register for each port follows.
    pub const EVENT_COUNT: u64 = 0x100;
    /// The largest number of ports that PORTS_PRESENT (bits 4:0) can tell.
    pub const MAX_PORTS: u16 = 31;
}
