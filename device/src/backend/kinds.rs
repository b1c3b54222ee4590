//! Every kind of device under any chain.

use proptest::prelude::*;

use super::one::{Became, give_parts};
use super::*;
use crate::shape::{Kind, Shape};
use crate::trace::Host;

fn device(kind: Kind, queues: u16) -> Box<dyn Device> {
    let shape = Shape {
        queues,
        ..Shape::new(kind)
    };
    let disk = || Box::new(tempfile::tempfile().unwrap());
    match kind {
        Kind::Block | Kind::PortCard => Box::new(Block::new(&shape, 64, "disk", disk())),
        Kind::Net => Box::new(Net::new(&shape)),
        Kind::Console => Box::new(Console::new(&shape)),
        Kind::Rng => Box::new(Entropy::new(&shape, 7)),
        Kind::Scsi => Box::new(Scsi::new(&shape, 64, "disk", disk())),
    }
}

#[derive(Clone, Debug)]
enum Doing {
    Chain(u16, Vec<Vec<u8>>, Vec<u32>),
    Accept(u64),
    Write(u32, Vec<u8>),
    Configure(u16, Vec<u8>),
    Host(&'static str, i64),
}

/// Bytes that are likely to mean something: small numbers, and zeros.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![6 => Just(0u8), 4 => 0u8..12, 2 => any::<u8>()];
    proptest::collection::vec(byte, 0..80)
}

/// The head of a SCSI request to the disk, with a command.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        0x00u8, 0x03, 0x08, 0x0a, 0x12, 0x1a, 0x25, 0x28, 0x2a, 0x35, 0x42, 0x88, 0x9e, 0xa0,
    ];
    let rest = proptest::collection::vec(
        prop_oneof![4 => Just(0u8), 2 => 0u8..32, 1 => any::<u8>()],
        31,
    );
    (proptest::sample::select(known.to_vec()), rest).prop_map(|(operation, rest)| {
        let mut bytes = vec![
            1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, operation,
        ];
        bytes.extend(rest);
        bytes
    })
}

fn doing() -> impl Strategy<Value = Doing> {
    let sent = proptest::collection::vec(prop_oneof![2 => bytes(), 1 => command()], 0..4);
    let rooms = proptest::collection::vec(
        prop_oneof![0u32..20, Just(108), Just(1526), Just(5000)],
        0..4,
    );
    prop_oneof![
        20 => (0u16..9, sent, rooms).prop_map(|(queue, sent, rooms)| Doing::Chain(queue, sent, rooms)),
        1 => prop_oneof![Just(u64::MAX), any::<u64>()].prop_map(Doing::Accept),
        1 => (0u32..80, bytes()).prop_map(|(at, bytes)| Doing::Write(at, bytes)),
        1 => (0u16..80, bytes()).prop_map(|(at, bytes)| Doing::Configure(at, bytes)),
        1 => (
            proptest::sample::select(vec!["cfg.change", "disk.plug", "disk.unplug"]),
            any::<i64>()
        ).prop_map(|(name, number)| Doing::Host(name, number)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_driver_puts_into_a_chain_it_is_used_or_waits_or_breaks_its_queue(
        (kind, queues) in proptest::sample::select(vec![
            (Kind::Net, 3), (Kind::Net, 7), (Kind::Console, 2), (Kind::Console, 6),
            (Kind::Rng, 1), (Kind::Scsi, 4), (Kind::Block, 2),
        ]),
        doings in proptest::collection::vec(doing(), 1..60),
    ) {
        let mut device = device(kind, queues);
        device.accept(u64::MAX);
        let configured = device.configuration().bytes().len();
        for doing in doings {
            match doing {
                Doing::Chain(queue, sent, rooms) => {
                    let sent: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
                    let room: u32 = rooms.iter().sum();
                    // An empty chain can't be made.
                    let empty = sent.iter().all(|s| s.is_empty()) && room == 0;
                    let became = (!empty).then(|| give_parts(&mut *device, queue, &sent, &rooms));
                    if let Some(Became::Used(len, _)) = became {
                        prop_assert!(len <= room);
                    }
                }
                Doing::Accept(features) => device.accept(features),
                Doing::Write(at, bytes) => device.written(at, &bytes),
                Doing::Configure(at, bytes) => {
                    let mut configuration = *device.configuration();
                    configuration.overwrite(at, &bytes);
                    device.configure(configuration);
                }
                Doing::Host(name, number) => {
                    let args = [("capacity".to_owned(), toml::Value::Integer(number))];
                    device.command(&Host { command: name.into(), args: args.into_iter().collect() });
                }
            }
            prop_assert_eq!(device.configuration().bytes().len(), configured);
            device.offer_mut().take_woken();
        }
    }
}

#[test]
fn random_bytes_fill_a_buffer_and_differ_each_time() {
    let mut device = device(Kind::Rng, 1);
    device.accept(u64::MAX);
    let mut fill = |room| give_parts(&mut *device, 0, &[], &[room]).bytes();
    let (one, other) = (fill(64), fill(64));
    assert_ne!(one, other);
    assert!(one.iter().any(|byte| *byte != one[0]));
    assert_eq!(fill(5000).len(), 5000);
    assert_eq!(fill(100_000).len(), 65536, "no more than the device likes");
}
