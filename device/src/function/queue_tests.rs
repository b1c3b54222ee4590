//! What VIRTIO_F_RING_RESET and the features of notifications do to the registers.

use virtio_bindings::virtio_config as common;

use super::tests::{Bench, message};
use super::*;
use crate::shape::Kind;
use crate::spec::{CommonCfg, NO_VECTOR, command};
use crate::trace::Cause;

const VERSION_1: u128 = 1 << common::VIRTIO_F_VERSION_1;
const RING_RESET: u128 = 1 << common::VIRTIO_F_RING_RESET;
const NOTIF_CONFIG_DATA: u128 = 1 << common::VIRTIO_F_NOTIF_CONFIG_DATA;
const RING_PACKED: u128 = 1 << common::VIRTIO_F_RING_PACKED;

/// A live device with two queues that offers, and a driver that accepts, these features.
pub(super) fn live(features: u128) -> Bench {
    let mut bench = Bench::block(2, 3);
    let shape = Shape {
        queues: 2,
        ..Shape::new(Kind::Block)
    };
    bench.function = Function::new(&shape, VERSION_1 | features, Vec::new());
    let control = command::MEMORY | command::BUS_MASTER;
    bench.config_write(
        crate::spec::PciHeader::Command.offset(),
        2,
        u64::from(control),
    );
    bench.step(&Input::Irqs {
        kind: crate::trace::IrqKind::Msix,
        start: 0,
        count: 3,
        wired: true,
    });
    bench.enable_msix();
    bench.wr(CommonCfg::DeviceStatus, 3);
    bench.wr(CommonCfg::DriverFeatureSelect, 1);
    bench.wr(
        CommonCfg::DriverFeature,
        ((VERSION_1 | features) >> 32) as u64,
    );
    bench.wr(CommonCfg::DeviceStatus, 0xb);
    for q in 0..2 {
        set_up(&mut bench, q);
    }
    bench.wr(CommonCfg::DeviceStatus, 0xf);
    bench
}

fn set_up(bench: &mut Bench, q: u64) -> Effects {
    bench.wr(CommonCfg::QueueSelect, q);
    bench.wr(CommonCfg::QueueMsixVector, q + 1);
    bench.wr(CommonCfg::QueueDescLo, 0x1000 * (q + 1));
    bench.wr(CommonCfg::QueueEnable, 1)
}

#[test]
fn a_queue_that_is_reset_stops_and_runs_again_once_it_is_set_up_anew() {
    let mut bench = live(RING_RESET);
    bench.wr(CommonCfg::QueueSelect, 1);
    assert_eq!(
        bench.wr(CommonCfg::QueueReset, 1).as_slice(),
        [Effect::StopQueue { queue: 1 }]
    );
    for (register, value) in [
        (CommonCfg::QueueReset, 0),
        (CommonCfg::QueueEnable, 0),
        (CommonCfg::QueueMsixVector, NO_VECTOR.into()),
        (CommonCfg::QueueDescLo, 0),
    ] {
        assert_eq!(bench.rd(register), value, "{}", register.name());
    }
    assert!(bench.step(&Input::Used { queue: 1 }).is_empty());
    assert_eq!(
        bench.step(&Input::Used { queue: 0 }).as_slice(),
        [message(1, Cause::Queue(0))],
        "the other queue goes on"
    );
    bench.wr(CommonCfg::QueueSize, 16);
    let effects = set_up(&mut bench, 1);
    let Some(Effect::StartQueue(setup)) = effects.first() else {
        panic!("{effects:?}")
    };
    assert_eq!(
        (setup.index, setup.size, setup.desc, setup.vector),
        (1, 16, 0x2000, 2)
    );
    assert!(effects.contains(&Effect::Kick { queue: 1 }));
    assert!(set_up(&mut bench, 1).is_empty(), "it runs already");
}

#[test]
fn a_message_of_a_queue_that_pends_at_its_reset_is_not_sent_after_it() {
    let mut bench = live(RING_RESET);
    for wired in [false, true] {
        if wired {
            bench.wr(CommonCfg::QueueSelect, 1);
            bench.wr(CommonCfg::QueueReset, 1);
        }
        let effects = bench.step(&Input::Irqs {
            kind: crate::trace::IrqKind::Msix,
            start: 0,
            count: 3,
            wired,
        });
        if wired {
            assert_eq!(effects.as_slice(), [message(1, Cause::Queue(0))]);
        } else {
            bench.step(&Input::Used { queue: 0 });
            bench.step(&Input::Used { queue: 1 });
        }
    }
}

#[test]
fn queue_reset_does_nothing_unless_it_was_agreed_on() {
    let mut bench = live(0);
    assert!(bench.wr(CommonCfg::QueueReset, 1).is_empty());
    assert_eq!(bench.rd(CommonCfg::QueueEnable), 1);
    let mut bench = live(RING_RESET);
    assert!(bench.wr(CommonCfg::QueueReset, 2).is_empty());
    bench.wr(CommonCfg::QueueSelect, 7);
    assert!(bench.wr(CommonCfg::QueueReset, 1).is_empty());
}

#[test]
fn queue_notif_config_data_is_there_once_agreed_on_and_is_not_the_index() {
    let mut bench = live(NOTIF_CONFIG_DATA);
    for q in 0..2 {
        bench.wr(CommonCfg::QueueSelect, q);
        assert_ne!(bench.rd(CommonCfg::QueueNotifConfigData), q);
    }
    bench.wr(CommonCfg::QueueSelect, 2);
    assert_eq!(bench.rd(CommonCfg::QueueNotifConfigData), 0);
    let mut bench = live(0);
    assert_eq!(bench.rd(CommonCfg::QueueNotifConfigData), 0);
}

#[test]
fn a_packed_queue_can_have_any_size_and_a_split_one_a_power_of_two() {
    for (features, held) in [(0, 128), (RING_RESET | RING_PACKED, 100)] {
        let mut bench = live(features);
        bench.wr(CommonCfg::QueueReset, 1);
        bench.wr(CommonCfg::QueueSize, 100);
        bench.wr(CommonCfg::QueueSize, 0);
        bench.wr(CommonCfg::QueueSize, 129);
        assert_eq!(bench.rd(CommonCfg::QueueSize), held);
    }
}
