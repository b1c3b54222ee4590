//! What each kind shows of itself.

use super::*;
use crate::shape::Kind;
use crate::spec::{CommonCfg, PciHeader};

/// A function of a kind as it is when nothing else is said, with memory space on.
fn of_kind(kind: Kind) -> Function {
    let shape = Shape::new(kind);
    shape.check().unwrap();
    let config = crate::backend::Configuration::new(&shape, 8)
        .bytes()
        .to_vec();
    let mut function = Function::new(&shape, u128::MAX, config);
    write(
        &mut function,
        Space::Config,
        PciHeader::Command.offset(),
        2,
        6,
    );
    function
}

fn write(function: &mut Function, space: Space, off: u64, width: u8, val: u64) -> Effects {
    let access = function.name(Op::Write, space, off, width, Some(val));
    function.step(0, &Input::Access(access))
}

fn read(function: &mut Function, space: Space, off: u64, width: u8) -> u64 {
    let access = function.name(Op::Read, space, off, width, None);
    match function.step(0, &Input::Access(access)).as_slice() {
        [Effect::Value(value)] => *value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_kind_tells_its_device_id_its_class_and_its_queues() {
    let expected = [
        (Kind::Block, 0x1042, 0x0180, 1),
        (Kind::Net, 0x1041, 0x0200, 3),
        (Kind::Console, 0x1043, 0x0780, 2),
        (Kind::Rng, 0x1044, 0x00ff, 1),
        (Kind::Scsi, 0x1048, 0x0100, 3),
    ];
    for (kind, device, class, queues) in expected {
        let mut function = of_kind(kind);
        let mut header = |r: PciHeader| read(&mut function, Space::Config, r.offset(), 2);
        assert_eq!(header(PciHeader::VendorId), 0x1af4);
        assert_eq!(header(PciHeader::DeviceId), device);
        assert_eq!(header(PciHeader::SubsystemId), device);
        assert_eq!(header(PciHeader::ClassCode), class);
        let number = BarLayout::COMMON + CommonCfg::NumQueues.offset();
        assert_eq!(read(&mut function, Space::Bar0, number, 2), queues);
    }
}

#[test]
fn a_device_without_configuration_has_no_structure_for_it() {
    let access = |kind| of_kind(kind).name(Op::Read, Space::Bar0, BarLayout::DEVICE, 1, None);
    assert_eq!(access(Kind::Rng).field, None);
    assert_eq!(access(Kind::Net).field, Some(Field::Device(0)));
    let structures = |kind| {
        let mut function = of_kind(kind);
        let (mut at, mut found) = (0x34, 0);
        loop {
            at = read(&mut function, Space::Config, at, 1);
            if at == 0 {
                return found;
            }
            found += u32::from(read(&mut function, Space::Config, at, 1) == 9);
            at += 1;
        }
    };
    assert_eq!((structures(Kind::Rng), structures(Kind::Net)), (4, 5));
}

#[test]
fn what_a_driver_may_write_into_the_configuration_reaches_the_backend_and_a_reset_puts_it_back() {
    let mut function = of_kind(Kind::Scsi);
    let sense_size = BarLayout::DEVICE + 0x14;
    assert_eq!(read(&mut function, Space::Bar0, sense_size, 4), 96);
    let written = |offset, bytes: &[u8]| Effect::ConfigWrite {
        offset,
        bytes: bytes.to_vec(),
    };
    let effects = write(&mut function, Space::Bar0, sense_size, 4, 18);
    assert_eq!(effects.as_slice(), [written(0x14, &[18, 0, 0, 0])]);
    assert_eq!(read(&mut function, Space::Bar0, sense_size, 4), 18);
    // Across two fields, of which the first is read-only.
    let effects = write(&mut function, Space::Bar0, sense_size - 4, 8, 20 << 32 | 7);
    assert_eq!(effects.as_slice(), [written(0x14, &[20, 0, 0, 0])]);
    assert_eq!(read(&mut function, Space::Bar0, sense_size - 4, 4), 16);
    let status = BarLayout::COMMON + CommonCfg::DeviceStatus.offset();
    let effects = write(&mut function, Space::Bar0, status, 1, 0);
    assert_eq!(effects.as_slice(), [written(0x14, &[96, 0, 0, 0])]);
    assert_eq!(read(&mut function, Space::Bar0, sense_size, 4), 96);
}

#[test]
fn an_emergency_write_passes_and_is_not_kept() {
    let mut function = of_kind(Kind::Console);
    let at = BarLayout::DEVICE + 8;
    let effects = write(&mut function, Space::Bar0, at, 4, u64::from(b'!'));
    let bytes = vec![b'!', 0, 0, 0];
    assert_eq!(
        effects.as_slice(),
        [Effect::ConfigWrite { offset: 8, bytes }]
    );
    assert_eq!(read(&mut function, Space::Bar0, at, 4), 0);
    assert_eq!(
        write(&mut function, Space::Bar0, at - 8, 2, 1).as_slice(),
        []
    );
}
