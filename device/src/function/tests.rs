//! The function as a driver meets it.

use super::*;
use crate::shape::Kind;
use crate::spec::{
    CommonCfg, NO_VECTOR, PciHeader, Status, command, isr, msi_control, msix_control,
};
use crate::trace::{Cause, IrqKind, Message};

const FEATURES: u128 = 1 << 32 | 1 << 29 | 1 << 9;

/// A driver's hands on a function.
pub(super) struct Bench {
    pub(super) function: Function,
}

impl Bench {
    pub(super) fn block(queues: u16, msix: u16) -> Self {
        let shape = Shape {
            queues,
            msix: Some(msix),
            ..Shape::new(Kind::Block)
        };
        let mut bench = Self {
            function: Function::new(&shape, FEATURES, vec![0; 0x3c]),
        };
        bench.config_write(
            PciHeader::Command.offset(),
            2,
            u64::from(command::MEMORY | command::BUS_MASTER),
        );
        bench.step(&Input::Irqs {
            kind: IrqKind::Msix,
            start: 0,
            count: msix,
            wired: true,
        });
        bench
    }

    fn ports(ports: u16, msi: u16) -> Self {
        let shape = Shape {
            ports,
            msi,
            ..Shape::new(Kind::PortCard)
        };
        let mut bench = Self {
            function: Function::new(&shape, 0, Vec::new()),
        };
        bench.config_write(
            PciHeader::Command.offset(),
            2,
            u64::from(command::MEMORY | command::BUS_MASTER),
        );
        bench.step(&Input::Irqs {
            kind: IrqKind::Msi,
            start: 0,
            count: msi,
            wired: true,
        });
        bench
    }

    pub(super) fn step(&mut self, input: &Input) -> Effects {
        self.function.step(0, input)
    }

    pub(super) fn access(
        &mut self,
        op: Op,
        space: Space,
        off: u64,
        width: u8,
        val: Option<u64>,
    ) -> Effects {
        let access = self.function.name(op, space, off, width, val);
        self.step(&Input::Access(access))
    }

    pub(super) fn config_write(&mut self, off: u64, width: u8, val: u64) -> Effects {
        self.access(Op::Write, Space::Config, off, width, Some(val))
    }

    fn read(&mut self, space: Space, off: u64, width: u8) -> u64 {
        match self.access(Op::Read, space, off, width, None).first() {
            Some(Effect::Value(v)) => *v,
            other => panic!("a read was answered with {other:?}"),
        }
    }

    pub(super) fn wr(&mut self, r: CommonCfg, val: u64) -> Effects {
        self.access(
            Op::Write,
            Space::Bar0,
            BarLayout::COMMON + r.offset(),
            r.width(),
            Some(val),
        )
    }

    pub(super) fn rd(&mut self, r: CommonCfg) -> u64 {
        self.read(Space::Bar0, BarLayout::COMMON + r.offset(), r.width())
    }

    /// The offset of a capability in configuration space.
    fn capability(&mut self, id: u8, nth: usize) -> Option<u64> {
        let mut at = self.read(Space::Config, PciHeader::CapabilitiesPointer.offset(), 1);
        let mut found = 0;
        while at != 0 {
            if self.read(Space::Config, at, 1) == u64::from(id) {
                if found == nth {
                    return Some(at);
                }
                found += 1;
            }
            at = self.read(Space::Config, at + 1, 1);
        }
        None
    }

    pub(super) fn enable_msix(&mut self) -> Effects {
        let at = self.capability(crate::spec::cap_id::MSIX, 0).unwrap();
        self.config_write(at + 2, 2, msix_control::ENABLE.into())
    }

    /// Brings the device to DRIVER_OK with one queue, mapped to `vector`.
    fn bring_up(&mut self, vector: u16) -> Effects {
        self.wr(CommonCfg::DeviceStatus, 0);
        for status in [1, 3] {
            self.wr(CommonCfg::DeviceStatus, status);
        }
        self.wr(CommonCfg::DriverFeatureSelect, 1);
        self.wr(CommonCfg::DriverFeature, 1);
        self.wr(CommonCfg::DeviceStatus, 0xb);
        self.wr(CommonCfg::QueueSelect, 0);
        self.wr(CommonCfg::QueueMsixVector, vector.into());
        self.wr(CommonCfg::QueueDescLo, 0x1000);
        self.wr(CommonCfg::QueueDriverLo, 0x2000);
        self.wr(CommonCfg::QueueDeviceLo, 0x3000);
        self.wr(CommonCfg::QueueEnable, 1);
        self.wr(CommonCfg::DeviceStatus, 0xf)
    }
}

pub(super) fn message(entry: u16, cause: Cause) -> Effect {
    Effect::Message(Message {
        kind: IrqKind::Msix,
        entry,
        cause,
    })
}

#[test]
fn a_driver_that_follows_the_steps_starts_its_queue_and_gets_its_message() {
    let mut bench = Bench::block(2, 3);
    bench.enable_msix();
    let effects = bench.bring_up(1);
    let Some(Effect::Start(start)) = effects.first() else {
        panic!("{effects:?}")
    };
    assert_eq!(start.features, 1 << 32);
    assert_eq!(
        start
            .queues
            .iter()
            .map(|q| (q.index, q.vector, q.desc))
            .collect::<Vec<_>>(),
        [(0, 1, 0x1000)]
    );
    assert_eq!(
        bench.step(&Input::Used { queue: 0 }).as_slice(),
        [message(1, Cause::Queue(0))]
    );
}

#[test]
fn a_vector_beyond_the_table_reads_back_as_no_vector() {
    let mut bench = Bench::block(1, 2);
    for (written, held) in [
        (0, 0),
        (1, 1),
        (2, NO_VECTOR),
        (0x93, NO_VECTOR),
        (NO_VECTOR, NO_VECTOR),
    ] {
        bench.wr(CommonCfg::ConfigMsixVector, written.into());
        assert_eq!(
            bench.rd(CommonCfg::ConfigMsixVector),
            u64::from(held),
            "config {written:#x}"
        );
        bench.wr(CommonCfg::QueueMsixVector, written.into());
        assert_eq!(
            bench.rd(CommonCfg::QueueMsixVector),
            u64::from(held),
            "queue {written:#x}"
        );
    }
}

#[test]
fn a_reset_takes_everything_back_but_the_configuration() {
    let mut bench = Bench::block(1, 2);
    bench.enable_msix();
    bench.bring_up(1);
    let generation = bench.rd(CommonCfg::ConfigGeneration);
    assert_eq!(
        bench.wr(CommonCfg::DeviceStatus, 0).as_slice(),
        [Effect::Stop]
    );
    for r in CommonCfg::ALL {
        let expected = match r {
            CommonCfg::NumQueues => 1,
            CommonCfg::QueueSize => 128,
            CommonCfg::DeviceFeature => (FEATURES as u32).into(),
            CommonCfg::ConfigGeneration => generation,
            r => r.reset(),
        };
        assert_eq!(bench.rd(*r), expected, "{}", r.name());
    }
}

#[test]
fn features_that_were_not_offered_are_not_agreed_to() {
    let mut bench = Bench::block(1, 2);
    bench.wr(CommonCfg::DriverFeatureSelect, 0);
    bench.wr(CommonCfg::DriverFeature, 1 << 25);
    bench.wr(CommonCfg::DriverFeatureSelect, 1);
    bench.wr(CommonCfg::DriverFeature, 1);
    bench.wr(CommonCfg::DeviceStatus, 0xb);
    assert_eq!(bench.rd(CommonCfg::DeviceStatus), 0x3);
    assert!(
        bench.wr(CommonCfg::DeviceStatus, 0x7).is_empty(),
        "DRIVER_OK without FEATURES_OK starts nothing"
    );
}

#[test]
fn without_msix_the_line_is_up_until_the_isr_status_is_read() {
    let mut bench = Bench::block(1, 2);
    bench.bring_up(NO_VECTOR);
    assert_eq!(
        bench.step(&Input::Used { queue: 0 }).as_slice(),
        [Effect::Pin(true)]
    );
    assert!(
        bench
            .step(&Input::Config {
                offset: 0,
                bytes: vec![1]
            })
            .is_empty(),
        "the line is up already"
    );
    let effects = bench.access(Op::Read, Space::Bar0, BarLayout::ISR, 1, None);
    assert_eq!(
        effects.as_slice(),
        [
            Effect::Value(u64::from(isr::QUEUE | isr::CONFIG)),
            Effect::Pin(false)
        ]
    );
    assert_eq!(bench.read(Space::Bar0, BarLayout::ISR, 1), 0);
}

#[test]
fn the_interrupt_disable_bit_keeps_the_line_down_and_gives_it_back() {
    let mut bench = Bench::block(1, 0);
    bench.bring_up(NO_VECTOR);
    let on = u64::from(command::MEMORY | command::BUS_MASTER);
    bench.config_write(
        PciHeader::Command.offset(),
        2,
        on | u64::from(command::INTX_DISABLE),
    );
    assert!(bench.step(&Input::Used { queue: 0 }).is_empty());
    let status = bench.read(Space::Config, PciHeader::PciStatus.offset(), 2);
    assert_eq!(
        status & 8,
        8,
        "Interrupt Status does not depend on the disable bit"
    );
    let effects = bench.config_write(PciHeader::Command.offset(), 2, on);
    assert!(effects.contains(&Effect::Pin(true)), "{effects:?}");
}

#[test]
fn a_message_under_the_function_mask_pends_and_is_sent_when_it_is_lifted() {
    let mut bench = Bench::block(1, 2);
    bench.enable_msix();
    bench.bring_up(1);
    let at = bench.capability(crate::spec::cap_id::MSIX, 0).unwrap();
    bench.config_write(
        at + 2,
        2,
        (msix_control::ENABLE | msix_control::FUNCTION_MASK).into(),
    );
    let pended = bench.step(&Input::Used { queue: 0 });
    assert!(
        matches!(pended.as_slice(), [Effect::Pended(_)]),
        "{pended:?}"
    );
    assert_eq!(bench.read(Space::Bar2, BarLayout::PBA, 8), 0b10);
    let effects = bench.enable_msix();
    assert!(
        effects.contains(&message(1, Cause::Queue(0))),
        "{effects:?}"
    );
    assert_eq!(bench.read(Space::Bar2, BarLayout::PBA, 8), 0);
}

#[test]
fn message_control_is_taken_at_any_width_and_offset() {
    for (off, width, val) in [(2, 2, 0x8000), (0, 4, 0x8000_0000), (3, 1, 0x80)] {
        let mut bench = Bench::block(1, 2);
        let at = bench.capability(crate::spec::cap_id::MSIX, 0).unwrap();
        let effects = bench.config_write(at + off, width, val);
        assert!(
            effects.iter().any(
                |e| matches!(e, Effect::Control { msix, .. } if msix & msix_control::ENABLE != 0)
            ),
            "{width} bytes at +{off}: {effects:?}"
        );
    }
}

#[test]
fn needs_reset_stays_until_the_reset() {
    let mut bench = Bench::block(1, 2);
    bench.enable_msix();
    bench.wr(CommonCfg::ConfigMsixVector, 0);
    bench.bring_up(1);
    bench.wr(CommonCfg::ConfigMsixVector, 0);
    assert_eq!(
        bench.step(&Input::Broken).as_slice(),
        [message(0, Cause::Config)]
    );
    bench.wr(CommonCfg::DeviceStatus, 0xf);
    assert_eq!(bench.rd(CommonCfg::DeviceStatus), 0x4f);
    bench.wr(CommonCfg::DeviceStatus, 0);
    assert_eq!(bench.rd(CommonCfg::DeviceStatus), 0);
}

#[test]
fn the_configuration_access_window_reaches_the_same_registers() {
    let mut bench = Bench::block(1, 2);
    let window = bench.capability(crate::spec::cap_id::VENDOR, 4).unwrap();
    bench.config_write(window + 8, 4, CommonCfg::DeviceStatus.offset());
    bench.config_write(window + 12, 4, 1);
    let access = bench
        .function
        .name(Op::Write, Space::Config, window + 16, 4, Some(0xffff_ff01));
    assert_eq!(
        (access.field, access.width, access.val, access.window),
        (
            Some(Field::Common(CommonCfg::DeviceStatus)),
            1,
            Some(1),
            true
        )
    );
    bench.step(&Input::Access(access));
    assert_eq!(
        bench.rd(CommonCfg::DeviceStatus),
        u64::from(Status::ACKNOWLEDGE)
    );
    assert_eq!(
        bench.read(Space::Config, window + 16, 4),
        u64::from(Status::ACKNOWLEDGE)
    );
}

#[test]
fn a_function_level_reset_goes_back_to_power_on() {
    let mut bench = Bench::block(1, 2);
    bench.enable_msix();
    bench.bring_up(1);
    let express = bench.capability(crate::spec::cap_id::EXPRESS, 0).unwrap();
    let effects = bench.config_write(express + 8, 2, 0x8000);
    assert!(effects.contains(&Effect::Stop), "{effects:?}");
    assert!(
        effects.contains(&Effect::Control {
            command: 0,
            msix: 1,
            msi: 0
        }),
        "{effects:?}"
    );
    assert_eq!(bench.read(Space::Config, express + 8, 2), 0);
}

#[test]
fn nobody_answers_in_d3_or_without_memory_space() {
    let mut bench = Bench::block(1, 2);
    let power = bench
        .capability(crate::spec::cap_id::POWER_MANAGEMENT, 0)
        .unwrap();
    bench.config_write(power + 4, 2, 3);
    assert_eq!(bench.rd(CommonCfg::DeviceStatus), 0xff);
    bench.config_write(power + 4, 2, 0);
    assert_eq!(bench.rd(CommonCfg::DeviceStatus), 0);
    bench.config_write(PciHeader::Command.offset(), 2, 0);
    assert_eq!(bench.rd(CommonCfg::NumQueues), 0xffff);
}

#[test]
fn queues_are_not_run_without_bus_mastering_and_are_looked_at_when_it_comes() {
    let mut bench = Bench::block(1, 2);
    bench.config_write(PciHeader::Command.offset(), 2, command::MEMORY.into());
    let effects = bench.bring_up(NO_VECTOR);
    assert!(
        !effects.iter().any(|e| matches!(e, Effect::Kick { .. })),
        "{effects:?}"
    );
    let effects = bench.config_write(
        PciHeader::Command.offset(),
        2,
        u64::from(command::MEMORY | command::BUS_MASTER),
    );
    assert!(effects.contains(&Effect::Kick { queue: 0 }), "{effects:?}");
}

#[test]
fn the_backend_waits_while_bus_mastering_is_off_or_the_function_sleeps() {
    let mut bench = Bench::block(1, 2);
    bench.bring_up(NO_VECTOR);
    let power = bench
        .capability(crate::spec::cap_id::POWER_MANAGEMENT, 0)
        .unwrap();
    let on = u64::from(command::MEMORY | command::BUS_MASTER);
    let told = |effects: Effects| -> Vec<Effect> {
        let keep = |e: &Effect| !matches!(e, Effect::Control { .. });
        effects.into_iter().filter(keep).collect()
    };
    let goes_on = [Effect::Resume, Effect::Kick { queue: 0 }];
    let at = PciHeader::Command.offset();
    let off = told(bench.config_write(at, 2, command::MEMORY.into()));
    assert_eq!(off, [Effect::Suspend]);
    assert_eq!(
        told(bench.config_write(power + 4, 2, 3)),
        [],
        "once is enough"
    );
    assert_eq!(told(bench.config_write(at, 2, on)), [], "it sleeps still");
    assert_eq!(told(bench.config_write(power + 4, 2, 0)), goes_on);
    assert_eq!(told(bench.config_write(power + 4, 2, 3)), [Effect::Suspend]);
    assert_eq!(told(bench.config_write(power + 4, 2, 0)), goes_on);
    assert_eq!(told(bench.config_write(at, 2, on)), []);
}

#[test]
fn a_reset_ends_what_waits_for_bus_mastering() {
    let mut bench = Bench::block(1, 2);
    let on = u64::from(command::MEMORY | command::BUS_MASTER);
    let at = PciHeader::Command.offset();
    bench.bring_up(NO_VECTOR);
    bench.config_write(at, 2, command::MEMORY.into());
    assert!(bench.wr(CommonCfg::DeviceStatus, 0).contains(&Effect::Stop));
    let effects = bench.config_write(at, 2, on);
    assert!(!effects.contains(&Effect::Resume), "{effects:?}");
    // A backend that starts without bus mastering waits from the beginning.
    bench.config_write(at, 2, command::MEMORY.into());
    let effects = bench.bring_up(NO_VECTOR);
    assert!(
        matches!(effects.as_slice(), [Effect::Start(_), Effect::Suspend]),
        "{effects:?}"
    );
    let effects = bench.step(&Input::FunctionReset);
    assert!(effects.contains(&Effect::Stop), "{effects:?}");
}

#[test]
fn each_port_sends_its_own_message_and_shares_when_fewer_were_allocated() {
    let sent = |allocated_log2: u16| -> Vec<u16> {
        let mut bench = Bench::ports(4, 4);
        let msi = bench.capability(crate::spec::cap_id::MSI, 0).unwrap();
        bench.config_write(
            msi + 2,
            2,
            u64::from(msi_control::ENABLE | allocated_log2 << msi_control::ENABLED_SHIFT),
        );
        bench.access(Op::Write, Space::Bar0, 0x8, 4, Some(0xf));
        let effects = bench.access(Op::Write, Space::Bar0, 0x10, 4, Some(0xf));
        effects
            .iter()
            .filter_map(|e| match e {
                Effect::Message(m) => Some(m.entry),
                _ => None,
            })
            .collect()
    };
    assert_eq!(sent(2), [0, 1, 2, 3]);
    assert_eq!(sent(1), [0, 1, 0, 1]);
    assert_eq!(sent(0), [0, 0, 0, 0]);
    assert_eq!(
        sent(7),
        [0, 1, 2, 3],
        "more than it asked for is what it asked for"
    );
}

#[test]
fn a_masked_msi_message_pends_and_is_sent_when_it_is_unmasked() {
    let mut bench = Bench::ports(4, 4);
    let msi = bench.capability(crate::spec::cap_id::MSI, 0).unwrap();
    let all = msi_control::ENABLE | 2 << msi_control::ENABLED_SHIFT;
    bench.config_write(msi + 2, 2, all.into());
    bench.config_write(msi + 0x10, 4, 0b100);
    bench.access(Op::Write, Space::Bar0, 0x8, 4, Some(0xf));
    let message = Message {
        kind: IrqKind::Msi,
        entry: 2,
        cause: Cause::Port(2),
    };
    let rung = bench.access(Op::Write, Space::Bar0, 0x10, 4, Some(0b100));
    assert_eq!(rung.as_slice(), [Effect::Pended(message)]);
    assert_eq!(bench.read(Space::Config, msi + 0x14, 4), 0b100);
    let unmasked = bench.config_write(msi + 0x10, 4, 0);
    assert_eq!(unmasked.as_slice(), [Effect::Message(message)]);
    assert_eq!(bench.read(Space::Config, msi + 0x14, 4), 0);
}

#[test]
fn a_message_that_pends_at_a_reset_is_not_sent_after_it() {
    let mut bench = Bench::block(1, 2);
    bench.enable_msix();
    bench.bring_up(1);
    let at = bench.capability(crate::spec::cap_id::MSIX, 0).unwrap();
    let masked = msix_control::ENABLE | msix_control::FUNCTION_MASK;
    bench.config_write(at + 2, 2, masked.into());
    bench.step(&Input::Used { queue: 0 });
    bench.wr(CommonCfg::DeviceStatus, 0);
    let effects = bench.enable_msix();
    assert!(!effects.iter().any(|e| matches!(e, Effect::Message(_))));
}

#[test]
fn a_port_without_messages_holds_the_line_until_its_status_is_cleared() {
    let mut bench = Bench::ports(4, 0);
    bench.access(Op::Write, Space::Bar0, 0x8, 4, Some(0xf));
    assert_eq!(
        bench
            .access(Op::Write, Space::Bar0, 0x10, 4, Some(0x6))
            .as_slice(),
        [Effect::Pin(true)]
    );
    assert_eq!(bench.read(Space::Bar0, 0xc, 4), 0x6);
    assert!(
        bench
            .access(Op::Write, Space::Bar0, 0xc, 4, Some(0x2))
            .is_empty()
    );
    assert_eq!(
        bench
            .access(Op::Write, Space::Bar0, 0xc, 4, Some(0x4))
            .as_slice(),
        [Effect::Pin(false)]
    );
    assert_eq!(bench.read(Space::Bar0, 0x104, 4), 1);
}
