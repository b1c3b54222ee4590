//! Resource descriptors: what PnP asks for, and what it hands to a driver.
//!
//! Sources: `IO_RESOURCE_DESCRIPTOR` and `CM_PARTIAL_RESOURCE_DESCRIPTOR` in Microsoft's driver
//! documentation, and its page "Using Interrupt Resource Descriptors".

use alloc::vec::Vec;

/// `CM_RESOURCE_INTERRUPT_LEVEL_SENSITIVE`: the absence of `LATCHED`.
pub const LEVEL_SENSITIVE: u16 = 0;
/// `CM_RESOURCE_INTERRUPT_LATCHED`.
pub const LATCHED: u16 = 1;
/// `CM_RESOURCE_INTERRUPT_MESSAGE`: set for MSI and MSI-X, clear for a line.
pub const MESSAGE: u16 = 2;
/// `CM_RESOURCE_INTERRUPT_MESSAGE_TOKEN`: the highest "vector" of a message requirement.
pub const MESSAGE_TOKEN: u32 = 0xffff_fffe;

/// `ShareDisposition` of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// `CmResourceShareDeviceExclusive`: what messages have.
    DeviceExclusive = 1,
    /// `CmResourceShareShared`: what lines have.
    Shared = 3,
}

/// An interrupt's `CM_PARTIAL_RESOURCE_DESCRIPTOR`, in a raw or in a translated list.
///
/// The structure ends in a union, and nothing but the list that it comes from tells which member
/// holds. Reading the other member gives a number too, only the wrong one: the `MessageCount` of a
/// translated descriptor is the processor group, 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Whether others may use the interrupt.
    pub share: Share,
    /// `LATCHED`, `MESSAGE`.
    pub flags: u16,
    first: u16,
    second: u16,
    vector: u32,
    affinity: u64,
}

impl Descriptor {
    /// `u.MessageInterrupt.Raw` of a raw list.
    pub fn raw_message(count: u16, vector: u32, affinity: u64) -> Self {
        Self {
            share: Share::DeviceExclusive,
            flags: LATCHED | MESSAGE,
            first: 0,
            second: count,
            vector,
            affinity,
        }
    }

    /// `u.MessageInterrupt.Translated` of a translated list. `level` is the DIRQL.
    pub fn translated_message(level: u16, group: u16, vector: u32, affinity: u64) -> Self {
        Self {
            share: Share::DeviceExclusive,
            flags: LATCHED | MESSAGE,
            first: level,
            second: group,
            vector,
            affinity,
        }
    }

    /// `u.Interrupt` of either list: a line.
    pub fn line(level: u16, vector: u32, affinity: u64) -> Self {
        Self {
            share: Share::Shared,
            flags: LEVEL_SENSITIVE,
            first: level,
            second: 0,
            vector,
            affinity,
        }
    }

    /// Whether `CM_RESOURCE_INTERRUPT_MESSAGE` is set.
    pub fn is_message(&self) -> bool {
        self.flags & MESSAGE != 0
    }

    /// `u.MessageInterrupt.Raw.MessageCount`, right or not for this list.
    pub fn message_count(&self) -> u16 {
        self.second
    }

    /// `Level`, right or not for this list.
    pub fn level(&self) -> u16 {
        self.first
    }

    /// `Vector`.
    pub fn vector(&self) -> u32 {
        self.vector
    }

    /// `Affinity`, one bit for each processor.
    pub fn affinity(&self) -> u64 {
        self.affinity
    }
}

/// The interrupts of the two lists that `EvtDevicePrepareHardware` receives: as many in each, and
/// descriptor `n` of the one belongs to descriptor `n` of the other.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// As the device is programmed.
    pub raw: Vec<Descriptor>,
    /// As the processor sees it.
    pub translated: Vec<Descriptor>,
}

/// An interrupt's `IO_RESOURCE_DESCRIPTOR`: what the device would like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// `LATCHED`, `MESSAGE`.
    pub flags: u16,
    /// `u.Interrupt.MinimumVector`.
    pub minimum: u32,
    /// `u.Interrupt.MaximumVector`.
    pub maximum: u32,
}

impl Requirement {
    /// `count` messages by one descriptor: MSI with its count, MSI-X with 1.
    pub fn messages(count: u32) -> Self {
        Self {
            flags: LATCHED | MESSAGE,
            minimum: MESSAGE_TOKEN - count + 1,
            maximum: MESSAGE_TOKEN,
        }
    }

    /// A line.
    pub fn line(input: u32) -> Self {
        Self {
            flags: LEVEL_SENSITIVE,
            minimum: input,
            maximum: input,
        }
    }

    /// Whether messages are asked for.
    pub fn is_message(&self) -> bool {
        self.flags & MESSAGE != 0
    }

    /// How many messages; 0 for a line.
    pub fn count(&self) -> u32 {
        if self.is_message() {
            self.maximum.wrapping_sub(self.minimum).wrapping_add(1)
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_count_of_a_translated_descriptor_is_its_processor_group() {
        assert_eq!(Descriptor::raw_message(8, 0x40, 1).message_count(), 8);
        assert_eq!(
            Descriptor::translated_message(6, 0, 0x63, 1).message_count(),
            0
        );
    }

    #[test]
    fn a_requirement_counts_from_its_lowest_vector_to_the_token() {
        assert_eq!(Requirement::messages(8).count(), 8);
        assert_eq!(Requirement::messages(8).minimum, MESSAGE_TOKEN - 7);
        assert_eq!(Requirement::line(20).count(), 0);
    }
}
