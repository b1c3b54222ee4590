//! What is recorded of the rings of drivers that are right, that are wrong, and that are hostile.

use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};

use super::guest::*;
use super::ledger::Ledger;
use super::walk::{RingFeatures, Walk, walk_packed, walk_split};
use crate::trace::{AlteredPart, DirtyPart, Flaw, MOST_DESCRIPTORS, QueueSetup, What};

const ALL: RingFeatures = RingFeatures {
    indirect: true,
    in_order: false,
    packed: false,
};
const PLAIN: RingFeatures = RingFeatures {
    indirect: false,
    ..ALL
};
const PACKED: RingFeatures = RingFeatures {
    packed: true,
    ..ALL
};
const AVAILABLE: u16 = 1 << 7;
const USED_FLAG: u16 = 1 << 15;

fn setup() -> QueueSetup {
    QueueSetup {
        index: 0,
        size: SIZE,
        desc: DESC,
        driver: AVAIL,
        device: USED,
        vector: 0,
    }
}

fn walk(chain: &[(u64, u32, u16, u16)], features: RingFeatures) -> Walk {
    let guest = Guest::new();
    guest.descriptors(DESC, chain);
    walk_split(&guest.memory, &setup(), 0, features)
}

fn flaws(chain: &[(u64, u32, u16, u16)], features: RingFeatures) -> Vec<Flaw> {
    walk(chain, features).flaws.into_iter().collect()
}

#[test]
fn a_chain_is_recorded_as_the_driver_made_it() {
    let found = walk(
        &[
            (HEADER, 16, NEXT, 2),
            (0, 0, 0, 0),
            (DATA, 512, NEXT | WRITE, 3),
            (STATUS, 1, WRITE, 9),
        ],
        PLAIN,
    );
    let places: Vec<_> = found
        .descriptors
        .iter()
        .map(|d| (d.at, d.addr, d.len))
        .collect();
    assert_eq!(places, [(0, HEADER, 16), (2, DATA, 512), (3, STATUS, 1)]);
    assert_eq!((found.count, found.slots, found.bytes), (3, 3, 529));
    assert!(found.flaws.is_empty());
}

#[test]
fn what_a_driver_must_not_do_with_a_chain_is_named() {
    let end = MEMORY as u64;
    type Row = (u64, u32, u16, u16);
    let cases: &[(&[Row], RingFeatures, &[Flaw])] = &[
        (&[(DATA, 1, NEXT, 0)], PLAIN, &[Flaw::Loop]),
        (
            &[(DATA, 1, WRITE | NEXT, 1), (DATA, 1, 0, 0)],
            PLAIN,
            &[Flaw::ReadableAfterWritable],
        ),
        (&[(DATA, 1, NEXT, SIZE)], PLAIN, &[Flaw::NextOutside]),
        (
            &[(TABLE, 16, INDIRECT, 0)],
            PLAIN,
            &[Flaw::NotNegotiated, Flaw::Empty],
        ),
        (&[(TABLE, 17, INDIRECT, 0)], ALL, &[Flaw::TableLength]),
        (&[(TABLE, 0, INDIRECT, 0)], ALL, &[Flaw::TableLength]),
        (&[(end, 16, INDIRECT, 0)], ALL, &[Flaw::Unmapped]),
        (
            &[(TABLE, 16, INDIRECT | NEXT, 1)],
            ALL,
            &[Flaw::IndirectAndNext, Flaw::Empty],
        ),
        (&[(end - 1, 2, 0, 0)], PLAIN, &[Flaw::BufferUnmapped]),
        (&[(u64::MAX, 2, 0, 0)], PLAIN, &[Flaw::BufferUnmapped]),
        (&[(DATA, 0, 0, 0)], PLAIN, &[Flaw::Empty]),
        (
            &[(0, u32::MAX, NEXT, 1), (0, 2, 0, 0)],
            PLAIN,
            &[Flaw::TooManyBytes, Flaw::BufferUnmapped],
        ),
    ];
    for (chain, features, expected) in cases {
        assert_eq!(flaws(chain, *features), *expected, "{chain:?}");
    }
    let guest = Guest::new();
    let outside = walk_split(&guest.memory, &setup(), SIZE, PLAIN);
    assert_eq!(
        outside.flaws.into_iter().collect::<Vec<_>>(),
        [Flaw::HeadOutside]
    );
}

#[test]
fn in_a_queue_of_one_element_a_table_has_one_entry() {
    let guest = Guest::new();
    guest.descriptors(DESC, &[(TABLE, 16, INDIRECT | AVAILABLE, 0)]);
    guest.descriptors(TABLE, &[(DATA, 1, WRITE, 0), (DATA, 1, WRITE, 0)]);
    let one = QueueSetup { size: 1, ..setup() };
    let found = walk_split(&guest.memory, &one, 0, ALL);
    assert_eq!((found.count, found.flaws.len()), (1, 0));
    guest.descriptors(DESC, &[(TABLE, 32, 0, INDIRECT | AVAILABLE)]);
    let found = walk_packed(&guest.memory, &one, 0, true, PACKED);
    assert_eq!(found.flaws.into_iter().collect::<Vec<_>>(), [Flaw::TooLong]);
}

#[test]
fn a_table_has_its_own_flaws() {
    let table = |entries: &[(u64, u32, u16, u16)], length: u32, features| {
        let guest = Guest::new();
        guest.descriptors(TABLE, entries);
        guest.descriptors(DESC, &[(TABLE, length, INDIRECT, 0)]);
        walk_split(&guest.memory, &setup(), 0, features)
    };
    let flaws = |walk: Walk| walk.flaws.into_iter().collect::<Vec<_>>();
    assert_eq!(
        flaws(table(&[(TABLE, 16, INDIRECT, 0)], 16, ALL)),
        [Flaw::Nested]
    );
    let long: Vec<_> = (1..40).map(|i| (DATA, 1, NEXT, i)).collect();
    let found = table(&long, 16 * 39, ALL);
    assert_eq!(found.count, u32::from(SIZE));
    assert_eq!(flaws(found), [Flaw::TooLong]);
    let in_order = RingFeatures {
        in_order: true,
        ..ALL
    };
    let backwards = [(DATA, 1, NEXT, 2), (DATA, 1, 0, 0), (DATA, 1, 0, 0)];
    assert_eq!(flaws(table(&backwards, 48, in_order)), [Flaw::OutOfOrder]);
    assert_eq!(flaws(table(&backwards, 48, ALL)), []);
}

#[test]
fn a_list_of_a_packed_ring_goes_round_its_end_and_must_be_complete() {
    let guest = Guest::new();
    // Packed: id and flags have changed places.
    guest.descriptors(DESC + 16 * 15, &[(DATA, 1, 0, NEXT | AVAILABLE)]);
    guest.descriptors(DESC, &[(STATUS, 1, 7, WRITE | USED_FLAG)]);
    let found = walk_packed(&guest.memory, &setup(), 15, true, PACKED);
    assert_eq!((found.slots, found.id, found.flaws.len()), (2, 7, 0));
    guest.descriptors(DESC, &[(STATUS, 1, 7, WRITE)]);
    let found = walk_packed(&guest.memory, &setup(), 15, true, PACKED);
    assert!(found.flaws.contains(&Flaw::Partial));
    guest.descriptors(TABLE, &[(DATA, 1, 0, WRITE | NEXT)]);
    guest.descriptors(DESC, &[(TABLE, 16, 3, INDIRECT | AVAILABLE)]);
    let found = walk_packed(&guest.memory, &setup(), 0, true, PACKED);
    assert_eq!(
        found.flaws.into_iter().collect::<Vec<_>>(),
        [Flaw::TableFlags]
    );
}

/// A ledger that has fetched the guest's first chain.
fn holding(guest: &mut Guest) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.watch(&guest.memory, setup(), ALL);
    guest.ask(0, 0, 512, true);
    let seen = ledger.fetched(&guest.memory, 0, 0).unwrap();
    assert_eq!((seen.head, seen.position, seen.count), (0, 0, 3));
    assert!(ledger.fetched(&guest.memory, 0, 0).is_none(), "once");
    ledger
}

#[test]
fn a_chain_that_is_changed_while_the_device_holds_it_is_told_once() {
    for part in [AlteredPart::Descriptors, AlteredPart::Entry] {
        let mut guest = Guest::new();
        let mut ledger = holding(&mut guest);
        assert_eq!(ledger.look(&guest.memory, 0), []);
        let place = match part {
            AlteredPart::Descriptors => DESC + 8,
            AlteredPart::Entry | AlteredPart::Released => AVAIL + 4,
        };
        guest.put(place, &[9]);
        let found = ledger.look(&guest.memory, 0);
        assert!(
            matches!(found.as_slice(), [What::Altered(a)] if a.part == part && a.head == 0),
            "{found:?}"
        );
        assert_eq!(ledger.look(&guest.memory, 0), []);
    }
}

#[test]
fn an_entry_of_the_available_ring_may_be_written_again_once_the_ring_has_gone_round() {
    let mut guest = Guest::new();
    let mut ledger = holding(&mut guest);
    guest.set_available(SIZE);
    guest.put(AVAIL + 4, &[9]);
    assert_eq!(ledger.look(&guest.memory, 0), []);
    let mut ledger = Ledger::default();
    ledger.watch(&guest.memory, setup(), ALL);
    let seen = ledger.fetched(&guest.memory, 0, 0).unwrap();
    ledger.used(0, seen.head);
    guest.descriptors(DESC + 16 * u64::from(seen.head), &[(0, 7, 0, 0)]);
    assert_eq!(ledger.look(&guest.memory, 0), [], "it was used");
}

#[test]
fn a_write_to_the_used_ring_is_told_and_the_devices_own_is_not() {
    let guest = Guest::new();
    let mut ledger = Ledger::new(3);
    ledger.watch(&guest.memory, setup(), ALL);
    guest.put(USED + 2, &[1]);
    ledger.wrote(&guest.memory, 0);
    assert_eq!(ledger.look(&guest.memory, 0), []);
    for (place, part, element) in [
        (USED, DirtyPart::Flags, 0),
        (USED + 3, DirtyPart::Idx, 0),
        (USED + 4 + 8 * 5, DirtyPart::Element, 5),
        (USED + 4 + 8 * u64::from(SIZE), DirtyPart::AvailEvent, 0),
    ] {
        guest.put(place, &[0xff]);
        let found = ledger.look(&guest.memory, 0);
        assert!(
            matches!(found.as_slice(), [What::Dirty(d)] if (d.dev, d.part, d.element) == (3, part, element)),
            "{found:?}"
        );
        assert_eq!(ledger.look(&guest.memory, 0), []);
    }
}

#[test]
fn a_list_is_held_until_its_id_is_used_and_the_devices_own_writes_change_none() {
    let guest = Guest::new();
    let mut ledger = Ledger::default();
    ledger.watch(&guest.memory, setup(), PACKED);
    let list = |at: u64, id| {
        let rows = [(DATA, 1, id, WRITE | AVAILABLE)];
        guest.descriptors(DESC + 16 * at, &rows);
    };
    list(0, 5);
    list(1, 6);
    for position in [0, 1] {
        let seen = ledger.fetched(&guest.memory, 0, position | 1 << 15);
        assert_eq!(seen.unwrap().head, 5 + position);
    }
    // The second is used first: the device writes over the first one's descriptor.
    guest.descriptors(DESC, &[(DATA, 1, 6, AVAILABLE | USED_FLAG)]);
    ledger.used(0, 6);
    ledger.wrote(&guest.memory, 0);
    assert_eq!(ledger.look(&guest.memory, 0), []);
    list(1, 7);
    assert_eq!(ledger.look(&guest.memory, 0), [], "it was used");
    list(0, 7);
    let found = ledger.look(&guest.memory, 0);
    assert!(
        matches!(found.as_slice(), [What::Altered(a)] if a.head == 5),
        "{found:?}"
    );
}

#[test]
fn the_same_head_twice_is_in_flight() {
    let mut guest = Guest::new();
    let mut ledger = holding(&mut guest);
    guest.offer(0);
    let seen = ledger.fetched(&guest.memory, 0, 1).unwrap();
    assert_eq!(seen.flaws, [Flaw::InFlight]);
}

proptest! {
    #[test]
    fn any_table_ends_the_walk_and_the_ledger_stays_small(
        bytes in prop::collection::vec(prop_oneof![4 => 0..8u8, 1 => any::<u8>()], 16 * 64),
        table in prop::collection::vec(prop_oneof![4 => 0..8u8, 1 => any::<u8>()], 16 * 64),
        heads in prop::collection::vec(0..SIZE + 2, 1..40),
        packed in any::<bool>(),
        device in prop_oneof![4 => Just(USED), 1 => Just(MEMORY as u64 - 10), 1 => any::<u64>()],
    ) {
        let mut guest = Guest::new();
        guest.put(DESC, &bytes);
        guest.put(TABLE, &table);
        // Half of the descriptors lead to the table.
        for i in (0..u64::from(SIZE)).step_by(2) {
            guest.memory.write_obj(TABLE, GuestAddress(DESC + 16 * i)).unwrap();
        }
        let features = RingFeatures { packed, ..ALL };
        let setup = QueueSetup { device, ..setup() };
        let mut ledger = Ledger::default();
        ledger.watch(&guest.memory, setup, features);
        for (i, head) in heads.iter().enumerate() {
            guest.offer(*head);
            let position = if packed { head % SIZE } else { i as u16 };
            if let Some(seen) = ledger.fetched(&guest.memory, 0, position) {
                prop_assert!(seen.count <= u32::from(SIZE) + 1);
                prop_assert!(seen.descriptors.len() <= MOST_DESCRIPTORS);
            }
            let _ = ledger.look(&guest.memory, 0);
        }
    }
}
