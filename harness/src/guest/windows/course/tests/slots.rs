use super::*;

/// The script's arguments of an order beside the commands.
fn beside(what: Option<Do>) -> String {
    match what {
        Some(Do::Beside(order, limit)) => script(Some(Do::Order(order, limit))),
        other => panic!("not beside: {other:?}"),
    }
}

#[test]
fn a_device_is_let_go_and_put_in_again_while_a_command_runs() {
    let mut course = working(Vec::new());
    course.say("load read dev=0 blocks=4");
    course.to_do();
    let out = Slot::LetGo {
        kept: true,
        surprise: true,
    };
    course.slot(seconds(9), 0, out);
    course.slot(seconds(9), 0, Slot::PutIn);
    assert_eq!(beside(course.to_do()), "slot-out 1 how=surprise");
    assert_eq!(course.to_do(), None);
    course.answer(seconds(10), Lane::Slots, ended(0, "MISFIRE: slot gone\r\n"));
    assert_eq!(
        course.to_do(),
        Some(Do::Line("MISFIRE: dev 0 removed surprise".into()))
    );
    assert_eq!(beside(course.to_do()), "slot-in 1");
    // The command ends meanwhile, and is answered.
    let failed = "MISFIRE: done failed load reason=io op=read dev=0";
    course.answer(seconds(11), COMMANDS, ended(0, failed));
    assert_eq!(lines(&mut course), [failed]);
    course.answer(seconds(12), Lane::Slots, ended(0, "MISFIRE: slot in"));
    assert_eq!(beside(course.to_do()), "node 1 0");
    course.answer(seconds(13), Lane::Slots, ended(0, "MISFIRE: node found=no"));
    assert_eq!(course.to_do(), None);
    course.tick(course.deadline().unwrap());
    assert_eq!(beside(course.to_do()), "node 1 0");
    let node = "MISFIRE: node found=yes problem=0 service=viostor messages=3";
    course.answer(seconds(14), Lane::Slots, ended(0, node));
    assert_eq!(
        lines(&mut course)[1],
        "MISFIRE: dev 0 started mode=messages granted=3 used=3 queues=2"
    );
}

#[test]
fn a_device_that_a_driver_does_not_let_go_is_told_and_waited_for_by_nobody() {
    let mut course = working(Vec::new());
    let out = Slot::LetGo {
        kept: false,
        surprise: false,
    };
    course.slot(seconds(9), 0, out);
    assert_eq!(beside(course.to_do()), "slot-out 1 how=eject");
    let stays = "MISFIRE: slot stays reason=veto-6\r\n";
    course.answer(seconds(10), Lane::Slots, ended(0, stays));
    assert_eq!(
        lines(&mut course),
        ["harness: device 0 was not let go: MISFIRE: slot stays reason=veto-6"]
    );
    assert_eq!(course.deadline(), None);
}

#[test]
fn settings_that_are_not_made_again_are_an_error() {
    let mut course = working(Vec::new());
    let mut place = place();
    place.settings = Some("limit=1".to_owned());
    course.slots.places(&[place]);
    course.slot(seconds(9), 0, Slot::PutIn);
    assert_eq!(beside(course.to_do()), "slot-in 1");
    course.answer(seconds(12), Lane::Slots, ended(0, "MISFIRE: slot in"));
    assert_eq!(beside(course.to_do()), "interrupts 1 limit=1");
    let failed = "MISFIRE: done failed interrupts reason=no-device";
    course.answer(seconds(13), Lane::Slots, ended(0, failed));
    assert_eq!(
        lines(&mut course),
        [format!(
            "MISFIRE: error the settings of device 0 were not made: the script said: {failed}"
        )]
    );
}
