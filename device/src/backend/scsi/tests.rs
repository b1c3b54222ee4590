//! What becomes of commands, task management and events.

use super::super::one::{Became, give, give_parts};
use super::*;
use crate::shape::Kind;
use crate::spec::ScsiConfig;

const SECTORS: u64 = 512;
const LUN: [u8; 8] = [1, 0, 0x40, 0, 0, 0, 0, 0];
const ANSWER: usize = 12 + 96;

fn host() -> Scsi {
    let shape = Shape::new(Kind::Scsi);
    let file = Box::new(tempfile::tempfile().unwrap());
    let mut scsi = Scsi::new(&shape, SECTORS, "disk-0", file);
    scsi.accept(u64::MAX);
    scsi
}

fn request(lun: [u8; 8], cdb: &[u8]) -> Vec<u8> {
    let mut bytes = [0; 19 + 32];
    bytes[..8].copy_from_slice(&lun);
    bytes[19..19 + cdb.len()].copy_from_slice(cdb);
    bytes.to_vec()
}

/// An answer: response, status, sense (key, code, qualifier), residual, data.
#[derive(Debug, PartialEq)]
struct Answer {
    response: u8,
    status: u8,
    sense: Option<(u8, u8, u8)>,
    residual: u32,
    data: Vec<u8>,
}

fn answer(became: Became) -> Answer {
    let bytes = became.bytes();
    let told = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    let sense = (told > 0).then(|| {
        assert_eq!(told, 18);
        (bytes[14], bytes[24], bytes[25])
    });
    Answer {
        response: bytes[11],
        status: bytes[10],
        sense,
        residual: u32::from_le_bytes(bytes[4..8].try_into().unwrap()),
        data: bytes[ANSWER..].to_vec(),
    }
}

fn ask(scsi: &mut Scsi, cdb: &[u8], room: u32) -> Answer {
    let sent = request(LUN, cdb);
    answer(give_parts(scsi, 2, &[&sent], &[ANSWER as u32, room]))
}

fn write(scsi: &mut Scsi, cdb: &[u8], data: &[u8]) -> Answer {
    let sent = request(LUN, cdb);
    answer(give_parts(scsi, 2, &[&sent, data], &[ANSWER as u32]))
}

fn good(residual: u32, data: &[u8]) -> Answer {
    Answer {
        response: 0,
        status: 0,
        sense: None,
        residual,
        data: data.to_vec(),
    }
}

fn check(sense: (u8, u8, u8), residual: u32) -> Answer {
    Answer {
        status: 2,
        sense: Some(sense),
        ..good(residual, &[])
    }
}

const READY: [u8; 6] = [0; 6];
const FIELD: (u8, u8, u8) = (5, 0x24, 0);

#[test]
fn what_was_written_reads_back_by_every_form_of_the_commands() {
    let mut scsi = host();
    let data: Vec<u8> = (0..1024u32).map(|n| (n % 251) as u8).collect();
    let forms: [(&[u8], &[u8]); 4] = [
        (&[0x0a, 0, 0, 9, 2, 0], &[0x08, 0, 0, 9, 2, 0]),
        (
            &[0x2a, 0, 0, 0, 0, 20, 0, 0, 2, 0],
            &[0x28, 0, 0, 0, 0, 20, 0, 0, 2, 0],
        ),
        (
            &[0xaa, 8, 0, 0, 0, 30, 0, 0, 0, 2, 0, 0],
            &[0xa8, 0, 0, 0, 0, 30, 0, 0, 0, 2, 0, 0],
        ),
        (
            &[0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 2, 0, 0],
            &[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 2, 0, 0],
        ),
    ];
    for (to, from) in forms {
        assert_eq!(write(&mut scsi, to, &data), good(0, &[]));
        assert_eq!(ask(&mut scsi, from, 1024), good(0, &data));
        assert_eq!(
            ask(&mut scsi, from, 2000),
            good(976, &data),
            "a longer buffer"
        );
        assert_eq!(ask(&mut scsi, from, 1023).response, 1, "overrun");
    }
    assert_eq!(
        ask(&mut scsi, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0),
        good(0, &[])
    );
    assert_eq!(
        ask(&mut scsi, &[0x2f, 0, 0, 0, 0, 20, 0, 0, 2, 0], 0),
        good(0, &[])
    );
}

#[test]
fn what_lies_behind_the_end_is_refused() {
    let mut scsi = host();
    let range = (5, 0x21, 0);
    assert_eq!(
        ask(&mut scsi, &[0x28, 0, 0, 0, 1, 0xff, 0, 0, 2, 0], 1024),
        check(range, 1024)
    );
    let far = [
        0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, 0, 0,
    ];
    assert_eq!(ask(&mut scsi, &far, 1024), check(range, 1024));
    assert_eq!(
        ask(&mut scsi, &[0x28, 0, 0, 0, 2, 0, 0, 0, 0, 0], 0),
        good(0, &[])
    );
    // Of the short form 0 blocks are 256.
    assert_eq!(
        ask(&mut scsi, &[0x08, 0, 1, 0, 0, 0], 256 * 512).data.len(),
        256 * 512
    );
    assert_eq!(ask(&mut scsi, &[0x08, 0, 1, 1, 0, 0], 0), check(range, 0));
}

#[test]
fn the_disk_tells_what_it_is() {
    let mut scsi = host();
    let inquiry = ask(&mut scsi, &[0x12, 0, 0, 0, 96, 0], 96);
    assert_eq!((inquiry.residual, inquiry.data.len()), (60, 36));
    assert_eq!(inquiry.data[..5], [0, 0, 5, 2, 31]);
    assert_eq!(&inquiry.data[8..20], b"MISFIRE DISK");
    assert_eq!(ask(&mut scsi, &[0x12, 0, 0, 0, 5, 0], 5).data.len(), 5);
    assert_eq!(
        ask(&mut scsi, &[0x12, 0, 0x80, 0, 96, 0], 96),
        check(FIELD, 96)
    );
    let mut page = |number| ask(&mut scsi, &[0x12, 1, number, 0, 255, 0], 255);
    let pages = page(0).data;
    assert_eq!(pages[4..], [0, 0x80, 0x83, 0xb0, 0xb2]);
    for number in &pages[4..] {
        let data = page(*number).data;
        assert_eq!((data[1], usize::from(data[3]) + 4), (*number, data.len()));
    }
    assert_eq!(&page(0x80).data[4..10], b"disk-0");
    assert_eq!(page(0x55), check(FIELD, 255));
    let capacity = ask(&mut scsi, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8);
    assert_eq!(capacity, good(0, &[0, 0, 1, 255, 0, 0, 2, 0]));
    let cdb = [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];
    let capacity = ask(&mut scsi, &cdb, 32).data;
    assert_eq!(capacity[..12], [0, 0, 0, 0, 0, 0, 1, 255, 0, 0, 2, 0]);
    let luns = ask(&mut scsi, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0], 16);
    assert_eq!(
        luns,
        good(0, &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    );
    assert_eq!(
        ask(&mut scsi, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0], 16),
        check(FIELD, 16)
    );
    let pages = ask(&mut scsi, &[0x1a, 0, 0x3f, 0, 255, 0], 255).data;
    assert_eq!((pages[0], pages.len(), pages[4]), (23, 24, 8));
    let pages = ask(&mut scsi, &[0x5a, 0, 8, 0, 0, 0, 0, 0, 255, 0], 255).data;
    assert_eq!((pages[1], pages.len(), pages[8]), (26, 28, 8));
    assert_eq!(
        ask(&mut scsi, &[0x1a, 0, 1, 0, 255, 0], 255),
        check(FIELD, 255)
    );
    assert_eq!(
        ask(&mut scsi, &[0x03, 0, 0, 0, 18, 0], 18).data[..3],
        [0x70, 0, 0]
    );
    assert_eq!(ask(&mut scsi, &READY, 0), good(0, &[]));
    assert_eq!(ask(&mut scsi, &[0xff], 0), check((5, 0x20, 0), 0));
}

#[test]
fn only_the_unit_that_is_there_is_found() {
    let mut scsi = host();
    let mut to = |lun, cdb: &[u8]| {
        let sent = request(lun, cdb);
        answer(give_parts(&mut scsi, 2, &[&sent], &[ANSWER as u32, 64]))
    };
    for lun in [[1, 0, 0, 0, 0, 0, 0, 0], LUN] {
        assert_eq!(to(lun, &READY), good(64, &[]));
    }
    for lun in [
        [1, 1, 0, 0, 0, 0, 0, 0],
        [0; 8],
        [1, 0, 0, 0, 1, 0, 0, 0],
        [0xff; 8],
    ] {
        assert_eq!(to(lun, &READY).response, 3, "{lun:?}: bad target");
    }
    for lun in [[1, 0, 0, 1, 0, 0, 0, 0], [1, 0, 0x40, 1, 0, 0, 0, 0]] {
        assert_eq!(to(lun, &READY), check((5, 0x25, 0), 64));
        assert_eq!(to(lun, &[0x12, 0, 0, 0, 36, 0]).data[0], 0x7f);
    }
    let well_known = [0xc1, 1, 0, 0, 0, 0, 0, 0];
    let cdb = [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0];
    assert_eq!(to(well_known, &cdb).data.len(), 16);
    assert_eq!(to(well_known, &READY), check((5, 0x25, 0), 64));
}

#[test]
fn blocks_are_forgotten_in_ranges_that_are_all_checked_first() {
    let mut scsi = host();
    write(&mut scsi, &[0x2a, 0, 0, 0, 0, 8, 0, 0, 8, 0], &[7; 4096]);
    let list = |ranges: &[(u64, u32)]| {
        let bytes = 16 * ranges.len() as u16;
        let mut list = [
            &(bytes + 6).to_be_bytes()[..],
            &bytes.to_be_bytes(),
            &[0; 4],
        ]
        .concat();
        for (block, blocks) in ranges {
            list.extend(block.to_be_bytes());
            list.extend(blocks.to_be_bytes());
            list.extend([0; 4]);
        }
        list
    };
    let unmap = |length: usize| [0x42, 0, 0, 0, 0, 0, 0, 0, length as u8, 0];
    let wrong = list(&[(8, 8), (511, 2)]);
    assert_eq!(
        write(&mut scsi, &unmap(wrong.len()), &wrong),
        check((5, 0x21, 0), 40)
    );
    let read = [0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0];
    assert_eq!(ask(&mut scsi, &read, 4096).data, [7; 4096]);
    let right = list(&[(8, 8), (0, 0)]);
    assert_eq!(write(&mut scsi, &unmap(right.len()), &right), good(0, &[]));
    assert_eq!(write(&mut scsi, &unmap(200), &right).response, 1, "overrun");
    assert_eq!(write(&mut scsi, &unmap(7), &right), check((5, 0x1a, 0), 40));
    let many = list(&[(0, 1); 9]);
    assert_eq!(
        write(&mut scsi, &unmap(many.len()), &many).sense,
        Some((5, 0x26, 0))
    );
}

#[test]
fn a_request_that_is_not_as_it_should_be_fails_and_one_without_an_answer_breaks_the_queue() {
    let mut scsi = host();
    let sent = request(LUN, &READY);
    let response = |became: Became| became.bytes()[11];
    assert_eq!(response(give(&mut scsi, 2, &sent[..50], ANSWER as u32)), 9);
    assert_eq!(
        response(give(&mut scsi, 2, &sent, 12)),
        9,
        "no room for sense data"
    );
    assert_eq!(
        response(give(&mut scsi, 2, &[&sent[..], &[0; 8]].concat(), 200)),
        9,
        "both ways"
    );
    assert_eq!(give(&mut scsi, 2, &sent, 11), Became::Broken);
    assert_eq!(give(&mut scsi, 2, &[], 11), Became::Broken);
}

#[test]
fn the_driver_decides_how_long_commands_and_sense_data_are() {
    let mut scsi = host();
    scsi.written(0x14, &18u32.to_le_bytes());
    scsi.written(0x18, &16u32.to_le_bytes());
    scsi.written(0x04, &1u32.to_le_bytes());
    assert_eq!(scsi.configuration().get(ScsiConfig::SenseSize), 18);
    assert_ne!(scsi.configuration().get(ScsiConfig::SegMax), 1);
    let sent = &request(LUN, &[0x12, 0, 0, 0, 36, 0])[..19 + 16];
    let bytes = give(&mut scsi, 2, sent, 30 + 36).bytes();
    assert_eq!(
        (bytes.len(), bytes[11], &bytes[38..45]),
        (66, 0, &b"MISFIRE"[..])
    );
    // More than any driver can mean.
    scsi.written(0x14, &u32::MAX.to_le_bytes());
    assert_eq!(give(&mut scsi, 2, sent, 5000).bytes()[11], 9);
}

fn manage(scsi: &mut Scsi, function: u32, lun: [u8; 8]) -> u8 {
    let sent = [&[0; 4][..], &function.to_le_bytes(), &lun, &[0; 8]].concat();
    match give(scsi, 0, &sent, 1) {
        Became::Used(1, response) => response[0],
        other => panic!("{other:?}"),
    }
}

#[test]
fn tasks_are_managed() {
    let mut scsi = host();
    for (function, response) in [(0, 0), (1, 0), (2, 11), (3, 0), (6, 0), (7, 0), (8, 11)] {
        assert_eq!(manage(&mut scsi, function, LUN), response, "{function}");
    }
    for function in [4, 5] {
        assert_eq!(manage(&mut scsi, function, LUN), 0);
        assert_eq!(ask(&mut scsi, &[0x12, 0, 0, 0, 36, 0], 36).status, 0);
        assert_eq!(ask(&mut scsi, &READY, 0), check((6, 0x29, 0), 0));
        assert_eq!(ask(&mut scsi, &READY, 0), good(0, &[]));
    }
    assert_eq!(manage(&mut scsi, 5, [1, 0, 0, 1, 0, 0, 0, 0]), 12);
    assert_eq!(manage(&mut scsi, 5, [1, 9, 0, 0, 0, 0, 0, 0]), 3);
    let query = [&[1, 0, 0, 0][..], &LUN, &[0xff; 4]].concat();
    assert_eq!(give(&mut scsi, 0, &query, 5).bytes(), [0; 5]);
    assert_eq!(give(&mut scsi, 0, &[9, 0, 0, 0], 1).bytes(), [9]);
    assert_eq!(give(&mut scsi, 0, &[0, 0], 1).bytes(), [9]);
    assert_eq!(give(&mut scsi, 0, &query, 0), Became::Broken);
}

fn host_says(scsi: &mut Scsi, command: &str, args: &str) {
    let args = args.parse::<toml::Table>().unwrap().into_iter().collect();
    scsi.command(&Host {
        command: command.into(),
        args,
    });
}

fn event(kind: u32, reason: u32) -> Became {
    let bytes = [
        &kind.to_le_bytes()[..],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &reason.to_le_bytes(),
    ];
    Became::Used(16, bytes.concat())
}

#[test]
fn a_new_capacity_is_an_event_and_wants_attention() {
    let mut scsi = host();
    assert_eq!(give(&mut scsi, 1, &[], 16), Became::Waits);
    host_says(&mut scsi, "cfg.change", "capacity = 1024");
    assert_eq!(scsi.offer_mut().take_woken(), 1 << 1);
    assert_eq!(give(&mut scsi, 1, &[], 16), event(3, 0x092a));
    assert_eq!(give(&mut scsi, 1, &[], 16), Became::Waits);
    assert_eq!(ask(&mut scsi, &READY, 0), check((6, 0x2a, 9), 0));
    let capacity = ask(&mut scsi, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8).data;
    assert_eq!(capacity[..4], 1023u32.to_be_bytes());
    host_says(&mut scsi, "cfg.change", "capacity = 1024");
    assert_eq!(
        give(&mut scsi, 1, &[], 16),
        Became::Waits,
        "nothing changed"
    );
}

#[test]
fn a_disk_that_goes_and_comes_is_an_event() {
    let mut scsi = host();
    host_says(&mut scsi, "disk.unplug", "");
    host_says(&mut scsi, "disk.unplug", "");
    assert_eq!(give(&mut scsi, 1, &[], 16), event(1, 2));
    assert_eq!(give(&mut scsi, 1, &[], 16), Became::Waits);
    assert_eq!(ask(&mut scsi, &READY, 0).response, 3);
    host_says(&mut scsi, "disk.plug", "");
    assert_eq!(give(&mut scsi, 1, &[], 16), event(1, 1));
    assert_eq!(ask(&mut scsi, &READY, 0), check((6, 0x3f, 0x0e), 0));
}

#[test]
fn events_that_nobody_fetches_are_lost_and_that_is_told() {
    let mut scsi = host();
    for n in 1..10 {
        host_says(&mut scsi, "cfg.change", &format!("capacity = {n}"));
    }
    assert_eq!(give(&mut scsi, 1, &[], 16), event(3 | 1 << 31, 0x092a));
    for _ in 0..3 {
        assert_eq!(give(&mut scsi, 1, &[], 16), event(3, 0x092a));
    }
    assert_eq!(give(&mut scsi, 1, &[], 16), Became::Waits);
    assert_eq!(give(&mut scsi, 1, &[], 4).bytes(), [0; 4], "a short buffer");
    let mut scsi = host();
    scsi.accept(0);
    host_says(&mut scsi, "disk.unplug", "");
    assert_eq!(
        give(&mut scsi, 1, &[], 16),
        Became::Waits,
        "HOTPLUG was not agreed on"
    );
}

#[test]
fn each_of_several_disks_has_its_own_data_serial_number_and_attention() {
    let mut shape = Shape::new(Kind::Scsi);
    shape.units = 3;
    assert_eq!(super::value(ScsiConfig::MaxLun, &shape), 2);
    let file = Box::new(tempfile::tempfile().unwrap());
    let mut scsi = Scsi::new(&shape, SECTORS, "disk-0", file);
    scsi.accept(u64::MAX);
    let unit = |unit: u8| [1, 0, 0x40, unit, 0, 0, 0, 0];
    let mut ask_unit = |number: u8, cdb: &[u8], room: u32| {
        let sent = request(unit(number), cdb);
        answer(give_parts(&mut scsi, 2, &[&sent], &[ANSWER as u32, room]))
    };
    let luns = ask_unit(0, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 64).data;
    assert_eq!((luns[3], luns[9], luns[17], luns[25]), (24, 0, 1, 2));
    let serial = |page: Answer| page.data[4..24].to_vec();
    let mut serial_of = |number| serial(ask_unit(number, &[0x12, 1, 0x80, 0, 255, 0], 255));
    assert_eq!(&serial_of(0)[..7], b"disk-0 ");
    assert_eq!(&serial_of(2)[..8], b"disk-0-2");
    assert_eq!(ask_unit(3, &READY, 0), check((5, 0x25, 0), 0));
    let read = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    for number in 0..3 {
        let sent = request(unit(number), &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        give_parts(&mut scsi, 2, &[&sent, &[number + 1; 512]], &[ANSWER as u32]);
    }
    for number in 0..3 {
        let sent = request(unit(number), &read);
        let parts = give_parts(&mut scsi, 2, &[&sent], &[ANSWER as u32, 512]);
        assert_eq!(answer(parts).data, [number + 1; 512]);
    }
    // A unit's reset is told by that unit alone.
    let mut task = [0; 24];
    task[4] = scsi::VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET as u8;
    task[8..16].copy_from_slice(&unit(1));
    assert_eq!(give(&mut scsi, 0, &task, 1).bytes(), [0]);
    let mut ready = |number| {
        answer(give_parts(
            &mut scsi,
            2,
            &[&request(unit(number), &READY)],
            &[ANSWER as u32],
        ))
    };
    assert_eq!(ready(0).sense, None);
    assert_eq!(ready(1).sense.map(|sense| sense.0), Some(6));
    assert_eq!(ready(2).sense, None);
}
