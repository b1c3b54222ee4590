//! What PnP asks for and grants: the INF's say, the system's limits, all messages or exactly one.
//!
//! Sources, all in Microsoft's driver documentation: "Enabling Message-Signaled Interrupts in the
//! Registry" (`MSISupported`, `MessageNumberLimit`), "Introduction to Message-Signaled Interrupts"
//! (the whole request or one message), "Using Interrupt Resource Descriptors" (one descriptor for
//! MSI, one a message for MSI-X; 910 and 2048 messages; a line at worst), "Dynamically Configuring
//! MSI-X" (surplus table entries are message 0).

use super::resources::{Descriptor, Requirement, Resources};
use super::status::NtStatus;
use super::vectors::{Vectors, irql};
use crate::hal::processor;
use alloc::vec;
use alloc::vec::Vec;

/// Lines, and messages that share an address, go to processor 0.
const AFFINITY: u64 = 1;
/// The PCI 2.2 limit of messages for MSI.
const MSI_LIMIT: u32 = 32;

/// The version of Windows, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Os {
    /// Windows 7.
    Win7,
    /// Windows 8.
    Win8,
    /// Windows 10.
    #[default]
    Win10,
}

impl Os {
    /// Messages that a function may ask for; with more, the device may fail to start.
    pub fn message_limit(self) -> u32 {
        match self {
            Self::Win7 => 910,
            Self::Win8 | Self::Win10 => 2048,
        }
    }
}

/// What is handed out, if the machine has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grant {
    /// All that is asked for.
    #[default]
    All,
    /// One message.
    One,
    /// A line.
    None,
    /// So many messages at most.
    Number(u32),
}

impl Grant {
    /// Reads `all`, `one`, `none`, or a number.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "all" => Self::All,
            "one" => Self::One,
            "none" => Self::None,
            number => Self::Number(number.parse().ok().filter(|n| *n > 0)?),
        })
    }
}

/// What the INF says under `Interrupt Management\MessageSignaledInterruptProperties`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inf {
    /// `MSISupported`.
    pub msi_supported: bool,
    /// `MessageNumberLimit`.
    pub message_number_limit: Option<u32>,
}

impl Default for Inf {
    fn default() -> Self {
        Self {
            msi_supported: true,
            message_number_limit: None,
        }
    }
}

/// What the function can do, from its configuration space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Entries of the MSI-X table; 0 without the capability.
    pub msix: u32,
    /// Messages of the MSI capability; 0 without it.
    pub msi: u32,
    /// Input of the I/O APIC that the interrupt pin drives.
    pub line: Option<u8>,
}

/// How messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One address; the data's low bits are the message.
    Msi,
    /// An address and data for each table entry.
    Msix,
}

/// The list that `IRP_MN_FILTER_RESOURCE_REQUIREMENTS` shows the driver: the messages, preferred,
/// then the line, if there is one.
pub fn requirements(capabilities: Capabilities, inf: Inf) -> Vec<Requirement> {
    let limit = inf.message_number_limit.unwrap_or(u32::MAX);
    let mut list = if !inf.msi_supported {
        vec![]
    } else if capabilities.msix > 0 {
        // A function with both has MSI-X used.
        vec![Requirement::messages(1); capabilities.msix.min(limit) as usize]
    } else if capabilities.msi.min(limit) > 0 {
        let most = capabilities.msi.min(limit).min(MSI_LIMIT);
        vec![Requirement::messages(1 << most.ilog2())]
    } else {
        vec![]
    };
    if let Some(line) = capabilities.line {
        list.push(Requirement::line(line.into()));
    }
    list
}

/// What the device received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// Messages: their vectors, message 0 first.
    Messages(Kind, Vec<u8>),
    /// A line: its input and the vector.
    Line(u8, u8),
    /// It has no interrupt.
    Nothing,
}

/// Hands out interrupts for `requirements`.
///
/// # Errors
/// `INSUFFICIENT_RESOURCES` when more messages are asked for than the system allows a function, or
/// when there is nothing left and no line to fall back to.
pub fn assign(
    requirements: &[Requirement],
    kind: Kind,
    os: Os,
    grant: Grant,
    vectors: &mut Vectors,
) -> Result<Assignment, NtStatus> {
    let wanted: u32 = requirements.iter().map(Requirement::count).sum();
    if wanted > os.message_limit() {
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    let granted = match grant {
        Grant::All if wanted > 0 => messages(kind, wanted, vectors).or_else(|| one(vectors)),
        Grant::One if wanted > 0 => one(vectors),
        Grant::Number(most) if wanted > 0 => messages(kind, wanted.min(most), vectors),
        _ => None,
    };
    if let Some(granted) = granted {
        return Ok(Assignment::Messages(kind, granted));
    }
    match requirements.iter().find(|r| !r.is_message()) {
        Some(line) => match vectors.line(line.minimum as u8) {
            Some(vector) => Ok(Assignment::Line(line.minimum as u8, vector)),
            None => Err(NtStatus::INSUFFICIENT_RESOURCES),
        },
        None if wanted > 0 => Err(NtStatus::INSUFFICIENT_RESOURCES),
        None => Ok(Assignment::Nothing),
    }
}

fn one(vectors: &mut Vectors) -> Option<Vec<u8>> {
    vectors.single().map(|vector| vec![vector])
}

fn messages(kind: Kind, count: u32, vectors: &mut Vectors) -> Option<Vec<u8>> {
    if count as usize > vectors.free() {
        return None;
    }
    match kind {
        Kind::Msi => {
            // A block is a power of two.
            let count = 1u32 << count.max(1).ilog2();
            let first = vectors.block(count as u8)?;
            Some((first..first + count as u8).collect())
        }
        Kind::Msix => (0..count).map(|_| vectors.single()).collect(),
    }
}

impl Assignment {
    /// How many messages were granted.
    pub fn granted(&self) -> usize {
        match self {
            Self::Messages(_, vectors) => vectors.len(),
            _ => 0,
        }
    }

    /// Gives back what was assigned.
    pub fn release(&self, vectors: &mut Vectors) {
        match self {
            Self::Messages(_, mine) => mine.iter().for_each(|&vector| vectors.release(vector)),
            Self::Line(input, _) => vectors.release_line(*input),
            Self::Nothing => {}
        }
    }

    /// The message that table entry `entry` is programmed with: its own number, and 0 for the
    /// entries that are left over.
    pub fn message_of_entry(&self, entry: usize) -> usize {
        if entry < self.granted() { entry } else { 0 }
    }

    /// The processor that message `message` goes to: those of MSI have one address, and those of MSI-X go around.
    pub fn processor_of(&self, message: usize) -> usize {
        match self {
            Self::Messages(Kind::Msix, _) => processor::of_message(message),
            _ => 0,
        }
    }

    /// The lists of `IRP_MN_START_DEVICE`: one descriptor for MSI, one a message for MSI-X.
    pub fn resources(&self) -> Resources {
        let level = |vector: u8| u16::from(irql(vector));
        let (raw, translated) = match self {
            Self::Messages(Kind::Msi, vectors) => {
                let (first, count) = (vectors[0], vectors.len() as u16);
                (
                    vec![Descriptor::raw_message(count, first.into(), AFFINITY)],
                    vec![Descriptor::translated_message(
                        level(first),
                        0,
                        first.into(),
                        AFFINITY,
                    )],
                )
            }
            Self::Messages(Kind::Msix, vectors) => vectors
                .iter()
                .enumerate()
                .map(|(n, &vector)| {
                    let affinity = 1 << self.processor_of(n);
                    (
                        Descriptor::raw_message(1, vector.into(), affinity),
                        Descriptor::translated_message(level(vector), 0, vector.into(), affinity),
                    )
                })
                .unzip(),
            Self::Line(input, vector) => (
                vec![Descriptor::line((*input).into(), (*input).into(), AFFINITY)],
                vec![Descriptor::line(level(*vector), (*vector).into(), AFFINITY)],
            ),
            Self::Nothing => (vec![], vec![]),
        };
        Resources { raw, translated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Capabilities = Capabilities {
        msix: 3,
        msi: 8,
        line: Some(20),
    };
    const MSI: Capabilities = Capabilities { msix: 0, ..BOTH };

    fn granted(capabilities: Capabilities, inf: Inf, grant: Grant) -> Assignment {
        let kind = if capabilities.msix > 0 {
            Kind::Msix
        } else {
            Kind::Msi
        };
        let list = requirements(capabilities, inf);
        assign(&list, kind, Os::Win10, grant, &mut Vectors::default()).unwrap()
    }

    #[test]
    fn msix_has_a_descriptor_for_each_message_and_is_preferred_to_msi() {
        let assignment = granted(BOTH, Inf::default(), Grant::All);
        assert_eq!(assignment.granted(), 3);
        let lists = assignment.resources();
        assert_eq!((lists.raw.len(), lists.translated.len()), (3, 3));
        assert!(lists.raw.iter().all(|d| d.message_count() == 1));
        assert!(lists.translated.iter().all(Descriptor::is_message));
    }

    #[test]
    fn msi_has_one_descriptor_with_a_count_in_the_raw_list() {
        let assignment = granted(MSI, Inf::default(), Grant::All);
        let vectors = (0x40..0x48).collect();
        assert_eq!(assignment, Assignment::Messages(Kind::Msi, vectors));
        let lists = assignment.resources();
        assert_eq!((lists.raw.len(), lists.translated.len()), (1, 1));
        assert_eq!(lists.raw[0].message_count(), 8);
        assert_eq!(lists.translated[0].message_count(), 0);
        assert_eq!(lists.translated[0].level(), 4);
    }

    #[test]
    fn the_inf_can_forbid_messages_and_limit_them() {
        let off = Inf {
            msi_supported: false,
            ..Inf::default()
        };
        assert!(matches!(
            granted(BOTH, off, Grant::All),
            Assignment::Line(20, _)
        ));
        let limit = Inf {
            message_number_limit: Some(6),
            ..Inf::default()
        };
        assert_eq!(granted(MSI, limit, Grant::All).granted(), 4);
        assert_eq!(granted(BOTH, limit, Grant::All).granted(), 3);
    }

    #[test]
    fn all_messages_are_granted_or_exactly_one() {
        assert_eq!(
            granted(MSI, Inf::default(), Grant::One),
            Assignment::Messages(Kind::Msi, vec![0x63])
        );
        let many = Capabilities { msix: 500, ..BOTH };
        assert_eq!(granted(many, Inf::default(), Grant::All).granted(), 1);
        assert!(matches!(
            granted(MSI, Inf::default(), Grant::None),
            Assignment::Line(20, _)
        ));
    }

    #[test]
    fn any_number_of_messages_can_be_granted() {
        assert_eq!(granted(BOTH, Inf::default(), Grant::Number(2)).granted(), 2);
        assert_eq!(granted(BOTH, Inf::default(), Grant::Number(9)).granted(), 3);
        assert_eq!(granted(MSI, Inf::default(), Grant::Number(3)).granted(), 2);
        assert_eq!(Grant::parse("2"), Some(Grant::Number(2)));
        assert_eq!((Grant::parse("0"), Grant::parse("two")), (None, None));
    }

    #[test]
    fn a_request_above_the_systems_limit_fails() {
        let table = Capabilities { msix: 1024, ..BOTH };
        let list = requirements(table, Inf::default());
        let ask = |os| assign(&list, Kind::Msix, os, Grant::All, &mut Vectors::default());
        assert_eq!(ask(Os::Win7), Err(NtStatus::INSUFFICIENT_RESOURCES));
        assert_eq!(ask(Os::Win8).unwrap().granted(), 1);
    }

    #[test]
    fn entries_that_are_left_over_are_message_0() {
        let assignment = granted(BOTH, Inf::default(), Grant::All);
        let messages: Vec<_> = (0..6).map(|e| assignment.message_of_entry(e)).collect();
        assert_eq!(messages, [0, 1, 2, 0, 0, 0]);
    }

    #[test]
    fn a_device_that_cannot_interrupt_has_nothing() {
        let list = requirements(Capabilities::default(), Inf::default());
        let mut vectors = Vectors::default();
        assert_eq!(
            assign(&list, Kind::Msix, Os::Win10, Grant::All, &mut vectors),
            Ok(Assignment::Nothing)
        );
    }
}
