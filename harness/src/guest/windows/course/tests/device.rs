use super::*;

#[test]
fn a_device_with_a_problem_is_told_when_it_stays_so() {
    let mut course = Course::warm(LIMITS, Vec::new());
    course.to_do();
    greeted(&mut course, seconds(1));
    course.to_do();
    course.plugged(seconds(2), vec![place()]);
    let node = "MISFIRE: node found=yes problem=10 ntstatus=0xC0000493 service=viostor";
    for look in 0..2 {
        assert_eq!(script(course.to_do()), "node 1 0", "{look}");
        course.answer(seconds(3), COMMANDS, ended(0, node));
        course.tick(seconds(3) + LOOK);
    }
    let told = "harness: device 0: the device node has problem 10 FAILED_START; service `viostor`, \
                0 messages, 0 lines, 0 ranges of memory";
    assert_eq!(course.to_do(), Some(Do::Line(told.to_owned())));
    let failed = "MISFIRE: dev 0 failed status=0xC0000493 FAILED_START problem=10";
    assert_eq!(course.to_do(), Some(Do::Line(failed.to_owned())));
}

/// A course that looks at the first of so many devices, each with these settings.
fn plugged(devices: usize, settings: Option<&str>) -> Course {
    let mut course = Course::warm(LIMITS, Vec::new());
    course.to_do();
    greeted(&mut course, seconds(1));
    course.to_do();
    let place = |bus| Place {
        bus,
        queues: 2,
        settings: settings.map(str::to_owned),
    };
    course.plugged(seconds(2), (1..=devices as i64).map(place).collect());
    course
}

const LATE: Time = Time::from_secs(2 + LIMITS.device.as_secs());
const NONE: &str = "MISFIRE: node found=no";
const STARTED: &str = "MISFIRE: node found=yes problem=0 service=viostor messages=3";

#[test]
fn a_device_that_never_comes_is_told_in_words_and_nobody_is_told_that_it_is_ready() {
    let mut course = plugged(1, None);
    assert_eq!(script(course.to_do()), "node 1 0");
    course.answer(LATE, COMMANDS, ended(0, NONE));
    let told =
        "harness: stage `device`: device 0 was not started within 50 s: there is no device node";
    assert_eq!(lines(&mut course), [told]);
    assert_eq!((course.stage(), course.deadline()), (Stage::Work, None));
}

#[test]
fn an_answer_that_comes_after_the_limit_is_the_last_one_and_commands_run_then() {
    let mut course = plugged(1, None);
    let without_driver = "MISFIRE: node found=yes problem=28";
    assert_eq!(script(course.to_do()), "node 1 0");
    course.answer(seconds(3), COMMANDS, ended(0, without_driver));
    course.tick(course.deadline().unwrap());
    assert_eq!(script(course.to_do()), "node 1 0");
    // The limit is over while somebody looks: what is seen then counts still.
    assert_eq!(course.deadline(), None);
    course.tick(LATE);
    assert_eq!(course.to_do(), None);
    course.answer(LATE + LOOK, COMMANDS, ended(0, without_driver));
    let said = lines(&mut course);
    assert!(said[0].starts_with("harness: stage `device`: device 0 was not started within 50 s"));
    assert_eq!(
        said[2..],
        [
            "MISFIRE: dev 0 failed status=0xC0000001 FAILED_INSTALL problem=28",
            "MISFIRE: ready",
        ]
    );
    course.say("load read dev=0 blocks=4");
    assert_eq!(script(course.to_do()), "load read dev=0 blocks=4 bus=1");
}

#[test]
fn the_limit_of_each_device_begins_with_it() {
    let mut course = plugged(2, None);
    assert_eq!(script(course.to_do()), "node 1 0");
    course.answer(LATE, COMMANDS, ended(0, STARTED));
    let said = |course: &mut Course| match course.to_do() {
        Some(Do::Line(line)) => line,
        other => panic!("not a line: {other:?}"),
    };
    said(&mut course);
    assert!(said(&mut course).starts_with("MISFIRE: dev 0 started "));
    assert_eq!(script(course.to_do()), "node 2 0");
    course.answer(LATE + LOOK, COMMANDS, ended(0, NONE));
    assert_eq!(course.deadline(), Some(LATE + LOOK + LOOK));
    course.tick(LATE + LOOK + LOOK);
    assert_eq!(script(course.to_do()), "node 2 0");
    course.answer(LATE + LIMITS.device, COMMANDS, ended(0, NONE));
    assert!(said(&mut course).starts_with("harness: stage `device`: device 1 was not started"));
    assert_eq!(course.to_do(), None);
}

#[test]
fn a_device_that_does_not_start_again_is_answered_when_its_time_is_over() {
    let restarted = "MISFIRE: done ok device op=restart dev=0";
    for (node, told) in [(NONE, 0), ("MISFIRE: node found=yes problem=28", 2)] {
        let mut course = working(Vec::new());
        course.say("device dev=0 restart");
        course.to_do();
        course.answer(seconds(100), COMMANDS, ended(0, restarted));
        assert_eq!(script(course.to_do()), "node 1 0");
        course.say("load read dev=0 blocks=4");
        course.answer(seconds(101), COMMANDS, ended(0, node));
        course.tick(course.deadline().unwrap());
        assert_eq!(script(course.to_do()), "node 1 0");
        course.answer(seconds(100) + LIMITS.device, COMMANDS, ended(0, node));
        for _ in 0..=told {
            assert!(matches!(course.to_do(), Some(Do::Line(_))));
        }
        let late = "MISFIRE: done failed device reason=timeout op=restart";
        assert_eq!(course.to_do(), Some(Do::Line(late.to_owned())));
        assert_eq!(script(course.to_do()), "load read dev=0 blocks=4 bus=1");
    }
}

#[test]
fn settings_that_are_not_made_are_an_error_and_the_device_is_not_looked_at() {
    let failed = "MISFIRE: done failed interrupts reason=no-device\r\n";
    let error = "MISFIRE: error the settings of device 0 were not made: ";
    for (answer, why) in [
        (
            ended(0, failed),
            "the script said: MISFIRE: done failed interrupts reason=no-device",
        ),
        (ended(1, ""), "the script said nothing"),
        (
            Answer::Ran(Err(silent())),
            "the guest agent did not answer the end of a program within 30 s",
        ),
    ] {
        let mut course = plugged(1, Some("limit=1"));
        assert_eq!(script(course.to_do()), "interrupts 1 limit=1");
        course.answer(seconds(3), COMMANDS, answer);
        assert_eq!(lines(&mut course), [format!("{error}{why}")]);
        assert_eq!(course.deadline(), None);
    }
    let mut course = plugged(1, Some("limit=1"));
    course.to_do();
    course.answer(
        seconds(3),
        COMMANDS,
        ended(0, "MISFIRE: done ok interrupts\r\n"),
    );
    assert_eq!(script(course.to_do()), "node 1 0");
}
