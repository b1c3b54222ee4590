use super::*;

#[test]
fn a_command_is_answered_by_the_script_or_by_what_became_of_it() {
    let mut course = working(Vec::new());
    course.say("load read dev=0 blocks=4");
    assert_eq!(script(course.to_do()), "load read dev=0 blocks=4 bus=1");
    course.answer(
        seconds(9),
        COMMANDS,
        ended(0, "hello\r\nMISFIRE: done ok load op=read dev=0\r\n"),
    );
    assert_eq!(course.to_do(), Some(Do::Line("hello".into())));
    let done = Do::Line("MISFIRE: done ok load op=read dev=0".into());
    assert_eq!(course.to_do(), Some(done));

    course.say("load read dev=0 blocks=4");
    course.to_do();
    course.answer(seconds(99), COMMANDS, Answer::Ran(Err(silent())));
    course.to_do();
    let done = Do::Line("MISFIRE: done failed load reason=timeout op=read".into());
    assert_eq!(course.to_do(), Some(done));

    // An agent that was started anew has nothing to say of the driver.
    let mut anew = working(Vec::new());
    anew.say("load read dev=0 blocks=4");
    anew.to_do();
    let refused = AgentError::Refused {
        doing: "the end of a program",
        reason: "PID is not known".into(),
    };
    anew.answer(seconds(99), COMMANDS, Answer::Ran(Err(refused)));
    let error = "MISFIRE: error `load read dev=0 blocks=4`: the guest agent refused the end of a program: \
                 PID is not known";
    assert_eq!(anew.to_do(), Some(Do::Line(error.into())));

    course.say("state dev=0");
    course.to_do();
    course.answer(seconds(99), COMMANDS, ended(1, ""));
    let done = Do::Line("MISFIRE: done failed state reason=exit-0x1".into());
    assert_eq!(course.to_do(), Some(done));
}

#[test]
fn the_users_own_workload_is_told_what_to_do() {
    let program = ["run.exe", "{kind}", "{dev}", "{bus}"].map(str::to_owned);
    let mut course = working(program.into());
    course.say("load verify dev=0 blocks=4");
    match course.to_do() {
        Some(Do::Order(Order::Run { program, args }, _)) => {
            assert_eq!(
                (program.as_str(), args.join(" ").as_str()),
                ("run.exe", "verify 0 1")
            );
        }
        other => panic!("not a program: {other:?}"),
    }
    course.answer(seconds(9), COMMANDS, ended(0, ""));
    let done = Do::Line("MISFIRE: done ok load op=verify".into());
    assert_eq!(course.to_do(), Some(done));
}

#[test]
fn a_device_that_is_started_again_is_looked_at_before_the_command_is_done() {
    let mut course = working(Vec::new());
    course.say("device dev=0 restart");
    assert_eq!(script(course.to_do()), "device dev=0 restart bus=1");
    course.answer(
        seconds(9),
        COMMANDS,
        ended(0, "MISFIRE: done ok device op=restart dev=0"),
    );
    assert_eq!(script(course.to_do()), "node 1 0");
    let node = "MISFIRE: node found=yes problem=0 service=viostor messages=1";
    course.answer(seconds(10), COMMANDS, ended(0, node));
    course.to_do();
    let started = "MISFIRE: dev 0 started mode=messages granted=1 used=1 queues=2";
    assert_eq!(course.to_do(), Some(Do::Line(started.into())));
    let done = Do::Line("MISFIRE: done ok device op=restart dev=0".into());
    assert_eq!(course.to_do(), Some(done));
}

#[test]
fn devices_are_let_go_before_the_machine_ends() {
    let mut course = working(Vec::new());
    course.say("exit");
    assert_eq!(script(course.to_do()), "device dev=0 stop bus=1");
    course.answer(
        seconds(9),
        COMMANDS,
        ended(0, "MISFIRE: done ok device op=stop dev=0"),
    );
    assert_eq!(
        course.to_do(),
        Some(Do::Line("MISFIRE: done ok exit".into()))
    );
    assert_eq!(course.to_do(), Some(Do::Line("MISFIRE: exit".into())));
    assert_eq!(course.to_do(), Some(Do::Leave));
}
