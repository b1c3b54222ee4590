//! The injector as a whole: when faults fire, and what holds whatever the guest does.

use proptest::prelude::*;

use super::{Injector, MAX_FIRINGS, MAX_HEARD, MAX_SHOWN, Outcome};
use crate::endpoint::Endpoint;
use crate::fault::testing::{MS, Rig, cc, check, shape_of};
use crate::fault::{CATALOGUE, Fault, Needs};
use crate::function::Function;
use crate::function::any_tests::{Doing, any_doing, any_shape};
use crate::shape::{Kind, Shape};
use crate::spec::{CommonCfg, Field, PciHeader, PortCard, command};
use crate::trace::{
    Access, Cause, Device, Effect, Effects, Event, Hello, Host, Input, IrqKind, Message, Op, Part,
    Space, Step, What, World,
};

const FEATURES: u128 = 1 << 32;

fn fired(outcome: &Outcome) -> Vec<&str> {
    outcome.fired.iter().map(|f| f.id.as_str()).collect()
}

/// A rig whose fault does nothing that is seen, so that only its trigger matters.
fn waiting(on: &str) -> Rig {
    Rig::block(&[&format!("on = '{on}'\nnth = '1..'\ndo = 'isr.stale'")])
}

fn chain(queue: u16) -> Input {
    Input::Chain {
        queue,
        head: 0,
        request: String::new(),
    }
}

fn complete(queue: u16) -> Input {
    Input::Complete {
        queue,
        head: 0,
        len: 512,
    }
}

#[test]
fn status_triggers_fire_at_the_write_that_adds_the_bit() {
    let mut rig = waiting("status.+DRIVER");
    assert!(rig.write(cc(CommonCfg::DeviceStatus), 1).fired.is_empty());
    assert_eq!(rig.write(cc(CommonCfg::DeviceStatus), 3).fired.len(), 1);
    assert!(rig.write(cc(CommonCfg::DeviceStatus), 3).fired.is_empty());
    assert!(rig.write(cc(CommonCfg::DeviceStatus), 0xb).fired.is_empty());
}

#[test]
fn what_comes_after_sees_the_device_as_it_is_then() {
    let mut rig = Rig::block(&[
        "on = 'status.+DRIVER_OK!'\nwhere = 'live'\ndo = 'irq.spurious'\nargs = { src = 'cfg' }",
    ]);
    rig.bring_up();
    assert_eq!(rig.injector.world().fired["irq.spurious"], 1);
    let mut rig = Rig::block(&["on = 'status.+DRIVER_OK'\nwhere = 'live'\ndo = 'isr.stale'"]);
    rig.bring_up();
    assert!(rig.injector.world().fired.is_empty());
}

#[test]
fn a_read_can_be_waited_for_before_and_after_it() {
    let mut before = Rig::block(&["on = 'cc.device_status.rd'\ndo = 'needs_reset'"]);
    assert_eq!(before.read(cc(CommonCfg::DeviceStatus)), 0x40);
    let mut after =
        Rig::block(&["on = 'cc.device_status.rd!'\nwhere = 'val == 0'\ndo = 'needs_reset'"]);
    assert_eq!(after.read(cc(CommonCfg::DeviceStatus)), 0);
    assert_eq!(after.read(cc(CommonCfg::DeviceStatus)), 0x40);
}

#[test]
fn live_and_bus_mastering_are_transitions() {
    let mut rig = waiting("live");
    rig.bring_up();
    assert_eq!(rig.injector.world().fired["isr.stale"], 1);
    rig.input(Input::Broken);
    rig.bring_up_after_reset();
    assert_eq!(rig.injector.world().fired["isr.stale"], 2);

    let mut rig = waiting("bme.0");
    let cmd = Field::Pci(PciHeader::Command);
    assert!(rig.write(cmd, command::BUS_MASTER.into()).fired.is_empty());
    assert_eq!(rig.write(cmd, 0).fired.len(), 1);
    assert!(rig.write(cmd, 0).fired.is_empty());
}

#[test]
fn resets_of_both_kinds_begin_and_end() {
    for on in ["reset.begin", "reset.end"] {
        let mut rig = waiting(on);
        assert_eq!(
            rig.write(cc(CommonCfg::DeviceStatus), 0).fired.len(),
            1,
            "{on}"
        );
        assert_eq!(rig.input(Input::FunctionReset).fired.len(), 1, "{on}");
        assert_eq!(
            rig.write(Field::DeviceControl, 0x8000).fired.len(),
            1,
            "{on}"
        );
    }
    let mut rig = waiting("flr");
    assert!(rig.write(cc(CommonCfg::DeviceStatus), 0).fired.is_empty());
    assert_eq!(rig.write(Field::DeviceControl, 0x8000).fired.len(), 1);
    let epoch = rig.injector.world().epoch;
    assert_eq!(rig.input(Input::FunctionReset).fired.len(), 1);
    assert_eq!(rig.injector.world().epoch, epoch + 1);
}

#[test]
fn rings_and_interrupts_can_be_waited_for_by_their_queue() {
    let mut rig = waiting("chain[q1]");
    assert!(rig.input(chain(0)).fired.is_empty());
    assert_eq!(rig.input(chain(1)).fired.len(), 1);
    let mut rig = Rig::block(&[
        "on = 'complete[any]'\nwhere = 'q == 1 && val == 512 && inflight == 1'\ndo = 'isr.stale'",
    ]);
    rig.input(chain(1));
    assert!(rig.input(complete(0)).fired.is_empty());
    assert_eq!(rig.input(complete(1)).fired.len(), 1);
    for (on, expected) in [
        ("irq.due[q1]", 1),
        ("irq.sent[q1]", 1),
        ("irq.due[e2]", 1),
        ("irq.due[any]", 2),
        ("irq.sent[any]", 2),
        ("irq.due[cfg]", 0),
    ] {
        let mut rig = waiting(on);
        rig.bring_up();
        let outcomes = [0, 1].map(|queue| rig.input(Input::Used { queue }).fired.len());
        assert_eq!(outcomes.iter().sum::<usize>(), expected, "{on}");
    }
}

#[test]
fn an_interrupt_that_is_lost_is_not_sent() {
    let mut rig = Rig::block(&[
        "on = 'irq.due[q0]'\ndo = 'irq.drop'",
        "on = 'irq.sent[q0]'\ndo = 'isr.stale'",
    ]);
    rig.bring_up();
    assert_eq!(fired(&rig.input(Input::Used { queue: 0 })), ["irq.drop"]);
    assert_eq!(fired(&rig.input(Input::Used { queue: 0 })), ["isr.stale"]);
}

#[test]
fn times_count_from_the_first_input() {
    let mut rig = Rig::block(&[
        "id = 'at'\non = 'at=2s'\ndo = 'isr.stale'",
        "id = 'every'\non = 'every=1500ms'\nnth = '1..'\ndo = 'isr.stale'",
    ]);
    let start = rig.now;
    assert_eq!(rig.injector.deadline(), Some(start + 1_500 * MS));
    assert_eq!(fired(&rig.at(start + 1_500 * MS, Input::Time)), ["every"]);
    assert_eq!(rig.injector.deadline(), Some(start + 2_000 * MS));
    assert_eq!(fired(&rig.at(start + 2_000 * MS, Input::Time)), ["at"]);
    assert_eq!(rig.injector.deadline(), Some(start + 3_000 * MS));
    assert_eq!(fired(&rig.at(start + 10_000 * MS, Input::Time)), ["every"]);
    assert_eq!(rig.injector.deadline(), Some(start + 11_500 * MS));
}

#[test]
fn faults_set_off_others_at_once_or_later() {
    let mut rig = Rig::block(&[
        "id = 'a'\non = 'host:go'\ndo = 'isr.stale'",
        "id = 'b'\non = 'fault:a'\ndo = 'isr.stale'",
        "id = 'c'\non = 'fault:b+10ms'\ndo = 'needs_reset'",
    ]);
    assert_eq!(fired(&rig.host("go")), ["a", "b"]);
    assert_eq!(rig.injector.deadline(), Some(rig.now + 10 * MS));
    let outcome = rig.at(rig.now + 10 * MS, Input::Time);
    assert_eq!(fired(&outcome), ["c"]);
    assert_eq!(outcome.heard, Some(vec![Input::Broken, Input::Time]));
}

#[test]
fn a_fault_can_end_the_lifetime_of_another() {
    let mut rig = Rig::block(&[
        "id = 'hang'\non = 'reset.begin'\ndo = 'reset.hang'\nuntil = 'fault:enough'",
        "id = 'enough'\non = 'host:enough'\ndo = 'isr.stale'",
    ]);
    rig.bring_up();
    rig.write(cc(CommonCfg::DeviceStatus), 0);
    rig.write(cc(CommonCfg::DeviceStatus), 0);
    assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0xf);
    rig.host("enough");
    assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0);
    rig.write(cc(CommonCfg::DeviceStatus), 0);
    assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0);
}

#[test]
fn the_count_restarts_with_the_next_driver() {
    let mut rig = Rig::block(&["on = 'cc.queue_enable.wr'\nper = 'instance'\ndo = 'isr.stale'"]);
    rig.bring_up_after_reset();
    rig.bring_up_after_reset();
    assert_eq!(rig.injector.world().fired["isr.stale"], 1);
    let cmd = Field::Pci(PciHeader::Command);
    rig.write(cmd, 0);
    rig.write(cmd, u64::from(command::MEMORY | command::BUS_MASTER));
    rig.bring_up_after_reset();
    assert_eq!(rig.injector.world().fired["isr.stale"], 2);
}

#[test]
fn a_torn_read_can_be_told_from_others() {
    let mut rig = Rig::block(&[
        "on = 'dev.4.rd'\nwhere = 'seen(dev.0.rd)'\nnth = '1..'\ndo = 'cfg.change'\nargs = { val = 0x100000000 }",
    ]);
    let read = |rig: &mut Rig, off: u64| {
        let start = (0..0x4000)
            .find(|o| {
                let field = rig
                    .injector
                    .inner()
                    .name(Op::Read, Space::Bar0, *o, 4, None)
                    .field;
                field == Some(Field::Device(0))
            })
            .unwrap();
        let access = rig
            .injector
            .inner()
            .name(Op::Read, Space::Bar0, start + off, 4, None);
        rig.input(Input::Access(access))
    };
    assert!(read(&mut rig, 4).fired.is_empty());
    assert!(read(&mut rig, 0).fired.is_empty());
    let outcome = read(&mut rig, 4);
    assert_eq!(outcome.fired.len(), 1);
    assert_eq!(rig.shown_value(&outcome), Some(1));
    rig.read(cc(CommonCfg::ConfigGeneration));
    assert!(read(&mut rig, 4).fired.is_empty());
}

#[test]
fn times_of_the_device_are_known_to_predicates() {
    let mut rig = Rig::block(&[
        "on = 'host:go'\nwhere = 'since_live_ms >= 5 && since_reset_ms == -1'\ndo = 'isr.stale'",
    ]);
    assert!(rig.host("go").fired.is_empty());
    rig.bring_up();
    assert!(rig.host("go").fired.is_empty());
    rig.now += 5 * MS;
    assert_eq!(rig.host("go").fired.len(), 1);
}

#[test]
fn a_port_card_loses_the_message_of_one_port_of_two() {
    let shape = shape_of("kind = 'port-card'\nports = 2\nmsix = 2");
    let mut rig = Rig::new(&shape, &["on = 'irq.due[port1]'\ndo = 'irq.drop'"]);
    rig.write(Field::MsixControl, 0x8000);
    rig.input(Input::Irqs {
        kind: IrqKind::Msix,
        start: 0,
        count: 2,
        wired: true,
    });
    rig.write(Field::Port(PortCard::IntEnable), 3);
    let outcome = rig.write(Field::Port(PortCard::Doorbell), 3);
    assert_eq!(outcome.fired[0].object, "port1");
    assert!(matches!(outcome.shown.as_slice(), [Effect::Message(m)] if m.cause == Cause::Port(0)));
}

#[test]
fn faults_that_feed_each_other_come_to_an_end() {
    let mut rig = Rig::block(&[
        "id = 'a'\non = 'fault:b'\nnth = '1..'\ndo = 'cfg.change'\nargs = { val = 1 }",
        "id = 'b'\non = 'irq.due[any]'\nnth = '1..'\ndo = 'cfg.change'\nargs = { val = 2 }",
        "id = 'c'\non = 'irq.sent[any]'\nnth = '1..'\ndo = 'irq.spurious'\nargs = { entry = 'all', n = 1000 }",
        "id = 'd'\non = 'fault:a'\nnth = '1..'\ndo = 'irq.spurious'\nargs = { src = 'q0', n = 4096 }",
    ]);
    rig.bring_up();
    let outcome = rig.input(Input::Used { queue: 0 });
    assert!(outcome.fired.len() <= MAX_FIRINGS);
    assert!(outcome.heard.unwrap().len() <= MAX_HEARD + 1);
    assert!(outcome.shown.len() <= MAX_SHOWN + 2 * MAX_HEARD);
}

/// A device that answers anything with anything.
#[derive(Clone, Debug)]
struct Scripted(Vec<Vec<Effect>>, usize);

impl Endpoint for Scripted {
    fn step(&mut self, _now: u64, _input: &Input) -> Effects {
        self.1 += 1;
        let next = self.0.get(self.1 % self.0.len().max(1));
        next.into_iter().flatten().cloned().collect()
    }

    fn name(&self, op: Op, space: Space, off: u64, width: u8, val: Option<u64>) -> Access {
        let named = Function::new(&Shape::new(Kind::Block), FEATURES, Vec::new());
        named.name(op, space, off, width, val)
    }
}

fn any_effect() -> impl Strategy<Value = Effect> {
    let kind = prop_oneof![Just(IrqKind::Msix), Just(IrqKind::Msi)];
    let cause = prop_oneof![
        any::<u16>().prop_map(Cause::Queue),
        Just(Cause::Config),
        any::<u8>().prop_map(Cause::Port),
        Just(Cause::None)
    ];
    prop_oneof![
        any::<u64>().prop_map(Effect::Value),
        (kind, any::<u16>(), cause).prop_map(|(kind, entry, cause)| Effect::Message(Message {
            kind,
            entry,
            cause
        })),
        any::<bool>().prop_map(Effect::Pin),
        any::<u16>().prop_map(|queue| Effect::Call { queue }),
        (any::<u16>(), any::<u16>(), any::<u16>())
            .prop_map(|(command, msix, msi)| Effect::Control { command, msix, msi }),
        Just(Effect::ConfigChanged),
        Just(Effect::Stop),
    ]
}

/// What can happen to a device: what a driver does, and what nobody would do.
#[derive(Clone, Debug)]
enum Happening {
    Write(Field, u64),
    Read(Field),
    Any(Doing),
}

impl Happening {
    fn input(self, rig: &Rig) -> Option<Input> {
        match self {
            Self::Write(field, val) => rig.access(Op::Write, field, Some(val)),
            Self::Read(field) => rig.access(Op::Read, field, None),
            Self::Any(doing) => Some(any_input(doing, rig.injector.inner())),
        }
    }
}

fn any_input(doing: Doing, device: &impl Endpoint) -> Input {
    match doing {
        Doing::Access(op, space, off, width, val) => {
            Input::Access(device.name(op, space, off, width, (op == Op::Write).then_some(val)))
        }
        Doing::Other(input) => input,
    }
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let queue = 0u16..4;
    let backend = prop_oneof![
        6 => queue.clone().prop_map(|queue| Input::Used { queue }),
        1 => queue.clone().prop_map(chain),
        1 => queue.prop_map(complete),
        1 => Just(Input::Host(Host { command: "go".into(), ..Host::default() })),
        1 => Just(Input::Time),
    ];
    let status = prop_oneof![1 => Just(0u64), 1 => Just(0xb), 6 => Just(0xf)];
    let write = prop_oneof![
        3 => status.prop_map(|v| (cc(CommonCfg::DeviceStatus), v)),
        2 => (0u64..4).prop_map(|v| (cc(CommonCfg::QueueMsixVector), v)),
        1 => (0u64..4).prop_map(|v| (cc(CommonCfg::ConfigMsixVector), v)),
        1 => (0u64..4).prop_map(|v| (cc(CommonCfg::QueueSelect), v)),
        1 => prop_oneof![Just(0x8000u64), Just(0), Just(0xc000)].prop_map(|v| (Field::MsixControl, v)),
        2 => (0u64..32).prop_map(|v| (Field::Port(PortCard::Doorbell), v)),
    ];
    let read = prop_oneof![
        3 => Just(Field::Isr),
        2 => Just(Field::Port(PortCard::IntStatus)),
        2 => Just(cc(CommonCfg::DeviceStatus)),
        2 => Just(cc(CommonCfg::QueueMsixVector)),
    ];
    prop_oneof![
        1 => any_doing().prop_map(Happening::Any),
        4 => backend.prop_map(|input| Happening::Any(Doing::Other(input))),
        2 => write.prop_map(|(field, val)| Happening::Write(field, val)),
        3 => read.prop_map(Happening::Read),
    ]
}

/// What a driver does first: the messages or the line, and up to DRIVER_OK.
fn bring_up(shape: &Shape, messages: bool) -> Vec<Happening> {
    let write = Happening::Write;
    let mut all = vec![write(
        Field::Pci(PciHeader::Command),
        (command::MEMORY | command::BUS_MASTER).into(),
    )];
    if messages {
        all.push(write(Field::MsixControl, 0x8000));
        all.push(write(Field::MsiControl, 1));
        all.push(Happening::Any(Doing::Other(Input::Irqs {
            kind: IrqKind::Msix,
            start: 0,
            count: 2048,
            wired: true,
        })));
    }
    for (register, val) in [
        (CommonCfg::DeviceStatus, 0),
        (CommonCfg::DeviceStatus, 3),
        (CommonCfg::DriverFeatureSelect, 1),
        (CommonCfg::DriverFeature, 1),
        (CommonCfg::DeviceStatus, 0xb),
        (CommonCfg::ConfigMsixVector, 0),
    ] {
        all.push(write(cc(register), val));
    }
    for q in 0..shape.queues {
        all.push(write(cc(CommonCfg::QueueSelect), q.into()));
        all.push(write(cc(CommonCfg::QueueMsixVector), u64::from(q) + 1));
        all.push(write(cc(CommonCfg::QueueEnable), 1));
    }
    all.push(write(cc(CommonCfg::DeviceStatus), 0xf));
    all.push(write(Field::Port(PortCard::IntEnable), 0xffff_ffff));
    all
}

static NAMES: std::sync::LazyLock<Vec<&str>> =
    std::sync::LazyLock::new(|| CATALOGUE.iter().map(|verb| verb.name).collect());

/// Every verb on a trigger that comes often, with what else is given; those that the shape can't have
/// are left out.
fn armed(shape: &Shape, more: &str) -> Vec<Fault> {
    let faults = CATALOGUE.iter().filter_map(|verb| {
        let lines = verb.example.lines();
        let plain: Vec<_> = lines
            .filter(|l| {
                !["nth", "where", "until"]
                    .iter()
                    .any(|key| l.starts_with(key))
            })
            .map(|line| match verb.needs {
                Needs::Interrupt if line.starts_with("on") => "on = 'irq.due[any]'",
                Needs::Anything if line.starts_with("on") => "on = 'every=30ms'",
                _ => line,
            })
            .collect();
        check(&format!("{}\n{more}", plain.join("\n")), shape).ok()
    });
    faults.collect()
}

fn hello(shape: &Shape) -> Hello {
    Hello {
        dev: 0,
        shape: shape.clone(),
        features: FEATURES,
    }
}

/// What is written into used rings is shown only where a fault could change it.
fn without_used(mut outcome: Outcome) -> Outcome {
    let other = |e: &Effect| !matches!(e, Effect::Complete { .. } | Effect::Ring { .. });
    outcome.shown.retain(|effect| other(effect));
    outcome
        .meant
        .iter_mut()
        .for_each(|m| m.retain(|e| other(e)));
    outcome
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn faults_that_never_fire_are_not_there(
        shape in any_shape(),
        messages in any::<bool>(),
        happenings in proptest::collection::vec((any_happening(), 0u64..50_000_000), 1..100),
    ) {
        let mut bare = Rig::armed(&shape, Vec::new());
        let mut rig = Rig::armed(&shape, armed(&shape, "where = 'false'\nnth = '1..'"));
        let first = bring_up(&shape, messages).into_iter().map(|h| (h, 0));
        for (happening, later) in first.chain(happenings) {
            let Some(input) = happening.input(&bare) else { continue };
            rig.now += later;
            bare.now += later;
            let outcome = rig.input(input.clone());
            prop_assert_eq!(without_used(outcome), without_used(bare.input(input)));
        }
        prop_assert_eq!(
            format!("{:?}", rig.injector.inner()),
            format!("{:?}", bare.injector.inner())
        );
    }

    #[test]
    fn faults_that_never_fire_are_not_there_whatever_the_device_does(
        script in proptest::collection::vec(proptest::collection::vec(any_effect(), 0..4), 1..20),
        happenings in proptest::collection::vec(any_happening(), 1..60),
    ) {
        let shape = Shape::new(Kind::Block);
        let named = Rig::armed(&shape, Vec::new());
        let mut bare = Scripted(script, 0);
        let faults = armed(&shape, "where = '1 > 2'\nnth = '1..'\nuntil = 'forever'");
        let mut injector = Injector::new(bare.clone(), hello(&shape), faults, 1);
        for input in happenings.into_iter().filter_map(|h| h.input(&named)) {
            let outcome = injector.step(0, &input);
            let shown = bare.step(0, &input);
            let expected = Outcome { shown, ..Outcome::default() };
            prop_assert_eq!(without_used(outcome), without_used(expected));
        }
    }

    #[test]
    fn whatever_a_guest_does_under_faults_has_an_end_and_a_record(
        shape in any_shape(),
        messages in any::<bool>(),
        chosen in proptest::sample::subsequence(NAMES.to_vec(), 1..4),
        lifetime in prop_oneof![Just("once"), Just("reset"), Just("20ms"), Just("forever"), Just("nth=3")],
        nth in prop_oneof![3 => Just("1.."), 1 => Just("2"), 1 => Just("*/3"), 1 => Just("p=0.5")],
        happenings in proptest::collection::vec((any_happening(), 0u64..20_000_000), 1..100),
    ) {
        let mut faults = armed(&shape, &format!("nth = '{nth}'\nuntil = '{lifetime}'"));
        faults.retain(|fault| chosen.contains(&fault.name()));
        let mut rig = Rig::armed(&shape, faults);
        let mut world = World::default();
        let offered = FEATURES | shape.transport_features();
        world.devices.insert(0, Device::new(shape.clone(), offered));
        let mut pin = false;
        let first = bring_up(&shape, messages).into_iter().map(|h| (h, 0));
        for (happening, later) in first.chain(happenings) {
            rig.now += later;
            let timely = rig.injector.deadline().filter(|d| *d <= rig.now).map(|_| Input::Time);
            for input in timely.into_iter().chain(happening.input(&rig)) {
                let outcome = rig.input(input.clone());
                prop_assert!(outcome.fired.len() <= MAX_FIRINGS);
                prop_assert!(outcome.shown.len() <= MAX_SHOWN + 2 * MAX_HEARD);
                if matches!(&input, Input::Access(a) if a.op == Op::Read) {
                    let values = outcome.shown.iter().filter(|e| matches!(e, Effect::Value(_)));
                    prop_assert_eq!(values.count(), 1);
                }
                for effect in &outcome.shown {
                    if let Effect::Pin(level) = effect {
                        prop_assert_ne!(*level, pin, "the line is a level");
                        pin = *level;
                    }
                }
                if input == Input::Time {
                    prop_assert!(rig.injector.deadline().is_none_or(|d| d > rig.now), "time goes on");
                }
                let part = match input {
                    Input::Chain { .. } | Input::Complete { .. } => Part::Backend,
                    _ => Part::Function,
                };
                let Outcome { fired, heard, shown, meant } = outcome;
                let step = Step { dev: 0, part, input, heard, shown, meant };
                for what in fired.into_iter().map(What::Fault).chain([What::Step(step)]) {
                    world.apply(&Event { seq: 1, time: rig.now, what });
                }
                prop_assert_eq!(
                    format!("{:?}", rig.injector.world()),
                    format!("{:?}", world.devices[&0]),
                    "the trace tells what the injector knows"
                );
            }
        }
    }
}
