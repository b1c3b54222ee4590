//! The function under any input.

use proptest::prelude::*;

use super::*;
use crate::shape::{Caps, Interface, Kind, NotifyOrder, Oddity};
use crate::spec::{command, msi_control, msix_control};
use crate::trace::IrqKind;

const FEATURES: u128 = 1 << 32 | 1 << 29 | 1 << 9;

fn any_space() -> impl Strategy<Value = Space> {
    prop_oneof![3 => Just(Space::Config), 6 => Just(Space::Bar0), 2 => Just(Space::Bar2), 1 => Just(Space::Bar5)]
}

fn any_offset() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..0x110, 3 => 0x0ff8u64..0x1008, 3 => 0x2000u64..0x2108, 3 => 0x2ff8u64..0x3410, 1 => 0x7ff8u64..0x8110, 1 => any::<u64>()]
}

fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..16, 2 => Just(0xffff), 2 => Just(0x8000), 1 => any::<u64>()]
}

/// What can reach a function: accesses as they are named, and everything else.
#[derive(Clone, Debug)]
pub(crate) enum Doing {
    Access(Op, Space, u64, u8, u64),
    Other(Input),
}

pub(crate) fn any_doing() -> impl Strategy<Value = Doing> {
    let width = prop_oneof![Just(1u8), Just(2), Just(4), Just(8), any::<u8>()];
    let access = (
        prop_oneof![Just(Op::Read), Just(Op::Write)],
        any_space(),
        any_offset(),
        width,
        any_value(),
    )
        .prop_map(|(op, space, off, width, val)| Doing::Access(op, space, off, width, val));
    let kind = prop_oneof![Just(IrqKind::Msix), Just(IrqKind::Msi), Just(IrqKind::Intx)];
    let other = prop_oneof![
        (0u16..300).prop_map(|queue| Input::Used { queue }),
        (kind, any::<u16>(), any::<u16>(), any::<bool>()).prop_map(
            |(kind, start, count, wired)| Input::Irqs {
                kind,
                start,
                count,
                wired
            }
        ),
        (any::<u16>(), proptest::collection::vec(any::<u8>(), 0..8))
            .prop_map(|(offset, bytes)| Input::Config { offset, bytes }),
        Just(Input::FunctionReset),
        Just(Input::Broken),
        Just(Input::Time),
    ];
    prop_oneof![8 => access, 1 => other.prop_map(Doing::Other)]
}

pub(crate) fn any_shape() -> impl Strategy<Value = Shape> {
    let msi = prop_oneof![Just(0u16), Just(1), Just(8), Just(32)];
    let plain = (
        proptest::sample::select(Kind::ALL),
        1u16..9,
        0u16..20,
        msi,
        any::<bool>(),
        1u16..32,
        any::<bool>(),
    )
        .prop_map(|(kind, queues, msix, msi, pin, ports, suspend)| Shape {
            queues: match kind {
                Kind::Block | Kind::PortCard => queues,
                Kind::Net => 2 * queues + 1,
                Kind::Console => 2 * queues,
                Kind::Rng => 1,
                Kind::Scsi => queues + 2,
            },
            msix: Some(msix),
            msi,
            pin,
            ports,
            with: match kind.is_virtio() {
                true if suspend => vec!["SUSPEND".into()],
                _ => Vec::new(),
            },
            ..Shape::new(kind)
        });
    let odd: Vec<Oddity> = Oddity::ALL.iter().map(|(oddity, _)| *oddity).collect();
    let notify_mult = prop_oneof![Just(0u32), Just(2), Just(4), Just(4096)];
    let presented = (
        proptest::sample::subsequence(odd, 0..3),
        notify_mult,
        prop_oneof![
            Just(NotifyOrder::Identity),
            Just(NotifyOrder::Reverse),
            proptest::collection::vec(0u16..1024, 8).prop_map(NotifyOrder::Each),
        ],
        proptest::collection::vec(0u32..16, 1..9),
        any::<[bool; 4]>(),
        prop_oneof![
            4 => Just(Interface::Modern),
            2 => Just(Interface::Transitional),
            1 => Just(Interface::Legacy),
        ],
    );
    (plain, presented).prop_filter_map(
        "is served",
        |(shape, (odd, mult, order, sizes, flags, virtio))| {
            let mut shape = Shape {
                virtio: if shape.kind.is_virtio() {
                    virtio
                } else {
                    Interface::Modern
                },
                ..shape
            };
            if virtio == Interface::Legacy {
                shape.with.clear();
            }
            if shape.kind != Kind::Block || virtio == Interface::Legacy {
                return Some(shape);
            }
            let queues = usize::from(shape.queues);
            let sizes: Vec<u16> = sizes.iter().take(queues).map(|n| 1 << n).collect();
            let shape = Shape {
                caps: Caps::odd(&odd),
                notify_mult: mult,
                notify_off: match order {
                    NotifyOrder::Each(mut offs) => {
                        offs.truncate(queues);
                        NotifyOrder::Each(offs)
                    }
                    order => order,
                },
                queue_size: sizes.into(),
                strict: flags[0],
                msi_64: flags[1],
                msi_masking: flags[2],
                vendor_cap: flags[3].then_some(0x1234),
                ..shape
            };
            shape.check().is_ok().then_some(shape)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_input_makes_a_function_panic_or_break_a_rule_of_devices(
        shape in any_shape(),
        doings in proptest::collection::vec(any_doing(), 1..200),
    ) {
        prop_assert!(shape.check().is_ok());
        let features = FEATURES | shape.transport_features();
        let mut function = Function::new(&shape, features, vec![7; 0x3c]);
        let (mut pin, mut control) = (false, None);
        let (mut started, mut suspended) = (false, false);
        for doing in doings {
            let input = match doing {
                Doing::Access(op, space, off, width, val) => {
                    Input::Access(function.name(op, space, off, width, (op == Op::Write).then_some(val)))
                }
                Doing::Other(input) => input,
            };
            let effects = function.step(0, &input);
            let reads = matches!(&input, Input::Access(a) if a.op == Op::Read);
            let values = effects.iter().filter(|e| matches!(e, Effect::Value(_))).count();
            if reads {
                prop_assert_eq!(values, 1, "every read has one answer: {:?} {:?}", input, effects);
            }
            for effect in &effects {
                match effect {
                    Effect::Control { command, msix, msi } => control = Some((*command, *msix, *msi)),
                    Effect::Pin(level) => {
                        prop_assert_ne!(*level, pin, "the line changes when it is told to");
                        pin = *level;
                        prop_assert!(!pin || shape.pin, "no line without a pin");
                    }
                    Effect::Message(m) => {
                        let (command, msix, msi) = control.unwrap_or_default();
                        prop_assert!(command & command::BUS_MASTER != 0, "messages need bus mastering");
                        match m.kind {
                            IrqKind::Msix => {
                                prop_assert!(m.entry < shape.table_size());
                                prop_assert_eq!(msix & (msix_control::ENABLE | msix_control::FUNCTION_MASK), msix_control::ENABLE);
                            }
                            _ => prop_assert!(m.entry < shape.msi && msi & msi_control::ENABLE != 0),
                        }
                    }
                    Effect::Start(start) => {
                        prop_assert!(start.queues.iter().all(|q| q.index < shape.queues));
                        prop_assert!(!std::mem::replace(&mut started, true));
                    }
                    Effect::Stop => {
                        prop_assert!(std::mem::replace(&mut started, false));
                        suspended = false;
                    }
                    Effect::Suspend => prop_assert!(started && !std::mem::replace(&mut suspended, true)),
                    Effect::Resume => prop_assert!(started && std::mem::replace(&mut suspended, false)),
                    Effect::Kick { queue } => prop_assert!(*queue < shape.queues && started && !suspended),
                    _ => {}
                }
            }
            let (_, msix, _) = control.unwrap_or_default();
            let halted = matches!(&function.kind, Behind::Virtio(virtio) if virtio.is_halted());
            let may = function.pci.control().bus_master() && !halted;
            prop_assert!(!started || suspended != may, "no memory without bus mastering, nor while suspended");
            prop_assert!(!(pin && msix & msix_control::ENABLE != 0), "the line is silent while MSI-X is enabled");
        }
    }
}
