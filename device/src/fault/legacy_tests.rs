//! Faults on the legacy interface: what names a register of the structures meets its counterpart.

use super::testing::{MS, Rig, check, shape_of};
use crate::endpoint::Endpoint;
use crate::spec::{Field, LegacyCfg as L, NO_VECTOR, PciHeader, command, msix_control};
use crate::trace::{Input, Legality, Op, Space};

/// A transitional disk with two queues, and its ports switched on.
fn ports(faults: &[&str]) -> Rig {
    let mut rig = Rig::block_with("queues = 2\nvirtio = 'transitional'", faults);
    let on = command::IO | command::MEMORY | command::BUS_MASTER;
    rig.write(Field::Pci(PciHeader::Command), on.into());
    rig
}

fn by_messages(faults: &[&str]) -> Rig {
    let mut rig = ports(faults);
    rig.write(Field::MsixControl, msix_control::ENABLE.into());
    rig
}

fn access(rig: &Rig, op: Op, register: L, val: Option<u64>) -> Input {
    let device = rig.injector.inner();
    let (off, width) = (register.offset(), register.width());
    Input::Access(device.name(op, Space::Bar0, off, width, val))
}

fn write(rig: &mut Rig, register: L, val: u64) -> super::Outcome {
    let input = access(rig, Op::Write, register, Some(val));
    rig.input(input)
}

fn read(rig: &mut Rig, register: L) -> u64 {
    let input = access(rig, Op::Read, register, None);
    let outcome = rig.input(input);
    rig.shown_value(&outcome).unwrap()
}

#[test]
fn a_vector_is_refused_by_either_name_of_its_register() {
    for name in ["cc", "leg"] {
        let fault = format!("on = '{name}.queue_msix_vector.wr'\ndo = 'vector.reject'");
        let mut rig = by_messages(&[&fault]);
        write(&mut rig, L::QueueSelect, 1);
        let outcome = write(&mut rig, L::QueueMsixVector, 2);
        assert_eq!(outcome.fired[0].object, "q1");
        assert_eq!(read(&mut rig, L::QueueMsixVector), u64::from(NO_VECTOR));
        let queue = rig.injector.world().queues[1];
        assert_eq!((queue.asked, queue.vector), (Some(2), NO_VECTOR));
    }
}

#[test]
fn a_vector_is_lost_and_with_msix_off_nothing_is_written_in_its_place() {
    let clear = "on = 'host:now'\nnth = '1..'\ndo = 'vector.clear'\nargs = { all = true }";
    let mut rig = by_messages(&[clear]);
    write(&mut rig, L::ConfigMsixVector, 0);
    write(&mut rig, L::QueueMsixVector, 1);
    rig.host("now");
    assert_eq!(read(&mut rig, L::QueueMsixVector), u64::from(NO_VECTOR));
    assert_eq!(read(&mut rig, L::ConfigMsixVector), u64::from(NO_VECTOR));
    write(&mut rig, L::QueueMsixVector, 1);
    rig.write(Field::MsixControl, 0);
    let outcome = rig.host("now");
    assert!(outcome.heard.is_none_or(|heard| {
        heard
            .iter()
            .all(|input| !matches!(input, Input::Access(a) if a.off >= L::header_bytes(false)))
    }));
}

#[test]
fn the_old_status_is_shown_while_a_reset_takes_its_time() {
    let mut rig = ports(&["on = 'reset.begin'\ndo = 'reset.slow'\nargs = { t = '5ms' }"]);
    write(&mut rig, L::DeviceStatus, 3);
    write(&mut rig, L::DeviceStatus, 0);
    assert_eq!(read(&mut rig, L::DeviceStatus), 3);
    rig.now += 6 * MS;
    assert_eq!(read(&mut rig, L::DeviceStatus), 0);
}

#[test]
fn a_smaller_queue_is_a_lie_where_a_driver_has_no_choice() {
    let fault = "on = 'leg.queue_size.rd'\ndo = 'reg.override'\nargs = { field = 'leg.queue_size', val = 8 }";
    let mut rig = ports(&[fault]);
    write(&mut rig, L::DeviceStatus, 1);
    let input = access(&rig, Op::Read, L::QueueSize, None);
    let outcome = rig.input(input);
    assert_eq!(rig.shown_value(&outcome), Some(8));
    assert_eq!(outcome.fired[0].class, Legality::Illegal);
    assert_eq!(
        read(&mut rig, L::QueueSize),
        128,
        "the device knows nothing of it"
    );
}

#[test]
fn a_wide_read_is_changed_in_the_bytes_of_the_register_alone() {
    let fault = "on = 'isr.rd'\nnth = '1..'\ndo = 'isr.override'\nargs = { val = 0x82 }";
    let mut rig = ports(&[fault]);
    write(&mut rig, L::DeviceStatus, 3);
    assert_eq!(read(&mut rig, L::IsrStatus), 0x82);
    assert_eq!(read(&mut rig, L::DeviceStatus), 3);
}

#[test]
fn a_device_without_the_interface_has_no_such_trigger() {
    let shape = shape_of("queues = 2");
    let error = check("on = 'leg.queue_address.wr'\ndo = 'isr.stale'", &shape).unwrap_err();
    assert!(
        error.message.contains("no legacy interface"),
        "{}",
        error.message
    );
}
