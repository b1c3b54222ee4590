//! The legacy interface as a driver meets it.

use super::*;
use crate::shape::Kind;
use crate::spec::{
    CommonCfg, LEGACY_OFFERED, LegacyCfg as L, NO_VECTOR, PciHeader, Status, VIRTIO_VENDOR, cap_id,
    command, msix_control,
};
use crate::trace::{Cause, IrqKind, Message, QueueSetup};

const FEATURES: u128 = 1 << 34 | 1 << 32 | 1 << 29 | 1 << 9;
const MASTER: u16 = command::IO | command::MEMORY | command::BUS_MASTER;

/// A driver's hands on a function.
struct Ports(Function);

impl Ports {
    fn new(text: &str) -> Self {
        let shape: Shape = toml::from_str(text).unwrap();
        assert_eq!(shape.check(), Ok(()), "{text}");
        let config = crate::backend::Configuration::new(&shape, 0x1122_3344_5566)
            .bytes()
            .to_vec();
        let mut ports = Self(Function::new(&shape, FEATURES, config));
        ports.config(PciHeader::Command.offset(), 2, Some(MASTER.into()));
        let count = shape.table_size();
        ports.step(&Input::Irqs {
            kind: IrqKind::Msix,
            start: 0,
            count,
            wired: true,
        });
        ports
    }

    fn block() -> Self {
        Self::new("kind = 'block'\nqueues = 2\nqueue-size = 64\nvirtio = 'transitional'")
    }

    fn step(&mut self, input: &Input) -> Effects {
        self.0.step(0, input)
    }

    fn at(&mut self, space: Space, off: u64, width: u8, val: Option<u64>) -> Effects {
        let op = if val.is_some() { Op::Write } else { Op::Read };
        let access = self.0.name(op, space, off, width, val);
        self.step(&Input::Access(access))
    }

    fn config(&mut self, off: u64, width: u8, val: Option<u64>) -> u64 {
        value(&self.at(Space::Config, off, width, val))
    }

    fn read(&mut self, off: u64, width: u8) -> u64 {
        value(&self.at(Space::Bar0, off, width, None))
    }

    fn rd(&mut self, register: L) -> u64 {
        self.read(register.offset(), register.width())
    }

    fn wr(&mut self, register: L, val: u64) -> Effects {
        self.at(Space::Bar0, register.offset(), register.width(), Some(val))
    }

    fn set_msix(&mut self, on: bool) {
        let mut at = self.config(PciHeader::CapabilitiesPointer.offset(), 1, None);
        while self.config(at, 1, None) != u64::from(cap_id::MSIX) {
            at = self.config(at + 1, 1, None);
        }
        let control = if on { msix_control::ENABLE } else { 0 };
        self.config(at + 2, 2, Some(control.into()));
    }

    /// To DRIVER_OK, with the first queue at page 0x10.
    fn bring_up(&mut self) -> Effects {
        for status in [0, 1, 3] {
            self.wr(L::DeviceStatus, status);
        }
        self.wr(L::DriverFeatures, 1 << 9 | 1 << 27);
        self.wr(L::QueueAddress, 0x10);
        self.wr(L::DeviceStatus, 7)
    }
}

fn value(effects: &Effects) -> u64 {
    let values = effects.iter().filter_map(|effect| match effect {
        Effect::Value(value) => Some(*value),
        _ => None,
    });
    values.fold(0, |_, value| value)
}

fn started(effects: &Effects) -> Option<&crate::trace::Start> {
    effects.iter().find_map(|effect| match effect {
        Effect::Start(start) => Some(&**start),
        _ => None,
    })
}

#[test]
fn a_transitional_device_has_the_ids_of_a_legacy_one_and_ports_in_its_first_bar() {
    for (kind, device, board) in [
        (Kind::Net, 0x1000, 1),
        (Kind::Block, 0x1001, 2),
        (Kind::Console, 0x1003, 3),
        (Kind::Rng, 0x1005, 4),
        (Kind::Scsi, 0x1004, 8),
    ] {
        let kind = serde_json::to_value(kind).unwrap();
        let text = format!("kind = {kind}\nvirtio = 'transitional'");
        let mut ports = Ports::new(&text);
        let mut id = |r: PciHeader| ports.config(r.offset(), r.width(), None);
        assert_eq!(id(PciHeader::VendorId), u64::from(VIRTIO_VENDOR));
        assert_eq!(id(PciHeader::DeviceId), device, "{text}");
        assert_eq!(id(PciHeader::RevisionId), 0);
        assert_eq!(id(PciHeader::SubsystemId), board);
        ports.config(PciHeader::Bar0.offset(), 4, Some(0xffff_ffff));
        let size = ports.config(PciHeader::Bar0.offset(), 4, None);
        assert_eq!(size, 0xffff_ff01, "256 ports");
    }
}

#[test]
fn ports_answer_while_io_space_is_on_and_memory_has_its_own_bit() {
    let mut ports = Ports::block();
    let set = |ports: &mut Ports, bits: u16| {
        ports.config(PciHeader::Command.offset(), 2, Some(bits.into()));
    };
    set(&mut ports, command::MEMORY);
    assert_eq!(ports.rd(L::QueueSize), 0xffff);
    set(&mut ports, command::IO);
    assert_eq!(ports.rd(L::QueueSize), 64);
    assert_eq!(
        value(&ports.at(Space::Bar4, CommonCfg::NumQueues.offset(), 2, None)),
        0xffff
    );
}

#[test]
fn only_32_features_are_seen_and_accepted_and_those_of_the_legacy_interface_are_offered() {
    let mut ports = Ports::block();
    let low = (1u64 << 29 | 1 << 9) | LEGACY_OFFERED as u64;
    assert_eq!(ports.rd(L::DeviceFeatures), low);
    let start = ports.bring_up();
    let start = started(&start).unwrap();
    assert_eq!(
        start.features,
        1 << 9,
        "the backend knows nothing of bit 27"
    );
    ports.wr(L::DriverFeatures, 1 << 29);
    assert_eq!(
        ports.rd(L::DriverFeatures),
        1 << 9 | 1 << 27,
        "features are final once the device is used"
    );
}

#[test]
fn a_queue_lies_behind_its_first_page_and_the_device_starts_without_features_ok() {
    let mut ports = Ports::block();
    let effects = ports.bring_up();
    let queue = QueueSetup {
        index: 0,
        size: 64,
        desc: 0x10000,
        driver: 0x10400,
        device: 0x11000,
        vector: NO_VECTOR,
    };
    assert_eq!(started(&effects).unwrap().queues, [queue]);
    assert_eq!(effects.last(), Some(&Effect::Kick { queue: 0 }));
    assert_eq!(ports.rd(L::QueueAddress), 0x10);
    assert_eq!(ports.rd(L::DeviceStatus), 7);
    assert_eq!(
        ports.wr(L::QueueNotify, 0).as_slice(),
        [Effect::Kick { queue: 0 }]
    );
    assert!(ports.wr(L::QueueNotify, 1).is_empty(), "it is not in use");
    ports.wr(L::QueueSize, 16);
    assert_eq!(ports.rd(L::QueueSize), 64, "a driver can't change it");
}

#[test]
fn the_device_may_be_used_before_driver_ok_and_queues_may_follow_and_go() {
    let mut ports = Ports::block();
    ports.wr(L::DeviceStatus, 3);
    ports.wr(L::QueueAddress, 0x10);
    let effects = ports.wr(L::QueueNotify, 0);
    assert_eq!(started(&effects).unwrap().queues.len(), 1);
    ports.wr(L::QueueSelect, 1);
    let effects = ports.wr(L::QueueAddress, 0x20);
    assert!(matches!(effects[0], Effect::StartQueue(q) if q.index == 1 && q.desc == 0x20000));
    assert!(started(&ports.wr(L::DeviceStatus, 7)).is_none());
    let effects = ports.wr(L::QueueAddress, 0);
    assert_eq!(effects.as_slice(), [Effect::StopQueue { queue: 1 }]);
    assert_eq!(ports.wr(L::DeviceStatus, 0).as_slice(), [Effect::Stop]);
    ports.wr(L::QueueSelect, 0);
    assert_eq!(ports.rd(L::QueueAddress), 0);
}

#[test]
fn device_configuration_moves_with_msix_enable() {
    let mut ports = Ports::block();
    let capacity = ports.read(20, 4);
    assert_eq!(capacity, 0x3344_5566);
    assert_eq!(ports.read(24, 4), 0x1122);
    ports.set_msix(true);
    assert_eq!(ports.rd(L::ConfigMsixVector), u64::from(NO_VECTOR));
    assert_eq!(ports.read(24, 4), capacity);
    ports.wr(L::ConfigMsixVector, 2);
    assert_eq!(ports.rd(L::ConfigMsixVector), 2);
    ports.wr(L::QueueMsixVector, 3);
    assert_eq!(
        ports.rd(L::QueueMsixVector),
        u64::from(NO_VECTOR),
        "there are 3"
    );
    ports.set_msix(false);
    assert_eq!(ports.read(20, 4), capacity, "and moves back");
    assert_eq!(ports.read(20, 1), capacity & 0xff, "by any width");
    assert_eq!(
        ports.read(18, 4) >> 16,
        capacity & 0xffff,
        "also from the header on"
    );
}

#[test]
fn interrupts_take_the_vector_or_the_line() {
    let mut ports = Ports::block();
    ports.set_msix(true);
    ports.wr(L::QueueMsixVector, 1);
    ports.bring_up();
    ports.wr(L::QueueMsixVector, 1);
    let message = Effect::Message(Message {
        kind: IrqKind::Msix,
        entry: 1,
        cause: Cause::Queue(0),
    });
    assert_eq!(ports.step(&Input::Used { queue: 0 }).as_slice(), [message]);
    let mut ports = Ports::block();
    ports.bring_up();
    let up = ports.step(&Input::Used { queue: 0 });
    assert_eq!(up.as_slice(), [Effect::Pin(true)]);
    let down = ports.at(Space::Bar0, L::DeviceStatus.offset(), 2, None);
    assert_eq!(down.as_slice(), [Effect::Value(0x0107), Effect::Pin(false)]);
}

#[test]
fn a_legacy_driver_may_write_the_address_of_a_network_device() {
    let mut ports = Ports::new("kind = 'net'\nvirtio = 'legacy'");
    let effects = ports.at(Space::Bar0, 23, 1, Some(0x77));
    let write = Effect::ConfigWrite {
        offset: 3,
        bytes: vec![0x77],
    };
    assert_eq!(effects.as_slice(), [write]);
    assert_eq!(ports.read(23, 1), 0x77);
    assert!(ports.at(Space::Bar0, 26, 2, Some(0)).is_empty(), "status");
    ports.wr(L::DeviceStatus, 0);
    assert_ne!(ports.read(23, 1), 0x77, "a reset forgets it");
}

#[test]
fn both_interfaces_lead_to_the_same_device() {
    let mut ports = Ports::block();
    let common = |r: CommonCfg| (Space::Bar4, r.offset(), r.width());
    let (space, off, width) = common(CommonCfg::DeviceStatus);
    ports.wr(L::DeviceStatus, 3);
    assert_eq!(value(&ports.at(space, off, width, None)), 3);
    let word = |n| (CommonCfg::DriverFeatureSelect, n);
    for (register, val) in [word(1), (CommonCfg::DriverFeature, 1)] {
        let (space, off, width) = common(register);
        ports.at(space, off, width, Some(val));
    }
    ports.at(space, off, width, Some(0xb));
    assert_eq!(ports.rd(L::DeviceStatus), 0xb);
    let effects = ports.at(space, off, width, Some(0xf));
    assert_eq!(started(&effects).unwrap().features, 1 << 32);
    assert!(Status(0xf).is_live());
}

#[test]
fn a_legacy_device_has_no_capabilities_of_virtio() {
    let mut ports = Ports::new("kind = 'block'\nvirtio = 'legacy'");
    let mut at = ports.config(PciHeader::CapabilitiesPointer.offset(), 1, None);
    while at != 0 {
        assert_ne!(ports.config(at, 1, None), u64::from(cap_id::VENDOR));
        at = ports.config(at + 1, 1, None);
    }
    assert_eq!(ports.config(PciHeader::Bar4.offset(), 4, Some(!0)), 0);
    assert_eq!(ports.config(PciHeader::Bar4.offset(), 4, None), 0);
}
