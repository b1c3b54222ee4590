//! A packed ring with a model of a driver at its other end, and with a hostile one.

use proptest::prelude::*;
use virtio_bindings::virtio_blk::*;
use vm_memory::{Bytes, GuestAddress};

use super::guest::*;
use super::tests::{OK, disk};
use super::{Block, BrokenRing, Chain, Device, Look, Packed};
use crate::trace::{Effect, QueueSetup, RingWrite};

const AVAILABLE: u16 = 1 << 7;
const USED_FLAG: u16 = 1 << 15;
const WRAP: u16 = 1 << 15;

/// A driver of a packed ring of `size` elements; the ring lies at `DESC`.
struct Driver {
    guest: Guest,
    ring: Packed,
    size: u16,
    event_idx: bool,
    next: u16,
    wrap: bool,
    used: u16,
    used_wrap: bool,
    /// Descriptors of each buffer that is in flight, by id; oldest first.
    held: Vec<(u16, u16)>,
}

impl Driver {
    fn new(size: u16, event_idx: bool) -> Self {
        let setup = QueueSetup {
            index: 0,
            size,
            desc: DESC,
            driver: AVAIL,
            device: USED,
            vector: 0,
        };
        Self {
            guest: Guest::new(),
            ring: Packed::new(setup, event_idx, WRAP),
            size,
            event_idx,
            next: 0,
            wrap: true,
            used: 0,
            used_wrap: true,
            held: Vec::new(),
        }
    }

    fn write(&self, at: u16, (address, length, flags): (u64, u32, u16), id: u16, wrap: bool) {
        let mark = if wrap { AVAILABLE } else { USED_FLAG };
        // Packed: id and flags have changed places.
        let row = (address, length, id, flags | mark);
        self.guest.descriptors(DESC + 16 * u64::from(at), &[row]);
    }

    /// Makes a list available, its first descriptor last. Returns whether the device wants to know.
    fn offer(&mut self, id: u16, list: &[(u64, u32, u16)]) -> bool {
        let (first, first_wrap) = (self.next, self.wrap);
        let old = self.place();
        for (i, (address, length, flags)) in list.iter().enumerate() {
            let more = if i + 1 < list.len() { NEXT } else { 0 };
            if i > 0 {
                self.write(self.next, (*address, *length, flags | more), id, self.wrap);
            }
            self.next += 1;
            if self.next == self.size {
                (self.next, self.wrap) = (0, !self.wrap);
            }
        }
        let (address, length, flags) = list[0];
        let more = if list.len() > 1 { NEXT } else { 0 };
        self.write(first, (address, length, flags | more), id, first_wrap);
        self.held.push((id, list.len() as u16));
        self.wanted(old)
    }

    fn place(&self) -> u16 {
        self.next | if self.wrap { WRAP } else { 0 }
    }

    /// Whether the device asked for a notification of what came since `old` (2.8.10).
    fn wanted(&self, old: u16) -> bool {
        let word = |at| -> u16 { self.guest.memory.read_obj(GuestAddress(USED + at)).unwrap() };
        let line = |place: u16| {
            i32::from(place & !WRAP)
                + if place & WRAP != 0 {
                    0
                } else {
                    i32::from(self.size)
                }
        };
        let all = 2 * i32::from(self.size);
        let ahead = |from: u16, to: u16| (line(to) - line(from)).rem_euclid(all);
        match word(2) {
            0 => true,
            2 if self.event_idx => ahead(old, word(0)) < ahead(old, self.place()),
            flags => panic!("the device says {flags}"),
        }
    }

    /// What the backend does with the next list, if there is one.
    fn serve(&mut self, block: &mut Block) -> Result<bool, BrokenRing> {
        let memory = &self.guest.memory;
        let mut chain = Chain::default();
        if !self.ring.peek(memory, &mut chain)? {
            return Ok(false);
        }
        let head = chain.head();
        let broken = |source| BrokenRing::Chain { head, source };
        assert_eq!(block.look(memory, 0, &chain).map_err(broken)?, Look::Take);
        let len = block.serve(memory, 0, &chain).map_err(broken)?;
        self.ring.take();
        self.ring.settle(memory, head, len)?;
        Ok(true)
    }

    /// Takes the next used buffer: its id, and the bytes that were written.
    fn take(&mut self) -> Option<(u16, u32)> {
        let at = DESC + 16 * u64::from(self.used);
        let flags: u16 = self.guest.memory.read_obj(GuestAddress(at + 14)).unwrap();
        let both = if self.used_wrap {
            AVAILABLE | USED_FLAG
        } else {
            0
        };
        if self.held.is_empty() || flags & (AVAILABLE | USED_FLAG) != both {
            return None;
        }
        let len = self.guest.memory.read_obj(GuestAddress(at + 8)).unwrap();
        let id = self.guest.memory.read_obj(GuestAddress(at + 12)).unwrap();
        let (_, slots) = self.held.remove(0);
        self.used += slots;
        if self.used >= self.size {
            self.used -= self.size;
            self.used_wrap = !self.used_wrap;
        }
        Some((id, len))
    }

    /// Asks for interrupts: 0 always, 1 never, 2 when the buffer at a place is used.
    fn ask(&self, flags: u16, place: u16) {
        self.guest.put(AVAIL, &place.to_le_bytes());
        self.guest.put(AVAIL + 2, &flags.to_le_bytes());
    }

    fn wants_interrupt(&mut self) -> bool {
        self.ring.needs_interrupt(&self.guest.memory).unwrap()
    }
}

fn flush() -> [(u64, u32, u16); 2] {
    [(HEADER, 16, 0), (STATUS, 1, WRITE)]
}

#[test]
fn lists_go_round_the_ring_and_come_back_with_their_ids() {
    for size in [2, 3, 5, 16, 100] {
        let (mut driver, mut block) = (Driver::new(size, false), disk());
        driver.guest.header(VIRTIO_BLK_T_FLUSH, 0);
        for turn in 0..3 * size {
            assert!(driver.offer(turn, &flush()));
            assert_eq!(driver.serve(&mut block), Ok(true), "size {size}");
            assert_eq!(driver.serve(&mut block), Ok(false));
            assert_eq!(driver.take(), Some((turn, 1)), "size {size}, turn {turn}");
            assert_eq!(driver.take(), None);
            assert_eq!(driver.guest.status(), OK);
            driver.guest.put(STATUS, &[0xee]);
        }
    }
}

#[test]
fn a_table_takes_one_place_in_the_ring() {
    let (mut driver, mut block) = (Driver::new(4, false), disk());
    driver.guest.header(VIRTIO_BLK_T_IN, 1);
    let rows = [
        (HEADER, 16, 9, 0),
        (DATA, 512, 9, WRITE),
        (STATUS, 1, 9, WRITE),
    ];
    driver.guest.descriptors(TABLE, &rows);
    for id in 0..9 {
        driver.offer(id, &[(TABLE, 48, INDIRECT)]);
        assert_eq!(driver.serve(&mut block), Ok(true));
        assert_eq!(driver.take(), Some((id, 513)));
    }
}

/// What the driver finds at a place: id and length, if it is used there.
fn used_at(driver: &Driver, at: u16, wrap: bool) -> Option<(u16, u32)> {
    let at = DESC + 16 * u64::from(at);
    let flags: u16 = driver.guest.memory.read_obj(GuestAddress(at + 14)).unwrap();
    let both = if wrap { AVAILABLE | USED_FLAG } else { 0 };
    (flags & (AVAILABLE | USED_FLAG) == both).then(|| {
        let len = driver.guest.memory.read_obj(GuestAddress(at + 8)).unwrap();
        let id = driver.guest.memory.read_obj(GuestAddress(at + 12)).unwrap();
        (id, len)
    })
}

/// The device takes what was made available and makes nothing used.
fn take_all(driver: &mut Driver) {
    let mut chain = Chain::default();
    while driver.ring.peek(&driver.guest.memory, &mut chain).unwrap() {
        driver.ring.take();
    }
}

fn complete(id: u32, len: u32) -> Effect {
    Effect::Complete { queue: 0, id, len }
}

fn ring(write: RingWrite) -> Effect {
    Effect::Ring { queue: 0, write }
}

#[test]
fn lists_that_were_taken_come_back_in_any_order_each_with_its_descriptors() {
    let mut driver = Driver::new(8, false);
    driver.offer(1, &flush());
    driver.offer(2, &[(TABLE, 16, INDIRECT)]);
    driver.offer(
        3,
        &[(HEADER, 16, 0), (DATA, 512, WRITE), (STATUS, 1, WRITE)],
    );
    driver.guest.descriptors(TABLE, &[(STATUS, 1, 0, WRITE)]);
    take_all(&mut driver);
    assert_eq!(driver.ring.base(), 6 | WRAP);
    assert_eq!(used_at(&driver, 0, true), None, "taken is not used");
    let effects = [complete(3, 513), complete(1, 1), complete(2, 0)];
    let memory = &driver.guest.memory;
    assert_eq!(driver.ring.write_used(memory, &effects), Ok(true));
    for (at, used) in [(0, (3, 513)), (3, (1, 1)), (5, (2, 0))] {
        assert_eq!(used_at(&driver, at, true), Some(used), "at {at}");
    }
}

#[test]
fn what_a_device_says_of_no_list_takes_one_descriptor_and_the_rest_goes_on() {
    let mut driver = Driver::new(4, false);
    driver.offer(1, &flush());
    driver.offer(2, &flush());
    take_all(&mut driver);
    let effects = [
        complete(9, 1),
        ring(RingWrite::Flags(1)),
        complete(1, 7),
        ring(RingWrite::Jump(2)),
        ring(RingWrite::AvailEvent(3 | WRAP)),
        complete(0x1_0002, 8),
    ];
    let memory = &driver.guest.memory;
    assert_eq!(driver.ring.write_used(memory, &effects), Ok(true));
    let used = [(0, true), (1, true), (1, false)].map(|(at, wrap)| used_at(&driver, at, wrap));
    assert_eq!(used, [Some((9, 1)), None, Some((2, 8))]);
    assert_eq!(driver.guest.get(USED, 4), [3, 0x80, 1, 0]);
    let only = [ring(RingWrite::Flags(0))];
    let memory = &driver.guest.memory;
    assert_eq!(
        driver.ring.write_used(memory, &only),
        Ok(false),
        "nothing was used"
    );
}

#[test]
fn the_driver_is_interrupted_as_it_asks() {
    let (mut driver, mut block) = (Driver::new(4, true), disk());
    driver.guest.header(VIRTIO_BLK_T_FLUSH, 0);
    let mut use_one = |driver: &mut Driver| {
        driver.offer(0, &flush());
        driver.serve(&mut block).unwrap();
        driver.take().unwrap();
        driver.wants_interrupt()
    };
    driver.ask(1, 0);
    assert!(!use_one(&mut driver));
    driver.ask(0, 0);
    assert!(use_one(&mut driver));
    driver.ask(2, 2);
    assert!(!use_one(&mut driver), "offset 0, and the wrap counter is 0");
    assert!(use_one(&mut driver), "offset 2");
    assert!(!use_one(&mut driver), "it is past");
    driver.ask(3, 0);
    assert!(use_one(&mut driver), "what is reserved is no suppression");
}

#[test]
fn lists_that_no_driver_may_make_break_the_ring() {
    let far = MEMORY as u64;
    let cases: [&[(u64, u32, u16)]; 5] = [
        &[(TABLE, 16, INDIRECT), (STATUS, 1, WRITE)],
        &[(TABLE, 17, INDIRECT)],
        &[(TABLE, 16 * 5, INDIRECT)],
        &[(far, 16, INDIRECT)],
        &[(HEADER, u32::MAX, 0), (STATUS, 2, WRITE)],
    ];
    for case in cases {
        let (mut driver, mut block) = (Driver::new(4, false), disk());
        driver.guest.header(VIRTIO_BLK_T_FLUSH, 0);
        driver.offer(7, case);
        assert!(driver.serve(&mut block).is_err(), "{case:?}");
        assert_eq!(driver.take(), None);
    }
    let (mut driver, mut block) = (Driver::new(4, false), disk());
    for at in 0..4 {
        driver.write(at, (HEADER, 16, NEXT), 0, true);
    }
    assert!(driver.serve(&mut block).is_err(), "a list without an end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_disk_behind_a_packed_ring_is_what_was_written_to_it(
        size in 4..20u16,
        event_idx in any::<bool>(),
        requests in prop::collection::vec((any::<bool>(), 0..8u64, any::<u8>(), any::<bool>(), any::<bool>()), 1..60),
    ) {
        let (mut driver, mut block) = (Driver::new(size, event_idx), disk());
        let mut model = [0u8; 8];
        let mut kicked = true;
        for (i, (write, sector, fill, table, ask)) in requests.into_iter().enumerate() {
            let (number, flag) = if write { (VIRTIO_BLK_T_OUT, 0) } else { (VIRTIO_BLK_T_IN, WRITE) };
            driver.guest.put(DATA, &[if write { fill } else { 0xee }; 512]);
            driver.guest.header(number, sector);
            let place = driver.used | if driver.used_wrap { WRAP } else { 0 };
            driver.ask(if ask && event_idx { 2 } else { 0 }, place);
            let id = i as u16;
            let told = if table {
                driver.guest.descriptors(TABLE, &[(HEADER, 16, 0, 0), (DATA, 512, 0, flag), (STATUS, 1, 0, WRITE)]);
                driver.offer(id, &[(TABLE, 48, INDIRECT)])
            } else {
                driver.offer(id, &[(HEADER, 16, 0), (DATA, 512, flag), (STATUS, 1, WRITE)])
            };
            // The device is idle, so it must have asked to be told.
            prop_assert!(told || kicked);
            kicked = false;
            prop_assert_eq!(driver.serve(&mut block), Ok(true));
            prop_assert!(driver.wants_interrupt());
            prop_assert!(!driver.ring.enable_notification(&driver.guest.memory).unwrap());
            prop_assert_eq!(driver.take(), Some((id, if write { 1 } else { 513 })));
            prop_assert_eq!(driver.guest.status(), OK);
            if write {
                model[sector as usize] = fill;
            } else {
                prop_assert_eq!(driver.guest.get(DATA, 512), vec![model[sector as usize]; 512]);
            }
        }
    }

    #[test]
    fn no_packed_ring_can_do_harm(
        size in 1..20u16,
        bytes in prop::collection::vec(prop_oneof![4 => 0..8u8, 2 => Just(0x80), 1 => any::<u8>()], 16 * 20),
        wrap in any::<bool>(),
        areas in prop::collection::vec(prop_oneof![4 => Just(USED), 1 => Just(MEMORY as u64 - 2), 1 => any::<u64>()], 3),
        event_idx in any::<bool>(),
        (id, jump) in (0..4u16, any::<u16>()),
    ) {
        let (mut guest, mut block) = (Guest::new(), disk());
        let desc = if areas[2] == USED { DESC } else { areas[2] };
        let setup = QueueSetup { index: 0, size, desc, driver: areas[0], device: areas[1], vector: 0 };
        let base = if wrap { WRAP } else { 0 };
        let mut driver = Driver::new(size, event_idx);
        driver.ring = Packed::new(setup, event_idx, base);
        guest.put(DESC, &bytes);
        std::mem::swap(&mut driver.guest, &mut guest);
        for _ in 0..100 {
            let Ok(true) = driver.serve(&mut block) else { break };
            let _ = driver.ring.needs_interrupt(&driver.guest.memory);
            let effects = [complete(id.into(), 1), ring(RingWrite::Jump(jump))];
            let _ = driver.ring.write_used(&driver.guest.memory, &effects);
            let _ = driver.ring.enable_notification(&driver.guest.memory);
            prop_assert!(driver.ring.base() & !WRAP < size);
        }
    }
}
