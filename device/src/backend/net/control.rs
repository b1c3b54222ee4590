//! Commands of the control queue (5.1.6.5).

use std::fmt;

use super::super::chain::Chain;
use super::super::device::Memory;
use crate::spec::MacAddress;

/// Class and command.
pub(super) const HEADER_BYTES: usize = 2;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A mode of reception, on or off.
    Receive(Mode, bool),
    /// The tables of addresses, which stay in the chain.
    MacTable,
    /// The address.
    Mac(MacAddress),
    /// Frames of this VLAN pass.
    AddVlan(u16),
    /// They do not.
    DeleteVlan(u16),
    /// The announcement that was asked for is on its way.
    Announced,
    /// So many pairs are in use.
    Pairs(u16),
    /// Class and command that this device does not know.
    Unknown(u8, u8),
    /// Too short.
    Malformed,
}

/// What is received beside the frames to the device's addresses (5.1.6.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Everything.
    Promiscuous,
    /// Everything to several stations.
    AllMulti,
    /// Everything to one station.
    AllUni,
    /// Nothing to several stations.
    NoMulti,
    /// Nothing to one station.
    NoUni,
    /// Nothing to all stations.
    NoBroadcast,
}

impl Mode {
    /// Every mode, by its command.
    pub const ALL: [Self; 6] = [
        Self::Promiscuous,
        Self::AllMulti,
        Self::AllUni,
        Self::NoMulti,
        Self::NoUni,
        Self::NoBroadcast,
    ];

    /// Whether it needs CTRL_RX_EXTRA.
    pub const fn is_extra(self) -> bool {
        !matches!(self, Self::Promiscuous | Self::AllMulti)
    }
}

impl Command {
    /// Reads the command in `chain`.
    pub fn read(memory: &Memory, chain: &Chain) -> Self {
        let mut data = chain.reader();
        let mut header = [0; HEADER_BYTES];
        if !chain.well_formed() || data.read(memory, &mut header).is_err() {
            return Self::Malformed;
        }
        let length = chain.readable_bytes() - HEADER_BYTES as u64;
        let mut bytes = [0; 6];
        let wanted = match header {
            [0, 0..=5] => 1,
            [2, 0 | 1] | [4, 0] => 2,
            [1, 1] => 6,
            _ => 0,
        };
        if length < wanted as u64 || data.read(memory, &mut bytes[..wanted]).is_err() {
            return Self::Malformed;
        }
        let word = u16::from_le_bytes([bytes[0], bytes[1]]);
        match header {
            [0, mode @ 0..=5] => match bytes[0] {
                on @ (0 | 1) => Self::Receive(Mode::ALL[usize::from(mode)], on == 1),
                _ => Self::Malformed,
            },
            [1, 0] => Self::MacTable,
            [1, 1] => Self::Mac(MacAddress(bytes)),
            [2, 0] => Self::AddVlan(word),
            [2, 1] => Self::DeleteVlan(word),
            [3, 0] => Self::Announced,
            [4, 0] => Self::Pairs(word),
            [class, command] => Self::Unknown(class, command),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receive(mode, on) => {
                let mode = match mode {
                    Mode::Promiscuous => "promiscuous",
                    Mode::AllMulti => "all multicast",
                    Mode::AllUni => "all unicast",
                    Mode::NoMulti => "no multicast",
                    Mode::NoUni => "no unicast",
                    Mode::NoBroadcast => "no broadcast",
                };
                write!(f, "{mode} {}", if *on { "on" } else { "off" })
            }
            Self::MacTable => f.write_str("set address tables"),
            Self::Mac(mac) => write!(f, "set address {mac}"),
            Self::AddVlan(id) => write!(f, "add VLAN {id}"),
            Self::DeleteVlan(id) => write!(f, "delete VLAN {id}"),
            Self::Announced => f.write_str("acknowledge announcement"),
            Self::Pairs(pairs) => write!(f, "set pairs {pairs}"),
            Self::Unknown(class, command) => write!(f, "unknown command {class}.{command}"),
            Self::Malformed => f.write_str("malformed command"),
        }
    }
}
