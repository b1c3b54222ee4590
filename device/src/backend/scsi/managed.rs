//! What becomes of commands that the driver does not have back when it manages them.

use super::super::guest::{DATA, DESC, Guest, NEXT, WRITE};
use super::super::{Chain, peek, take};
use super::tasks::Which;
use super::*;
use crate::shape::Kind;

const LUN: [u8; 8] = [1, 0, 0x40, 0, 0, 0, 0, 0];
const SAME: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];
const OTHER: [u8; 8] = [1, 0, 0x40, 1, 0, 0, 0, 0];
const ABORTED: u8 = 2;
const RESET: u8 = 4;
const SUCCEEDED: u8 = 10;

/// A host, and a driver that has sent commands with the ids 0, 1 and 2 and has none of them back.
struct Rig {
    scsi: Scsi,
    guest: Guest,
}

impl Rig {
    fn new() -> Self {
        let shape = Shape::new(Kind::Scsi);
        let file = Box::new(tempfile::tempfile().unwrap());
        let mut scsi = Scsi::new(&shape, 64, "disk-0", file);
        scsi.accept(u64::MAX);
        let mut rig = Self {
            scsi,
            guest: Guest::new(),
        };
        for (id, lun) in [(0, LUN), (1, SAME), (2, LUN), (3, OTHER)] {
            let mut sent = [0; 51];
            sent[..8].copy_from_slice(&lun);
            sent[8] = id;
            rig.send(2, u16::from(id), &sent, 108);
            assert_eq!(rig.response(id), 0);
        }
        rig
    }

    fn answer_of(head: u16) -> u64 {
        DATA + 0x1000 * u64::from(head) + 0x800
    }

    /// Has a request served, and not used.
    fn send(&mut self, queue: u16, head: u16, bytes: &[u8], room: u32) {
        let at = DATA + 0x1000 * u64::from(head);
        let first = 10.min(room);
        self.guest.put(at, bytes);
        let last = if room > first { NEXT } else { 0 };
        let mut all = vec![
            (at, bytes.len() as u32, NEXT, 1),
            (at + 0x800, first, last | WRITE, 2),
        ];
        if room > first {
            all.push((at + 0x800 + u64::from(first), room - first, WRITE, 0));
        }
        for (n, descriptor) in all.iter_mut().enumerate() {
            descriptor.3 = head + n as u16 * 5 + 5;
            let place = DESC + 16 * u64::from(head + n as u16 * 5);
            self.guest.descriptors(place, &[*descriptor]);
        }
        self.guest.offer(head);
        let mut chain = Chain::default();
        assert!(peek(&mut self.guest.queue, &self.guest.memory, &mut chain).unwrap());
        let memory = &self.guest.memory;
        assert_eq!(self.scsi.look(memory, queue, &chain), Ok(Look::Take));
        self.scsi.serve(memory, queue, &chain).unwrap();
        take(&mut self.guest.queue);
    }

    /// The response that stands in the answer to the command with this id.
    fn response(&self, id: u8) -> u8 {
        self.guest.get(Self::answer_of(id.into()) + 11, 1)[0]
    }

    fn responses(&self) -> [u8; 3] {
        [0, 1, 2].map(|id| self.response(id))
    }

    fn manage(&mut self, function: u32, id: u8) -> u8 {
        let mut sent = [0; 24];
        sent[4] = function as u8;
        sent[8..16].copy_from_slice(&LUN);
        sent[16] = id;
        self.send(0, 4, &sent, 1);
        self.guest.get(Self::answer_of(4), 1)[0]
    }
}

#[test]
fn a_task_that_is_aborted_ends_before_the_function_does_and_alone() {
    let mut rig = Rig::new();
    let abort = scsi::VIRTIO_SCSI_T_TMF_ABORT_TASK;
    assert_eq!(rig.manage(abort, 1), 0);
    assert_eq!(rig.responses(), [0, ABORTED, 0]);
    let query = scsi::VIRTIO_SCSI_T_TMF_QUERY_TASK;
    assert_eq!(rig.manage(query, 1), 0, "it is over");
    assert_eq!(rig.manage(query, 2), SUCCEEDED);
    assert_eq!(rig.manage(query, 3), 0, "of another unit");
    assert_eq!(rig.responses(), [0, ABORTED, 0], "only asked");
}

#[test]
fn a_set_of_tasks_is_aborted_and_a_reset_ends_every_task() {
    for (function, response) in [
        (scsi::VIRTIO_SCSI_T_TMF_ABORT_TASK_SET, ABORTED),
        (scsi::VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET, ABORTED),
        (scsi::VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, RESET),
        (scsi::VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, RESET),
    ] {
        let mut rig = Rig::new();
        let query = scsi::VIRTIO_SCSI_T_TMF_QUERY_TASK_SET;
        assert_eq!(rig.manage(query, 77), SUCCEEDED);
        assert_eq!(rig.manage(function, 77), 0);
        assert_eq!(rig.responses(), [response; 3], "{function}");
        assert_eq!(rig.manage(query, 77), 0, "none is left");
    }
}

#[test]
fn what_the_driver_has_back_is_not_touched() {
    let reset = scsi::VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET;
    let mut rig = Rig::new();
    rig.scsi.used(2, 1);
    rig.scsi.used(3, 0);
    assert_eq!(rig.manage(reset, 0), 0);
    assert_eq!(rig.responses(), [RESET, 0, RESET]);
    for end in [
        |scsi: &mut Scsi| scsi.stopped(2),
        |scsi: &mut Scsi| scsi.accept(u64::MAX),
    ] {
        let mut rig = Rig::new();
        end(&mut rig.scsi);
        assert_eq!(rig.manage(reset, 0), 0);
        assert_eq!(rig.responses(), [0; 3]);
    }
}

#[test]
fn the_commands_that_are_kept_have_a_bound() {
    let mut tasks = Tasks::default();
    for id in 0..100_000 {
        tasks.finished(
            (id >> 15) as u16,
            id as u16,
            (0, id, vm_memory::GuestAddress(0)),
        );
    }
    assert!(tasks.has(Which::Id(0, 0)));
    assert!(!tasks.has(Which::Id(0, 99_999)));
}
