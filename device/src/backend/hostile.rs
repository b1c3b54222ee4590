//! What becomes of chains and rings that no driver may make.

use virtio_bindings::virtio_blk::*;
use vm_memory::{Bytes, GuestAddress};

use super::BrokenRing;
use super::chain::NoStatus;
use super::guest::*;
use super::tests::{IOERR, disk, done};

#[test]
fn a_buffer_outside_memory_fails_the_request_and_the_status_tells() {
    let (mut guest, mut block) = (Guest::new(), disk());
    let far = MEMORY as u64;
    for (address, flag) in [
        (far, WRITE),
        (far - 256, WRITE),
        (u64::MAX - 5, WRITE),
        (far - 256, 0),
    ] {
        let command = if flag == 0 {
            VIRTIO_BLK_T_OUT
        } else {
            VIRTIO_BLK_T_IN
        };
        guest.header(command, 0);
        guest.descriptors(
            DESC,
            &[
                (HEADER, 16, NEXT, 1),
                (address, 512, NEXT | flag, 2),
                (STATUS, 1, WRITE, 0),
            ],
        );
        guest.offer(0);
        let len = u32::from(flag == 0);
        assert_eq!(guest.serve(&mut block), done(IOERR, len), "{address:#x}");
    }
    guest.descriptors(DESC, &[(far, 16, NEXT, 1), (STATUS, 1, WRITE, 0)]);
    guest.offer(0);
    assert_eq!(guest.serve(&mut block), done(IOERR, 1));
}

#[test]
fn buffers_in_the_wrong_order_or_too_many_are_an_error_with_a_status() {
    let (mut guest, mut block) = (Guest::new(), disk());
    guest.header(VIRTIO_BLK_T_IN, 0);
    guest.descriptors(
        DESC,
        &[
            (DATA, 512, NEXT | WRITE, 1),
            (HEADER, 16, NEXT, 2),
            (STATUS, 1, WRITE, 0),
        ],
    );
    guest.offer(0);
    assert_eq!(guest.serve(&mut block), done(IOERR, 0));
    // A table with more buffers than the queue has elements.
    let mut table = vec![(HEADER, 16, NEXT, 1)];
    for i in 1..40 {
        table.push((DATA, 512, NEXT | WRITE, i + 1));
    }
    table.push((STATUS, 1, WRITE, 0));
    guest.descriptors(TABLE, &table);
    guest.descriptors(DESC, &[(TABLE, 16 * 41, INDIRECT, 0)]);
    guest.put(STATUS, &[0xee]);
    guest.offer(0);
    assert_eq!(guest.serve(&mut block), done(IOERR, 0));
    assert_eq!(guest.status(), IOERR);
}

#[test]
fn a_chain_without_a_place_for_the_status_breaks_the_ring() {
    let far = MEMORY as u64;
    let cases: [&[(u64, u32, u16, u16)]; 8] = [
        &[(HEADER, 16, 0, 0)],                                   // no writable buffer
        &[(HEADER, 16, NEXT, 1), (STATUS, 0, WRITE, 0)],         // an empty one
        &[(HEADER, 16, NEXT, 1), (far, 1, WRITE, 0)],            // one outside memory
        &[(HEADER, 16, NEXT, 0)],                                // a loop
        &[(HEADER, 16, NEXT, 1), (STATUS, 1, WRITE | NEXT, 99)], // a link beyond the table
        &[(TABLE, 17, INDIRECT, 0)],                             // a table of odd size
        &[(far, 32, INDIRECT, 0)],                               // a table outside memory
        &[(HEADER, u32::MAX, NEXT, 1), (STATUS, 2, WRITE, 0)],   // more than 4 GiB
    ];
    for case in cases {
        let (mut guest, mut block) = (Guest::new(), disk());
        guest.header(VIRTIO_BLK_T_FLUSH, 0);
        guest.descriptors(DESC, case);
        guest.offer(0);
        let source = NoStatus;
        assert_eq!(
            guest.serve(&mut block),
            Err(BrokenRing::Chain { head: 0, source }),
            "{case:?}"
        );
        assert_eq!(guest.used().0, 0);
    }
}

#[test]
fn a_table_inside_a_table_breaks_the_ring() {
    let (mut guest, mut block) = (Guest::new(), disk());
    guest.descriptors(TABLE, &[(TABLE, 16, INDIRECT, 0)]);
    guest.descriptors(DESC, &[(TABLE, 16, INDIRECT, 0)]);
    guest.offer(0);
    let source = NoStatus;
    assert_eq!(
        guest.serve(&mut block),
        Err(BrokenRing::Chain { head: 0, source })
    );
}

#[test]
fn an_index_that_jumps_and_a_head_beyond_the_table_break_the_ring() {
    let (mut guest, mut block) = (Guest::new(), disk());
    guest.set_available(SIZE + 1);
    assert_eq!(guest.serve(&mut block), Err(BrokenRing::Index));
    let mut guest = Guest::new();
    guest.offer(SIZE);
    assert_eq!(guest.serve(&mut block), Err(BrokenRing::Head(SIZE)));
}

#[test]
fn a_ring_outside_memory_is_broken_and_does_not_spin() {
    for ring in ["avail", "used"] {
        let (mut guest, mut block) = (Guest::new(), disk());
        guest.ask(VIRTIO_BLK_T_FLUSH, 0, 0, false);
        let far = GuestAddress(MEMORY as u64 - 4);
        if ring == "avail" {
            guest
                .memory
                .write_obj(1u16, GuestAddress(far.0 + 2))
                .unwrap();
            guest.queue.try_set_avail_ring_address(far).unwrap();
        } else {
            guest.queue.try_set_used_ring_address(far).unwrap();
        }
        assert_eq!(guest.serve(&mut block), Err(BrokenRing::Unmapped), "{ring}");
    }
}
