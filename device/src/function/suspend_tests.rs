//! What VIRTIO_F_SUSPEND does to a function (virtio 1.4, 3.4).

use super::queue_tests::live;
use super::tests::{Bench, message};
use super::*;
use crate::spec::{CommonCfg, PciHeader, SUSPEND, Status, command};
use crate::trace::Cause;

const RUNS: u64 = 0xf;
const SLEEPS: u64 = 0x1b;
const GOES_ON: [Effect; 3] = [
    Effect::Resume,
    Effect::Kick { queue: 0 },
    Effect::Kick { queue: 1 },
];

fn status(bench: &mut Bench) -> u64 {
    bench.rd(CommonCfg::DeviceStatus)
}

fn suspend(bench: &mut Bench) -> Effects {
    bench.wr(CommonCfg::DeviceStatus, RUNS | u64::from(Status::SUSPEND))
}

fn resume(bench: &mut Bench) -> Effects {
    bench.wr(CommonCfg::DeviceStatus, SLEEPS | RUNS)
}

#[test]
fn a_suspended_device_shows_no_driver_ok_and_serves_nothing_until_driver_ok_is_written() {
    let mut bench = live(1 << SUSPEND);
    assert_eq!(suspend(&mut bench).as_slice(), [Effect::Suspend]);
    assert_eq!(status(&mut bench), SLEEPS);
    let notified = bench.access(Op::Write, Space::Bar0, BarLayout::NOTIFY, 2, Some(0));
    assert!(notified.is_empty(), "{notified:?}");
    assert!(suspend_again(&mut bench).is_empty(), "once is enough");
    assert_eq!(resume(&mut bench).as_slice(), GOES_ON);
    assert_eq!(status(&mut bench), RUNS);
    assert_eq!(suspend(&mut bench).as_slice(), [Effect::Suspend]);
}

/// SUSPEND once more, without DRIVER_OK: also without the bit it stays.
fn suspend_again(bench: &mut Bench) -> Effects {
    let mut effects = bench.wr(CommonCfg::DeviceStatus, SLEEPS);
    effects.extend(bench.wr(CommonCfg::DeviceStatus, 0xb));
    assert_eq!(status(bench), SLEEPS);
    effects
}

#[test]
fn suspend_is_ignored_unless_it_was_agreed_on_and_the_device_is_live() {
    let mut bench = live(0);
    assert!(suspend(&mut bench).is_empty());
    assert_eq!(status(&mut bench), RUNS);
    let mut bench = live(1 << SUSPEND);
    bench.wr(CommonCfg::DeviceStatus, 0);
    for early in [3_u64, 0x13, 0x1b] {
        bench.wr(CommonCfg::DeviceStatus, early);
        assert_eq!(status(&mut bench) & 0x10, 0, "{early:#x}");
    }
}

#[test]
fn a_device_goes_on_only_when_neither_the_bus_nor_the_driver_holds_it() {
    let mut bench = live(1 << SUSPEND);
    let at = PciHeader::Command.offset();
    let on = u64::from(command::MEMORY | command::BUS_MASTER);
    let told = |effects: Effects| -> Vec<Effect> {
        let keep = |e: &Effect| !matches!(e, Effect::Control { .. });
        effects.into_iter().filter(keep).collect()
    };
    assert_eq!(suspend(&mut bench).as_slice(), [Effect::Suspend]);
    assert_eq!(told(bench.config_write(at, 2, command::MEMORY.into())), []);
    assert_eq!(resume(&mut bench).as_slice(), []);
    assert_eq!(told(bench.config_write(at, 2, on)), GOES_ON);
    bench.config_write(at, 2, command::MEMORY.into());
    assert_eq!(suspend(&mut bench).as_slice(), []);
    assert_eq!(told(bench.config_write(at, 2, on)), []);
    assert_eq!(resume(&mut bench).as_slice(), GOES_ON);
}

#[test]
fn what_happens_while_suspended_is_told_once_after_the_resume() {
    let mut bench = live(1 << SUSPEND);
    bench.wr(CommonCfg::ConfigMsixVector, 0);
    let generation = bench.rd(CommonCfg::ConfigGeneration);
    suspend(&mut bench);
    for _ in 0..2 {
        let change = Input::Config {
            offset: 0,
            bytes: vec![9],
        };
        assert!(bench.step(&change).is_empty());
        assert!(bench.step(&Input::Used { queue: 1 }).is_empty());
    }
    assert_eq!(bench.rd(CommonCfg::ConfigGeneration), generation);
    let effects = resume(&mut bench);
    let messages: Vec<_> = effects
        .iter()
        .filter(|e| matches!(e, Effect::Message(_)))
        .cloned()
        .collect();
    assert_eq!(
        messages,
        [message(0, Cause::Config), message(2, Cause::Queue(1))]
    );
    assert_ne!(bench.rd(CommonCfg::ConfigGeneration), generation);
}

#[test]
fn while_suspended_a_driver_changes_no_queue_and_a_reset_ends_it_all() {
    let mut bench = live(1 << SUSPEND);
    suspend(&mut bench);
    bench.step(&Input::Used { queue: 0 });
    bench.wr(CommonCfg::QueueSelect, 1);
    bench.wr(CommonCfg::QueueMsixVector, 0);
    assert_eq!(bench.rd(CommonCfg::QueueMsixVector), 2);
    assert!(bench.wr(CommonCfg::DeviceStatus, 0).contains(&Effect::Stop));
    assert_eq!(status(&mut bench), 0);
    bench.wr(CommonCfg::QueueMsixVector, 0);
    assert_eq!(bench.rd(CommonCfg::QueueMsixVector), 0);
    assert!(bench.step(&Input::Used { queue: 0 }).is_empty());
}

#[test]
fn the_legacy_register_neither_suspends_a_device_nor_lets_one_go_on() {
    let runs = Status(0x7);
    assert_eq!(runs.legacy_written(0x17), runs);
    let sleeps = Status(Status::SUSPEND | Status::NEEDS_RESET | 3);
    assert_eq!(sleeps.legacy_written(0x7), sleeps);
}
