//! What a driver finds of each way to present a function.

use super::any_tests::any_shape;
use super::*;
use crate::spec::{
    CONFIG_BYTES, CommonCfg, MsiCap, PciHeader, RESERVED_BAR, RESERVED_CFG_TYPE, Status,
    VENDOR_DATA_ID, VirtioCap, VirtioCapField, cap_id, command, msi_control,
};
use proptest::prelude::*;

/// A function of the shape that a file says, with memory decoding and bus mastering on.
fn function(text: &str) -> Function {
    let text = if text.contains("kind") {
        text.to_owned()
    } else {
        format!("kind = \"block\"\n{text}")
    };
    let shape: Shape = toml::from_str(&text).unwrap();
    assert_eq!(shape.check(), Ok(()), "{text}");
    let mut function = Function::new(&shape, 1 << 32, vec![7; 0x3c]);
    let enabled = u64::from(command::MEMORY | command::BUS_MASTER);
    access(
        &mut function,
        Space::Config,
        PciHeader::Command.offset(),
        2,
        Some(enabled),
    );
    function
}

fn access(
    function: &mut Function,
    space: Space,
    off: u64,
    width: u8,
    val: Option<u64>,
) -> Option<u64> {
    let op = if val.is_some() { Op::Write } else { Op::Read };
    let access = function.name(op, space, off, width, val);
    let effects = function.step(0, &Input::Access(access));
    effects.iter().find_map(|effect| match effect {
        Effect::Value(value) => Some(*value),
        _ => None,
    })
}

fn config(function: &mut Function, off: u64, width: u8) -> u64 {
    access(function, Space::Config, off, width, None).unwrap()
}

/// Offset and id of every capability, in order.
fn capabilities(function: &mut Function) -> Vec<(u64, u8)> {
    let mut list = Vec::new();
    let mut at = config(function, PciHeader::CapabilitiesPointer.offset(), 1);
    while at != 0 {
        assert!(list.len() < 48, "the list has an end");
        list.push((at, config(function, at, 1) as u8));
        at = config(function, at + 1, 1);
    }
    list
}

/// `cfg_type`, `bar`, `offset`, `length` and the place of every virtio capability.
fn structures(function: &mut Function) -> Vec<(u8, u8, u64, u64, u64)> {
    let vendor = capabilities(function)
        .into_iter()
        .filter(|(_, id)| *id == cap_id::VENDOR);
    let read = |function: &mut Function, at: u64, field: VirtioCapField| {
        config(function, at + field.offset(), field.width())
    };
    vendor
        .map(|(at, _)| {
            (
                read(function, at, VirtioCapField::CfgType) as u8,
                read(function, at, VirtioCapField::CapBar) as u8,
                read(function, at, VirtioCapField::CapOffset),
                read(function, at, VirtioCapField::CapLength),
                at,
            )
        })
        .collect()
}

#[test]
fn the_first_structure_of_each_type_works_whatever_is_odd_about_the_capabilities() {
    for caps in [
        "normal",
        "dup",
        "reserved-type",
        "reserved-bar",
        "huge",
        "long",
        "bar4-64",
        "shared-memory",
    ] {
        let mut function = function(&format!("queues = 2\ncaps = \"{caps}\""));
        let found = structures(&mut function);
        for kind in [
            VirtioCap::Common,
            VirtioCap::Notify,
            VirtioCap::Isr,
            VirtioCap::Device,
        ] {
            let usable = found
                .iter()
                .find(|(t, bar, ..)| *t == kind as u8 && *bar < 6);
            let (_, bar, offset, length, _) = *usable.unwrap_or_else(|| panic!("{caps}: {kind:?}"));
            let space = Space::bar(bar).unwrap();
            let name = function.name(Op::Read, space, offset, 1, None).field;
            assert!(
                name.is_some() && length > 0,
                "{caps}: {kind:?} at {offset:#x}"
            );
        }
        let (_, bar, offset, ..) = *found
            .iter()
            .find(|(t, bar, ..)| *t == 1 && *bar < 6)
            .unwrap();
        let at = offset + CommonCfg::NumQueues.offset();
        let queues = access(&mut function, Space::bar(bar).unwrap(), at, 2, None);
        assert_eq!(queues, Some(2), "{caps}");
    }
}

#[test]
fn decoys_come_before_the_structures_and_the_second_instances_behind_them() {
    let kinds = |caps: &str| -> Vec<(u8, u8)> {
        let mut function = function(&format!("caps = {caps}"));
        structures(&mut function)
            .iter()
            .map(|(t, bar, ..)| (*t, *bar))
            .collect()
    };
    assert_eq!(
        kinds("[\"reserved-type\", \"reserved-bar\"]"),
        [
            (RESERVED_CFG_TYPE, 0),
            (1, RESERVED_BAR),
            (1, 0),
            (3, 0),
            (4, 0),
            (2, 0),
            (5, 0)
        ]
    );
    assert_eq!(
        kinds("\"dup\""),
        [
            (1, 0),
            (3, 0),
            (4, 0),
            (2, 0),
            (1, 1),
            (3, 1),
            (2, 1),
            (5, 0)
        ]
    );
    assert_eq!(kinds("\"none\""), []);
}

#[test]
fn the_second_instance_shows_the_same_device() {
    let mut function = function("caps = \"dup\"");
    let status = CommonCfg::DeviceStatus.offset();
    access(
        &mut function,
        Space::Bar1,
        status,
        1,
        Some(Status::ACKNOWLEDGE.into()),
    );
    assert_eq!(
        access(&mut function, Space::Bar0, status, 1, None),
        Some(Status::ACKNOWLEDGE.into())
    );
}

#[test]
fn a_wide_bar_is_placed_by_both_its_registers() {
    let mut function = function("caps = \"bar4-64\"");
    let (low, high) = (PciHeader::Bar4.offset(), PciHeader::Bar5.offset());
    assert_eq!(config(&mut function, low, 4) & 0xf, 0b1100);
    for at in [low, high] {
        access(&mut function, Space::Config, at, 4, Some(0xffff_ffff));
    }
    assert_eq!(config(&mut function, high, 4), 0xffff_ffff);
    assert_eq!(config(&mut function, low, 4), 0xffff_c00c);
    assert_eq!(config(&mut function, PciHeader::Bar0.offset(), 4), 0);
}

#[test]
fn queues_differ_in_size_and_in_where_they_are_notified() {
    let mut function = function("queues = 3\nqueue-size = [1, 32768, 4]\nnotify-off = \"reverse\"");
    let mut shown = Vec::new();
    for q in 0..3 {
        access(
            &mut function,
            Space::Bar0,
            CommonCfg::QueueSelect.offset(),
            2,
            Some(q),
        );
        let mut read =
            |r: CommonCfg| access(&mut function, Space::Bar0, r.offset(), 2, None).unwrap();
        shown.push((read(CommonCfg::QueueSize), read(CommonCfg::QueueNotifyOff)));
    }
    assert_eq!(shown, [(1, 2), (32768, 1), (4, 0)]);
}

#[test]
fn a_strict_device_ignores_what_comes_before_its_time() {
    let early = |text: &str| {
        let mut function = function(text);
        let mut write = |r: CommonCfg, val: u64| {
            access(&mut function, Space::Bar0, r.offset(), r.width(), Some(val));
            access(&mut function, Space::Bar0, r.offset(), r.width(), None).unwrap()
        };
        let before = (
            write(CommonCfg::DriverFeature, 1),
            write(CommonCfg::QueueDescLo, 0x1000),
        );
        write(CommonCfg::DeviceStatus, 3);
        write(CommonCfg::DriverFeatureSelect, 1);
        write(CommonCfg::DriverFeature, 1);
        write(CommonCfg::DeviceStatus, 11);
        (before, write(CommonCfg::QueueDescLo, 0x1000))
    };
    assert_eq!(early("strict = true"), ((0, 0), 0x1000));
    assert_eq!(early("strict = false"), ((1, 0x1000), 0x1000));
}

#[test]
fn the_board_the_revision_and_the_vendor_data_are_as_the_file_says() {
    let mut function = function(
        "revision = 255\nsubsystem = { vendor = 0x108e, id = 7 }\nvendor-cap = 0x1234\ndevcfg-len = 512",
    );
    let mut read = |r: PciHeader| config(&mut function, r.offset(), r.width());
    assert_eq!(
        (
            read(PciHeader::RevisionId),
            read(PciHeader::SubsystemVendorId),
            read(PciHeader::SubsystemId)
        ),
        (255, 0x108e, 7)
    );
    let found = structures(&mut function);
    let (.., at) = *found
        .iter()
        .find(|(t, ..)| *t == VirtioCap::Vendor as u8)
        .unwrap();
    assert_eq!(config(&mut function, at + VENDOR_DATA_ID, 2), 0x1234);
    assert!(
        found
            .iter()
            .any(|(t, _, _, length, _)| *t == 4 && *length == 512)
    );
    assert_eq!(
        access(&mut function, Space::Bar0, BarLayout::DEVICE + 511, 1, None),
        Some(0)
    );
}

#[test]
fn each_form_of_the_msi_capability_has_its_registers_where_pci_puts_them() {
    for (wide, masking, data, mask) in [
        (false, false, 8, None),
        (true, false, 0xc, None),
        (false, true, 8, Some(0xc)),
        (true, true, 0xc, Some(0x10)),
    ] {
        let mut function = function(&format!(
            "kind = \"port-card\"\nmsi = 4\nmsi-64 = {wide}\nmsi-masking = {masking}"
        ));
        let (at, _) = *capabilities(&mut function)
            .iter()
            .find(|(_, id)| *id == cap_id::MSI)
            .unwrap();
        let control = config(&mut function, at + MsiCap::Control.offset(), 2) as u16;
        assert_eq!(control & msi_control::ADDRESS_64 != 0, wide);
        assert_eq!(control & msi_control::MASKABLE != 0, masking);
        access(&mut function, Space::Config, at + 4, 4, Some(0xfee0_0000));
        access(&mut function, Space::Config, at + data, 2, Some(0x41));
        assert_eq!(config(&mut function, at + data, 2), 0x41);
        if let Some(mask) = mask {
            access(
                &mut function,
                Space::Config,
                at + mask,
                4,
                Some(0xffff_ffff),
            );
            assert_eq!(
                config(&mut function, at + mask, 4),
                0xf,
                "one bit for each message"
            );
        }
    }
}

proptest! {
    #[test]
    fn capabilities_are_a_list_that_fits_into_configuration_space(shape in any_shape()) {
        let mut function = Function::new(&shape, 1 << 32, vec![0; 0x3c]);
        let list = capabilities(&mut function);
        prop_assert!(list.iter().all(|(at, _)| *at >= PciHeader::SIZE && *at < CONFIG_BYTES && at % 4 == 0));
        for (kind, bar, offset, length, _) in structures(&mut function) {
            let known = (1..=4).contains(&kind) && bar < 6;
            prop_assert!(!known || offset + length <= function.layout.bar_size(bar.into()));
        }
    }
}
