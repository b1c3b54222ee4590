//! The fields of a device's configuration, whatever its type.

use super::{BlkConfig, Rights, registers};

/// A field of device-specific configuration (2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfigField {
    /// The specification's name.
    pub name: &'static str,
    /// Offset in bytes.
    pub offset: u16,
    /// Width in bytes.
    pub width: u8,
    /// What the driver may do with it.
    pub rights: Rights,
    /// The features of which one is needed for the field to exist; empty: it always does.
    pub gates: &'static [u8],
    /// Value after a reset of a field that the driver may write.
    pub reset: u64,
}

impl ConfigField {
    /// Whether the field exists in a device that offers `features`.
    pub fn exists(&self, features: u128) -> bool {
        self.gates.is_empty() || self.gates.iter().any(|bit| features >> bit & 1 != 0)
    }

    /// The largest value that fits.
    pub const fn most(&self) -> u64 {
        u64::MAX >> (64 - 8 * self.width as u32)
    }
}

/// Makes a register block with `gates` a table of configuration fields.
macro_rules! configuration {
    ($block:ident) => {
        impl $block {
            /// Every field, in order of offset.
            pub const FIELDS: &'static [$crate::spec::ConfigField] = &{
                let mut fields = [Self::ALL[0].field(); Self::ALL.len()];
                let mut i = 1;
                while i < fields.len() {
                    fields[i] = Self::ALL[i].field();
                    i += 1;
                }
                fields
            };

            /// The field as one of any device.
            pub const fn field(self) -> $crate::spec::ConfigField {
                $crate::spec::ConfigField {
                    name: self.name(),
                    offset: self.offset() as u16,
                    width: self.width(),
                    rights: self.rights(),
                    gates: self.gates(),
                    reset: self.reset(),
                }
            }
        }

        impl From<$block> for $crate::spec::ConfigField {
            fn from(register: $block) -> Self {
                register.field()
            }
        }
    };
}
configuration!(BlkConfig);
configuration!(NetConfig);
configuration!(ConsoleConfig);
configuration!(ScsiConfig);

registers! {
    /// `struct virtio_net_config` (5.1.4).
    pub enum NetConfig, size 0x1c {
        0x00: u8  ro device => Mac0 "mac.0",
        0x01: u8  ro device => Mac1 "mac.1",
        0x02: u8  ro device => Mac2 "mac.2",
        0x03: u8  ro device => Mac3 "mac.3",
        0x04: u8  ro device => Mac4 "mac.4",
        0x05: u8  ro device => Mac5 "mac.5",
        0x06: u16 ro device => Status "status",
        0x08: u16 ro device => MaxVirtqueuePairs "max_virtqueue_pairs",
        0x0a: u16 ro device => Mtu "mtu",
        0x0c: u32 ro device => Speed "speed",
        0x10: u8  ro device => Duplex "duplex",
        0x11: u8  ro device => RssMaxKeySize "rss_max_key_size",
        0x12: u16 ro device => RssMaxIndirectionTableLength "rss_max_indirection_table_length",
        0x14: u32 ro device => SupportedHashTypes "supported_hash_types",
        0x18: u32 ro device => SupportedTunnelTypes "supported_tunnel_types",
    }
}

impl NetConfig {
    /// The features of which one is needed for the field to exist (5.1.4).
    pub const fn gates(self) -> &'static [u8] {
        match self {
            // The address is there always, and valid with MAC only.
            Self::Mac0 | Self::Mac1 | Self::Mac2 | Self::Mac3 | Self::Mac4 | Self::Mac5 => &[],
            Self::Status => &[16],
            Self::MaxVirtqueuePairs => &[22, 60],
            Self::Mtu => &[3],
            Self::Speed | Self::Duplex => &[63],
            Self::RssMaxKeySize | Self::SupportedHashTypes => &[57, 60],
            Self::RssMaxIndirectionTableLength => &[60],
            Self::SupportedTunnelTypes => &[51],
        }
    }
}

/// Bits of a network device's `status` (5.1.4).
pub mod net_status {
    /// `VIRTIO_NET_S_LINK_UP`
    pub const LINK_UP: u16 = 1;
    /// `VIRTIO_NET_S_ANNOUNCE`
    pub const ANNOUNCE: u16 = 2;
}

registers! {
    /// `struct virtio_console_config` (5.3.4).
    pub enum ConsoleConfig, size 0x0c {
        0x00: u16 ro device => Cols "cols",
        0x02: u16 ro device => Rows "rows",
        0x04: u32 ro device => MaxNrPorts "max_nr_ports",
        0x08: u32 wo device => EmergWr "emerg_wr",
    }
}

impl ConsoleConfig {
    /// The features of which one is needed for the field to exist (5.3.4).
    pub const fn gates(self) -> &'static [u8] {
        match self {
            Self::Cols | Self::Rows => &[0],
            Self::MaxNrPorts => &[1],
            Self::EmergWr => &[2],
        }
    }
}

registers! {
    /// `struct virtio_scsi_config` (5.6.4).
    pub enum ScsiConfig, size 0x24 {
        0x00: u32 ro device => NumQueues "num_queues",
        0x04: u32 ro device => SegMax "seg_max",
        0x08: u32 ro device => MaxSectors "max_sectors",
        0x0c: u32 ro device => CmdPerLun "cmd_per_lun",
        0x10: u32 ro device => EventInfoSize "event_info_size",
        0x14: u32 rw device => SenseSize "sense_size" = 96,
        0x18: u32 rw device => CdbSize "cdb_size" = 32,
        0x1c: u16 ro device => MaxChannel "max_channel",
        0x1e: u16 ro device => MaxTarget "max_target",
        0x20: u32 ro device => MaxLun "max_lun",
    }
}

impl ScsiConfig {
    /// All fields are there always (5.6.4).
    pub const fn gates(self) -> &'static [u8] {
        &[]
    }
}
