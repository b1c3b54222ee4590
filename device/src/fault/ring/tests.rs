use crate::fault::testing::{MS, Rig};
use crate::trace::{Effect, Input, RingWrite};

fn rig(fault: &str) -> Rig {
    let mut rig = Rig::block(&[fault]);
    rig.bring_up();
    rig
}

/// A chain is finished; what is written into its ring.
fn finish(rig: &mut Rig, head: u16) -> Vec<Effect> {
    let input = Input::Complete {
        queue: 0,
        head,
        len: 513,
    };
    let shown = rig.input(input).shown;
    shown.into_iter().collect()
}

fn used(id: u32, len: u32) -> Effect {
    Effect::Complete { queue: 0, id, len }
}

fn ring(write: RingWrite) -> Effect {
    Effect::Ring { queue: 0, write }
}

#[test]
fn as_long_as_nothing_fires_what_is_shown_is_what_was_meant() {
    let mut rig = rig("on = 'complete[q1]'\ndo = 'used.skip'");
    let outcome = rig.input(Input::Complete {
        queue: 0,
        head: 3,
        len: 1,
    });
    assert_eq!(outcome.shown.as_slice(), [used(3, 1)]);
    assert_eq!(outcome.meant, None);
}

#[test]
fn an_element_names_another_chain_or_another_length() {
    let mut id = rig("on = 'complete[q0]'\ndo = 'used.id'\nargs = { val = 'queue_size + 5' }");
    assert_eq!(finish(&mut id, 1), [used(133, 513)]);
    assert_eq!(finish(&mut id, 2), [used(2, 513)]);
    let mut len = rig("on = 'complete[q0]'\ndo = 'used.len'\nargs = { val = 'len + 4096' }");
    assert_eq!(finish(&mut len, 1), [used(1, 4609)]);
}

#[test]
fn an_element_is_left_out_doubled_or_comes_after_the_next() {
    let mut skip = rig("on = 'complete[q0]'\ndo = 'used.skip'");
    assert_eq!(finish(&mut skip, 1), []);
    let mut dup = rig("on = 'complete[q0]'\ndo = 'used.dup'");
    assert_eq!(finish(&mut dup, 1), [used(1, 513), used(1, 513)]);
    let mut order = rig("on = 'complete[q0]'\ndo = 'used.reorder'");
    assert_eq!(finish(&mut order, 1), []);
    assert_eq!(finish(&mut order, 2), [used(2, 513), used(1, 513)]);
}

#[test]
fn the_index_the_flags_and_avail_event_are_written_after_the_element() {
    for (fault, write) in [
        (
            "do = 'used.jump'\nargs = { by = 300 }",
            RingWrite::Jump(300),
        ),
        ("do = 'used.flags'", RingWrite::Flags(1)),
        ("do = 'avail_event.lie'", RingWrite::AvailEvent(0x8000)),
    ] {
        let mut rig = rig(&format!("on = 'complete[q0]'\n{fault}"));
        assert_eq!(finish(&mut rig, 1), [used(1, 513), ring(write)], "{fault}");
    }
}

#[test]
fn a_queue_that_stands_still_goes_on_in_its_order() {
    let mut rig = rig("on = 'host:hold'\ndo = 'queue.stall'\nargs = { q = 0, for = '5ms' }");
    rig.host("hold");
    assert_eq!(finish(&mut rig, 1), []);
    assert_eq!(finish(&mut rig, 2), []);
    let deadline = rig.injector.deadline().unwrap();
    assert_eq!(deadline, rig.now + 5 * MS);
    let shown = rig.at(deadline, Input::Time).shown;
    assert_eq!(shown.as_slice(), [used(1, 513), used(2, 513)]);
    assert_eq!(finish(&mut rig, 3), [used(3, 513)]);
}

#[test]
fn a_command_of_the_host_lets_a_queue_go() {
    let mut rig = rig("on = 'live'\ndo = 'queue.stall'\nargs = { host = 'go' }");
    assert_eq!(finish(&mut rig, 1), []);
    assert_eq!(rig.injector.deadline(), None);
    assert_eq!(rig.host("go").shown.as_slice(), [used(1, 513)]);
}

#[test]
fn what_a_reset_overtook_comes_late() {
    let mut rig = Rig::block(&[
        "on = 'live'\ndo = 'queue.stall'",
        "on = 'reset.end'\ndo = 'late.completion'\nargs = { after = '2ms' }",
    ]);
    rig.bring_up();
    assert_eq!(finish(&mut rig, 7), []);
    rig.bring_up_after_reset();
    let deadline = rig.injector.deadline().unwrap();
    let shown = rig.at(deadline, Input::Time).shown;
    assert_eq!(shown.as_slice(), [used(7, 513)]);
}

#[test]
fn an_index_goes_on_after_a_reset() {
    let mut rig = rig("on = 'reset.begin'\ndo = 'ring.keep'");
    finish(&mut rig, 0);
    finish(&mut rig, 1);
    rig.bring_up_after_reset();
    assert_eq!(
        finish(&mut rig, 0),
        [ring(RingWrite::Jump(2)), used(0, 513)]
    );
    assert_eq!(finish(&mut rig, 1), [used(1, 513)]);
}
