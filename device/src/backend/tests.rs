//! What becomes of requests.

use std::io;

use virtio_bindings::virtio_blk::*;
use virtio_queue::QueueT;

use super::guest::*;
use super::*;
use crate::shape::{Kind, Shape};

pub const SECTORS: u64 = 512;
pub const OK: u8 = VIRTIO_BLK_S_OK as u8;
pub const IOERR: u8 = VIRTIO_BLK_S_IOERR as u8;
pub const UNSUPP: u8 = VIRTIO_BLK_S_UNSUPP as u8;

fn disk_on(storage: Box<dyn Storage>) -> Block {
    let mut block = Block::new(&Shape::new(Kind::Block), SECTORS, "misfire-0", storage);
    block.accept(u64::MAX);
    block
}

pub fn disk() -> Block {
    disk_on(Box::new(tempfile::tempfile().unwrap()))
}

pub fn done(status: u8, len: u32) -> Result<Option<Done>, BrokenRing> {
    Ok(Some(Done { status, len }))
}

#[test]
fn what_was_written_reads_back() {
    let (mut guest, mut block) = (Guest::new(), disk());
    let pattern: Vec<u8> = (0..1024u32).map(|i| (i * 7 % 251) as u8).collect();
    guest.put(DATA, &pattern);
    guest.ask(VIRTIO_BLK_T_OUT, 3, 1024, false);
    assert_eq!(guest.serve(&mut block), done(OK, 1));
    guest.put(DATA, &[0; 1024]);
    guest.ask(VIRTIO_BLK_T_IN, 3, 1024, true);
    assert_eq!(guest.serve(&mut block), done(OK, 1025));
    assert_eq!(guest.get(DATA, 1024), pattern);
    assert_eq!(guest.status(), OK);
    assert_eq!(guest.used(), (2, 0, 1025));
}

#[test]
fn a_request_may_be_cut_into_buffers_anywhere() {
    let (mut guest, mut block) = (Guest::new(), disk());
    guest.put(DATA, &[0x5a; 512]);
    guest.header(VIRTIO_BLK_T_OUT, 1);
    guest.put(HEADER + 16, &[0x5a; 5]);
    guest.descriptors(
        DESC,
        &[
            (HEADER, 7, NEXT, 1),
            (HEADER + 7, 14, NEXT, 2), // the rest of the header, and five bytes of data
            (0, 0, NEXT, 3),
            (DATA, 507, NEXT, 4),
            (STATUS, 1, WRITE, 0),
        ],
    );
    guest.offer(0);
    assert_eq!(guest.serve(&mut block), done(OK, 1));
    // The status shares a buffer with the data.
    guest.header(VIRTIO_BLK_T_IN, 1);
    guest.descriptors(DESC, &[(HEADER, 16, NEXT, 1), (DATA + 4096, 513, WRITE, 0)]);
    guest.offer(0);
    assert_eq!(guest.serve(&mut block), done(OK, 513));
    assert_eq!(guest.get(DATA + 4096, 512), [0x5a; 512]);
    assert_eq!(guest.get(DATA + 4096 + 512, 1), [OK]);
}

#[test]
fn an_indirect_table_is_followed() {
    let (mut guest, mut block) = (Guest::new(), disk());
    guest.header(VIRTIO_BLK_T_IN, 0);
    guest.descriptors(
        TABLE,
        &[
            (HEADER, 16, NEXT, 1),
            (DATA, 512, NEXT | WRITE, 2),
            (STATUS, 1, WRITE, 0),
        ],
    );
    guest.descriptors(DESC, &[(TABLE, 48, INDIRECT, 0)]);
    guest.offer(0);
    assert_eq!(guest.serve(&mut block), done(OK, 513));
}

#[test]
fn flush_and_name_are_answered() {
    let (mut guest, mut block) = (Guest::new(), disk());
    guest.header(VIRTIO_BLK_T_FLUSH, 0);
    guest.descriptors(DESC, &[(HEADER, 16, NEXT, 1), (STATUS, 1, WRITE, 0)]);
    guest.offer(0);
    assert_eq!(guest.serve(&mut block), done(OK, 1));
    guest.ask(VIRTIO_BLK_T_GET_ID, 0, 20, true);
    assert_eq!(guest.serve(&mut block), done(OK, 21));
    assert_eq!(guest.get(DATA, 10), b"misfire-0\0");
    // A longer buffer is filled in part: the status behind the gap is not counted.
    guest.ask(VIRTIO_BLK_T_GET_ID, 0, 64, true);
    assert_eq!(guest.serve(&mut block), done(OK, 20));
}

/// Sector, number of sectors, flags.
type RangeOf = (u64, u32, u32);

fn ranges(guest: &Guest, all: &[RangeOf]) -> u32 {
    for (i, (sector, sectors, flags)) in all.iter().enumerate() {
        let at = DATA + 16 * i as u64;
        guest.put(at, &sector.to_le_bytes());
        guest.put(at + 8, &sectors.to_le_bytes());
        guest.put(at + 12, &flags.to_le_bytes());
    }
    16 * all.len() as u32
}

#[test]
fn zeroes_are_written_where_they_are_asked_for_and_nowhere_else() {
    let (mut guest, mut block) = (Guest::new(), disk());
    guest.put(DATA, &[0xff; 4096]);
    guest.ask(VIRTIO_BLK_T_OUT, 0, 4096, false);
    guest.serve(&mut block).unwrap();
    let data = ranges(
        &guest,
        &[(1, 2, 0), (5, 1, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)],
    );
    guest.ask(VIRTIO_BLK_T_WRITE_ZEROES, 0, data, false);
    assert_eq!(guest.serve(&mut block), done(OK, 1));
    guest.ask(VIRTIO_BLK_T_IN, 0, 4096, true);
    guest.serve(&mut block).unwrap();
    for sector in 0..8 {
        let expected = if [1, 2, 5].contains(&sector) { 0 } else { 0xff };
        assert_eq!(guest.get(DATA + 512 * sector, 512), [expected; 512]);
    }
}

#[test]
fn a_bad_range_is_refused_before_any_is_touched() {
    let (mut guest, mut block) = (Guest::new(), disk());
    guest.put(DATA, &[0xff; 512]);
    guest.ask(VIRTIO_BLK_T_OUT, 0, 512, false);
    guest.serve(&mut block).unwrap();
    let cases: [(&[RangeOf], u8); 5] = [
        (&[(0, 1, 0), (SECTORS, 1, 0)], IOERR),
        (&[(0, 1, 0), (u64::MAX, 2, 0)], IOERR),
        (&[(0, 1, 0), (0, u32::MAX, 0)], IOERR),
        (&[(0, 1, 0), (0, 1, 2)], UNSUPP),
        (&[(0, 1, 0); 9], IOERR),
    ];
    for (case, status) in cases {
        for command in [VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES] {
            let data = ranges(&guest, case);
            guest.ask(command, 0, data, false);
            assert_eq!(guest.serve(&mut block), done(status, 1), "{case:?}");
        }
    }
    // 5.2.6.2: the unmap flag is for write zeroes only.
    let data = ranges(&guest, &[(0, 1, 1)]);
    guest.ask(VIRTIO_BLK_T_DISCARD, 0, data, false);
    assert_eq!(guest.serve(&mut block), done(UNSUPP, 1));
    guest.ask(VIRTIO_BLK_T_IN, 0, 512, true);
    guest.serve(&mut block).unwrap();
    assert_eq!(guest.get(DATA, 512), [0xff; 512]);
}

#[test]
fn what_the_driver_did_not_accept_is_unsupported() {
    let (mut guest, mut block) = (Guest::new(), disk());
    block.accept(0);
    for command in [
        VIRTIO_BLK_T_DISCARD,
        VIRTIO_BLK_T_WRITE_ZEROES,
        VIRTIO_BLK_T_FLUSH,
        77,
    ] {
        let data = ranges(&guest, &[(0, 1, 0)]);
        guest.ask(command, 0, data, false);
        assert_eq!(guest.serve(&mut block), done(UNSUPP, 1), "{command}");
    }
}

#[test]
fn a_request_beyond_the_end_or_of_half_a_sector_fails() {
    let (mut guest, mut block) = (Guest::new(), disk());
    for (sector, data) in [
        (SECTORS, 512),
        (SECTORS - 1, 1024),
        (u64::MAX, 512),
        (u64::MAX / 512, 512),
        (0, 100),
    ] {
        guest.ask(VIRTIO_BLK_T_IN, sector, data, true);
        assert_eq!(guest.serve(&mut block), done(IOERR, 0), "{sector}+{data}");
        assert_eq!(guest.status(), IOERR);
        guest.ask(VIRTIO_BLK_T_OUT, sector, data, false);
        assert_eq!(guest.serve(&mut block), done(IOERR, 1), "{sector}+{data}");
    }
    guest.ask(VIRTIO_BLK_T_IN, SECTORS - 1, 512, true);
    assert_eq!(guest.serve(&mut block), done(OK, 513));
}

#[test]
fn a_disk_that_grew_has_zeros_at_its_end_and_one_that_shrank_has_no_end() {
    let (mut guest, mut block) = (Guest::new(), disk());
    let mut configuration = *block.configuration();
    configuration.overwrite(0, &(SECTORS + 8).to_le_bytes());
    block.configure(configuration);
    guest.put(DATA, &[1; 512]);
    guest.ask(VIRTIO_BLK_T_IN, SECTORS + 7, 512, true);
    assert_eq!(guest.serve(&mut block), done(OK, 513));
    assert_eq!(guest.get(DATA, 512), [0; 512]);
    configuration.overwrite(0, &1u64.to_le_bytes());
    block.configure(configuration);
    guest.ask(VIRTIO_BLK_T_IN, 1, 512, true);
    assert_eq!(guest.serve(&mut block), done(IOERR, 0));
}

#[test]
fn a_chain_stays_available_until_it_is_used() {
    let mut guest = Guest::new();
    guest.ask(VIRTIO_BLK_T_FLUSH, 0, 0, false);
    let mut chain = Chain::default();
    for _ in 0..3 {
        assert_eq!(peek(&mut guest.queue, &guest.memory, &mut chain), Ok(true));
        assert_eq!(guest.queue.next_avail(), 0);
    }
    take(&mut guest.queue);
    settle(&mut guest.queue, &guest.memory, chain.head(), 1).unwrap();
    assert_eq!(guest.queue.next_avail(), 1);
    assert_eq!(peek(&mut guest.queue, &guest.memory, &mut chain), Ok(false));
}

#[test]
fn the_driver_decides_whether_it_is_interrupted() {
    let mut guest = Guest::new();
    assert!(guest.wants_interrupt());
    guest.put(AVAIL, &1u16.to_le_bytes());
    assert!(!guest.wants_interrupt());
    // With EVENT_IDX the flag means nothing, and used_event counts.
    guest.queue.set_event_idx(true);
    let (mut block, mut interrupts) = (disk(), Vec::new());
    guest.put(AVAIL + 4 + 2 * u64::from(SIZE), &2u16.to_le_bytes());
    for _ in 0..4 {
        guest.ask(VIRTIO_BLK_T_FLUSH, 0, 0, false);
        guest.serve(&mut block).unwrap();
        interrupts.push(guest.wants_interrupt());
    }
    assert_eq!(interrupts, [false, false, true, false]);
}

#[test]
fn the_next_notification_is_asked_for_before_a_chain_is_used() {
    let (mut guest, mut block) = (Guest::new(), disk());
    guest.queue.set_event_idx(true);
    let avail_event = USED + 4 + 8 * u64::from(SIZE);
    for round in 1..4u16 {
        guest.ask(VIRTIO_BLK_T_FLUSH, 0, 0, false);
        guest.serve(&mut block).unwrap();
        assert_eq!(guest.get(avail_event, 2), round.to_le_bytes());
    }
    // A used ring that can't take the chain: the request for a notification is there first.
    guest.ask(VIRTIO_BLK_T_FLUSH, 0, 0, false);
    let mut chain = Chain::default();
    peek(&mut guest.queue, &guest.memory, &mut chain).unwrap();
    take(&mut guest.queue);
    assert_eq!(
        settle(&mut guest.queue, &guest.memory, SIZE, 0),
        Err(BrokenRing::Unmapped)
    );
    assert_eq!(guest.get(avail_event, 2), 4u16.to_le_bytes());
}

/// A medium that fails from some byte on, and can't punch holes.
struct Failing(u64);

impl Storage for Failing {
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        buffer.fill(3);
        self.write(buffer, offset)
    }
    fn write(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Err(io::ErrorKind::Other.into())
    }
    fn punch(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[test]
fn an_error_of_the_medium_is_an_error_of_the_request_and_len_counts_what_was_written() {
    let (mut guest, mut block) = (Guest::new(), disk_on(Box::new(Failing(128 << 9))));
    guest.ask(VIRTIO_BLK_T_IN, 0, 256 << 9, true);
    assert_eq!(guest.serve(&mut block), done(IOERR, 128 << 9));
    guest.ask(VIRTIO_BLK_T_OUT, 100, 64 << 9, false);
    assert_eq!(guest.serve(&mut block), done(IOERR, 1));
    guest.ask(VIRTIO_BLK_T_FLUSH, 0, 0, false);
    assert_eq!(guest.serve(&mut block), done(IOERR, 1));
    // Zeroes are written out; a discard is only advice.
    for (command, sector, status) in [
        (VIRTIO_BLK_T_WRITE_ZEROES, 0, OK),
        (VIRTIO_BLK_T_WRITE_ZEROES, 120, IOERR),
        (VIRTIO_BLK_T_DISCARD, 120, OK),
    ] {
        let data = ranges(&guest, &[(sector, 16, 0)]);
        guest.ask(command, 0, data, false);
        assert_eq!(guest.serve(&mut block), done(status, 1));
    }
}

#[test]
fn without_flush_a_write_is_durable_before_it_is_completed() {
    let (mut guest, mut block) = (Guest::new(), disk_on(Box::new(Failing(u64::MAX))));
    guest.ask(VIRTIO_BLK_T_OUT, 0, 512, false);
    assert_eq!(guest.serve(&mut block), done(OK, 1));
    block.accept(!(1 << VIRTIO_BLK_F_FLUSH));
    guest.ask(VIRTIO_BLK_T_OUT, 0, 512, false);
    assert_eq!(guest.serve(&mut block), done(IOERR, 1)); // this medium can't flush
}
