//! What becomes of frames and commands.

use virtio_bindings::virtio_net as net;

use super::super::one::{Became, give, give_parts};
use super::*;
use crate::shape::Kind;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x4d, 0x46, 0];
const OTHER: [u8; 6] = [0x52, 0x54, 0, 0x4d, 0x46, 9];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 7];

fn interface(queues: u16, features: u64) -> Net {
    let mut net = Net::new(&Shape {
        queues,
        ..Shape::new(Kind::Net)
    });
    net.accept(features | 1 << VIRTIO_F_VERSION_1);
    net
}

fn frame(to: [u8; 6], kind: [u8; 2], rest: &[u8]) -> Vec<u8> {
    [&to[..], &OTHER, &kind, rest].concat()
}

fn plain(to: [u8; 6]) -> Vec<u8> {
    frame(to, [0x88, 0xb5], &[7; 46])
}

fn send(net: &mut Net, queue: u16, frame: &[u8]) -> Became {
    give_parts(net, queue, &[&[0; HEADER_BYTES], frame], &[])
}

fn receive(net: &mut Net, queue: u16) -> Option<Vec<u8>> {
    match give(net, queue, &[], 2048) {
        Became::Used(_, bytes) => Some(bytes[HEADER_BYTES..].to_vec()),
        Became::Waits => None,
        Became::Broken => panic!("broken"),
    }
}

/// Whether the command is obeyed.
fn command(net: &mut Net, queue: u16, kind: [u8; 2], data: &[u8]) -> bool {
    match give_parts(net, queue, &[&kind, data], &[1]) {
        Became::Used(1, ack) => ack == [0],
        other => panic!("{other:?}"),
    }
}

fn passes(net: &mut Net, frame: &[u8]) -> bool {
    assert_eq!(send(net, 1, frame), Became::Used(0, vec![]));
    match receive(net, 0) {
        Some(back) => back == frame,
        None => false,
    }
}

#[test]
fn a_legacy_driver_has_no_count_of_buffers_in_the_header_unless_they_may_be_merged() {
    for (features, bytes) in [(0, 10), (1 << net::VIRTIO_NET_F_MRG_RXBUF, 12)] {
        let mut net = interface(3, 0);
        net.accept(features);
        give_parts(&mut net, 1, &[&vec![0; bytes], &plain(MAC)], &[]);
        let back = give(&mut net, 0, &[], 2048).bytes();
        assert_eq!(back[bytes..], plain(MAC));
    }
}

#[test]
fn a_legacy_driver_may_write_the_address_until_the_next_reset() {
    let mut net = interface(3, u64::MAX);
    assert!(command(&mut net, 2, [0, 0], &[0]));
    for (at, byte) in OTHER.iter().enumerate() {
        net.written(at as u32, &[*byte]);
    }
    assert!(net.filter.passes(&plain(OTHER), &net.offer));
    assert!(!net.filter.passes(&plain(MAC), &net.offer));
    net.accept(0);
    assert_eq!(net.configuration().bytes()[..6], MAC);
}

#[test]
fn a_frame_comes_back_with_a_header_of_its_own_and_in_order() {
    let mut net = interface(3, u64::MAX);
    assert_eq!(give(&mut net, 0, &[], 2048), Became::Waits);
    for byte in 0..3 {
        send(&mut net, 1, &frame(MAC, [8, 0], &[byte; 60]));
    }
    assert_eq!(net.offer_mut().take_woken(), 1);
    for byte in 0..3 {
        let back = give(&mut net, 0, &[], 2048).bytes();
        assert_eq!(back[..HEADER_BYTES], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(back[HEADER_BYTES..], frame(MAC, [8, 0], &[byte; 60]));
    }
    assert_eq!(give(&mut net, 0, &[], 2048), Became::Waits);
}

#[test]
fn the_header_may_lie_in_the_buffer_of_the_frame_or_be_cut() {
    let mut net = interface(2, u64::MAX);
    let whole = [&[0; HEADER_BYTES][..], &plain(MAC)].concat();
    for cut in [0, 5, HEADER_BYTES, 40] {
        let (first, second) = whole.split_at(cut);
        assert_eq!(
            give_parts(&mut net, 1, &[first, second], &[]),
            Became::Used(0, vec![])
        );
        let back = give_parts(&mut net, 0, &[], &[7, 100]).bytes();
        assert_eq!(back[HEADER_BYTES..], plain(MAC));
    }
}

#[test]
fn the_longest_frame_passes_and_a_longer_a_shorter_and_one_for_hardware_do_not() {
    let mut net = interface(3, u64::MAX);
    let longest = frame(MAC, [8, 0], &[1; 1504]);
    assert!(passes(&mut net, &longest));
    let longer = [&longest[..], &[1]].concat();
    assert!(!passes(&mut net, &longer));
    assert!(!passes(&mut net, &longest[..13]));
    for header in [[1, 0], [0, 1]] {
        let header = [&header[..], &[0; HEADER_BYTES - 2]].concat();
        give_parts(&mut net, 1, &[&header, &plain(MAC)], &[]);
        assert_eq!(receive(&mut net, 0), None);
    }
    give(&mut net, 1, &[0; 5], 0);
    assert_eq!(receive(&mut net, 0), None);
}

#[test]
fn a_frame_that_does_not_fit_is_lost_and_the_buffer_waits_for_the_next() {
    let mut net = interface(3, u64::MAX);
    send(&mut net, 1, &frame(MAC, [8, 0], &[1; 1000]));
    assert_eq!(give(&mut net, 0, &[], 100), Became::Waits);
    send(&mut net, 1, &plain(MAC));
    assert_eq!(give(&mut net, 0, &[], 100).bytes().len(), HEADER_BYTES + 60);
}

#[test]
fn the_wire_has_an_end() {
    let mut net = interface(3, u64::MAX);
    let long = frame(MAC, [8, 0], &[1; 1500]);
    for _ in 0..1000 {
        send(&mut net, 1, &long);
    }
    let mut came = 0;
    while receive(&mut net, 0).is_some() {
        came += 1;
    }
    assert!((64..=WIRE_BYTES / long.len()).contains(&came), "{came}");
}

#[test]
fn nothing_passes_while_the_link_is_down_and_what_was_on_the_wire_is_lost() {
    let mut net = interface(3, u64::MAX);
    send(&mut net, 1, &plain(MAC));
    let mut configuration = *net.configuration();
    configuration.put(NetConfig::Status, 0);
    net.configure(configuration);
    assert_eq!(receive(&mut net, 0), None);
    assert!(!passes(&mut net, &plain(MAC)));
    configuration.put(NetConfig::Status, 1);
    net.configure(configuration);
    assert!(passes(&mut net, &plain(MAC)));
}

#[test]
fn modes_and_tables_decide_what_passes() {
    let mut net = interface(3, u64::MAX);
    let broadcast = plain([0xff; 6]);
    let passing = |net: &mut Net| [MAC, OTHER, GROUP, [0xff; 6]].map(|to| passes(net, &plain(to)));
    assert_eq!(passing(&mut net), [true; 4]);
    assert!(command(&mut net, 2, [0, 0], &[0]));
    assert_eq!(passing(&mut net), [true, false, false, true]);
    assert!(command(&mut net, 2, [0, 1], &[1]));
    assert_eq!(passing(&mut net), [true, false, true, true]);
    assert!(command(&mut net, 2, [0, 3], &[1]));
    assert_eq!(passing(&mut net), [true, false, false, true]);
    assert!(command(&mut net, 2, [0, 2], &[1]));
    assert_eq!(passing(&mut net), [true, true, false, true]);
    assert!(command(&mut net, 2, [0, 4], &[1]));
    assert_eq!(passing(&mut net), [false, false, false, true]);
    assert!(command(&mut net, 2, [0, 5], &[1]));
    assert!(!passes(&mut net, &broadcast));
    for mode in 1..=5 {
        assert!(command(&mut net, 2, [0, mode], &[0]));
    }
    let tables = [&[1, 0, 0, 0][..], &OTHER, &[1, 0, 0, 0], &GROUP].concat();
    assert!(command(&mut net, 2, [1, 0], &tables));
    assert_eq!(passing(&mut net), [true; 4]);
    assert!(command(&mut net, 2, [1, 0], &[0; 8]));
    assert_eq!(passing(&mut net), [true, false, false, true]);
    // More addresses than there is room for: all pass.
    let many = [&100u32.to_le_bytes()[..], &[2; 600], &[0; 4]].concat();
    assert!(command(&mut net, 2, [1, 0], &many));
    assert_eq!(passing(&mut net), [true, true, false, true]);
}

#[test]
fn a_table_that_is_cut_short_changes_nothing() {
    let mut net = interface(3, u64::MAX);
    assert!(command(&mut net, 2, [0, 0], &[0]));
    for wrong in [&[][..], &[1, 0, 0, 0], &[0; 7], &[0xff; 8]] {
        assert!(!command(&mut net, 2, [1, 0], wrong), "{wrong:?}");
    }
    assert!(!passes(&mut net, &plain(OTHER)));
}

#[test]
fn tagged_frames_pass_when_their_vlan_was_added() {
    let mut net = interface(3, u64::MAX);
    let tagged = frame(MAC, [0x81, 0], &[0xe0, 5, 8, 0, 1, 2, 3]);
    assert!(!passes(&mut net, &tagged));
    assert!(command(&mut net, 2, [2, 0], &[5, 0]));
    assert!(passes(&mut net, &tagged));
    assert!(command(&mut net, 2, [2, 1], &[5, 0]));
    assert!(!passes(&mut net, &tagged));
    assert!(
        !command(&mut net, 2, [2, 0], &[0, 0x10]),
        "there is no VLAN 4096"
    );
    let mut net = interface(3, 1 << net::VIRTIO_NET_F_CTRL_VQ);
    assert!(passes(&mut net, &tagged), "without CTRL_VLAN all pass");
}

#[test]
fn the_address_and_the_announcement_change_the_configuration_before_the_answer() {
    let mut net = interface(3, u64::MAX);
    assert!(command(&mut net, 2, [1, 1], &OTHER));
    assert_eq!(net.configuration().bytes()[..6], OTHER);
    assert!(command(&mut net, 2, [0, 0], &[0]));
    assert!(passes(&mut net, &plain(OTHER)) && !passes(&mut net, &plain(MAC)));
    let mut configuration = *net.configuration();
    configuration.put(NetConfig::Status, 3);
    net.configure(configuration);
    assert!(command(&mut net, 2, [3, 0], &[]));
    assert_eq!(net.configuration().get(NetConfig::Status), 1);
    // A reset gives the address back, and empties the tables.
    net.accept(u64::MAX);
    assert_eq!(net.configuration().bytes()[..6], MAC);
}

#[test]
fn a_pair_is_used_once_it_was_asked_for() {
    let mut net = interface(7, u64::MAX);
    assert_eq!(send(&mut net, 3, &plain(MAC)), Became::Waits);
    for wrong in [0u16, 4, 0x8000] {
        assert!(!command(&mut net, 6, [4, 0], &wrong.to_le_bytes()));
    }
    assert!(command(&mut net, 6, [4, 0], &[3, 0]));
    assert_eq!(net.offer_mut().take_woken(), 1 << 3 | 1 << 5);
    assert_eq!(send(&mut net, 3, &plain(MAC)), Became::Used(0, vec![]));
    assert_eq!(net.offer_mut().take_woken(), 1 << 2);
    assert_eq!(receive(&mut net, 0), None);
    assert_eq!(receive(&mut net, 2), Some(plain(MAC)));
    send(&mut net, 5, &plain(MAC));
    assert!(command(&mut net, 6, [4, 0], &[1, 0]));
    assert_eq!(receive(&mut net, 4), None);
    // Without MQ the control queue is the third.
    let mut net = interface(
        7,
        1 << net::VIRTIO_NET_F_CTRL_VQ | 1 << net::VIRTIO_NET_F_CTRL_RX,
    );
    assert!(command(&mut net, 2, [0, 0], &[0]));
    assert!(!command(&mut net, 2, [4, 0], &[1, 0]));
    assert_eq!(send(&mut net, 3, &plain(MAC)), Became::Waits);
}

#[test]
fn a_command_without_its_feature_or_of_no_meaning_is_refused() {
    let mut net = interface(3, 1 << net::VIRTIO_NET_F_CTRL_VQ);
    for kind in [
        [0, 0],
        [0, 3],
        [1, 0],
        [1, 1],
        [2, 0],
        [3, 0],
        [4, 0],
        [5, 0],
        [0, 6],
    ] {
        assert!(!command(&mut net, 2, kind, &[1; 8]), "{kind:?}");
    }
    let mut net = interface(3, u64::MAX);
    assert!(!command(&mut net, 2, [0, 0], &[2]));
    assert!(!command(&mut net, 2, [0, 0], &[]));
    assert_eq!(give(&mut net, 2, &[0, 0, 0], 0), Became::Broken);
    let mut net = interface(3, 0);
    assert_eq!(give(&mut net, 2, &[0, 0, 0], 1), Became::Waits);
}

#[test]
fn a_feature_that_stands_on_a_withheld_one_is_not_offered() {
    let mut shape = Shape::new(Kind::Net);
    assert_eq!(Net::new(&shape).features() >> net::VIRTIO_NET_F_MQ & 1, 0);
    shape.queues = 5;
    assert_eq!(Net::new(&shape).features() >> net::VIRTIO_NET_F_MQ & 1, 1);
    shape.without = vec!["CTRL_VQ".into()];
    let left = Net::new(&shape).features();
    for bit in [17, 18, 19, 21, 22, 23] {
        assert_eq!(left >> bit & 1, 0, "{bit}");
    }
    assert_eq!(
        Net::new(&shape)
            .configuration()
            .get(NetConfig::MaxVirtqueuePairs),
        0
    );
}
