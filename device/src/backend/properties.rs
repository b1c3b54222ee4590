//! For any ring and any requests.

use std::collections::BTreeMap;

use proptest::prelude::*;
use virtio_bindings::virtio_blk::*;
use virtio_queue::QueueT;

use super::guest::*;
use super::tests::{IOERR, OK, SECTORS, UNSUPP, disk};
use super::{Device, needs_interrupt};

/// An address that is likely to matter.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..MEMORY as u64,
        4 => Just(HEADER),
        4 => Just(STATUS),
        2 => Just(TABLE),
        2 => Just(DESC),
        2 => Just(USED),
        1 => MEMORY as u64 - 600..MEMORY as u64 + 600,
        1 => any::<u64>(),
    ]
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => Just(16u32),
        4 => Just(512),
        4 => Just(1),
        2 => Just(48),
        2 => 0..70_000u32,
        1 => any::<u32>(),
    ]
}

fn descriptor() -> impl Strategy<Value = (u64, u32, u16, u16)> {
    let flags = prop_oneof![6 => 0..8u16, 1 => any::<u16>()];
    let next = prop_oneof![8 => 0..SIZE, 1 => any::<u16>()];
    (address(), length(), flags, next)
}

fn command() -> impl Strategy<Value = u32> {
    prop_oneof![9 => 0..16u32, 1 => any::<u32>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_ring_can_do_harm(
        table in prop::collection::vec(descriptor(), SIZE as usize),
        indirect in prop::collection::vec(descriptor(), 8),
        command in command(),
        sector in prop_oneof![8 => 0..SECTORS + 2, 1 => any::<u64>()],
        heads in prop::collection::vec(prop_oneof![9 => 0..SIZE, 1 => any::<u16>()], 1..20),
        event_idx in any::<bool>(),
        accepted in any::<u64>(),
    ) {
        let (mut guest, mut block) = (Guest::new(), disk());
        block.accept(accepted);
        guest.queue.set_event_idx(event_idx);
        guest.header(command, sector);
        guest.descriptors(DESC, &table);
        guest.descriptors(TABLE, &indirect);
        for head in &heads {
            guest.offer(*head);
        }
        let mut turns = 0;
        while let Ok(Some(done)) = guest.serve(&mut block) {
            prop_assert!(done.status <= UNSUPP);
            let _ = needs_interrupt(&mut guest.queue, &guest.memory);
            turns += 1;
            // A chain may write into the available ring; it can't go on for ever all the same.
            if turns > 200 {
                break;
            }
        }
    }

    #[test]
    fn a_disk_is_what_was_written_to_it(
        requests in prop::collection::vec((any::<bool>(), 0..SECTORS, 1..9u64, any::<u8>(), 1..2048u32), 1..40),
    ) {
        let (mut guest, mut block) = (Guest::new(), disk());
        let mut model: BTreeMap<u64, u8> = BTreeMap::new();
        for (write, sector, sectors, fill, cut) in requests {
            let bytes = (sectors * 512) as u32;
            let cut = cut.min(bytes - 1);
            let fits = sector + sectors <= SECTORS;
            let (number, flag) = if write { (VIRTIO_BLK_T_OUT, 0) } else { (VIRTIO_BLK_T_IN, WRITE) };
            guest.put(DATA, &vec![if write { fill } else { 0xee }; bytes as usize]);
            guest.header(number, sector);
            guest.descriptors(DESC, &[
                (HEADER, 16, NEXT, 1),
                (DATA, cut, NEXT | flag, 2),
                (DATA + u64::from(cut), bytes - cut, NEXT | flag, 3),
                (STATUS, 1, WRITE, 0),
            ]);
            guest.offer(0);
            let done = guest.serve(&mut block).unwrap().unwrap();
            prop_assert_eq!(done.status, if fits { OK } else { IOERR });
            prop_assert_eq!(done.len, match (write, fits) {
                (true, _) => 1,
                (false, true) => bytes + 1,
                (false, false) => 0,
            });
            if write && fits {
                (sector..sector + sectors).for_each(|s| { model.insert(s, fill); });
            } else if fits {
                for s in 0..sectors {
                    let expected = model.get(&(sector + s)).copied().unwrap_or(0);
                    prop_assert_eq!(guest.get(DATA + 512 * s, 512), vec![expected; 512]);
                }
            }
        }
    }
}
