use super::*;

const fn seconds(n: u64) -> Time {
    Time::from_secs(n)
}

const LIMITS: Limits = Limits {
    boot: seconds(10),
    ready: seconds(20),
    install: seconds(30),
    restart: seconds(40),
    device: seconds(50),
    work: seconds(60),
};

const COMMANDS: Lane = Lane::Commands;

/// The agent answers, and says what it is.
fn greeted(course: &mut Course, now: Time) {
    let which = "QEMU's, version 10".to_owned();
    course.answer(now, COMMANDS, Answer::Greeted(Ok(which)));
    let line = Do::Line("harness: the agent is QEMU's, version 10".to_owned());
    assert_eq!(course.to_do(), Some(line));
}

fn job(program: &str) -> Job {
    Job {
        what: format!("running {program}"),
        order: Order::Run {
            program: program.to_owned(),
            args: Vec::new(),
        },
        restarts: false,
    }
}

fn place() -> Place {
    Place {
        bus: 1,
        queues: 2,
        settings: None,
    }
}

fn ended(code: u32, output: &str) -> Answer {
    Answer::Ran(Ok(Ended {
        code,
        output: output.to_owned(),
        errors: String::new(),
    }))
}

fn silent() -> AgentError {
    AgentError::Silent {
        doing: "the end of a program",
        limit: seconds(30),
    }
}

/// The script's arguments of an order to run it.
fn script(what: Option<Do>) -> String {
    match what {
        Some(Do::Order(Order::Run { args, .. }, _)) => {
            let at = args.iter().position(|arg| arg.ends_with(".ps1")).unwrap();
            args[at + 1..].join(" ")
        }
        other => panic!("not the script: {other:?}"),
    }
}

fn failure(what: Option<Do>) -> String {
    match what {
        Some(Do::Fail(error)) => error.to_string(),
        other => panic!("not a failure: {other:?}"),
    }
}

/// A course that waits for what the first job comes to.
fn installing(jobs: Vec<Job>) -> Course {
    let mut course = Course::cold(LIMITS, jobs, Vec::new());
    course.kernel(seconds(1), &Event::Booted);
    assert_eq!(course.to_do(), Some(Do::Order(Order::Greet, LIMITS.ready)));
    greeted(&mut course, seconds(2));
    assert!(matches!(
        course.to_do(),
        Some(Do::Order(Order::Run { .. }, _))
    ));
    course
}

/// A course whose device is started.
fn working(workload: Vec<String>) -> Course {
    let mut course = Course::warm(LIMITS, workload);
    assert_eq!(course.to_do(), Some(Do::Order(Order::Greet, LIMITS.ready)));
    greeted(&mut course, seconds(1));
    assert_eq!(course.to_do(), Some(Do::Plug));
    course.plugged(seconds(2), vec![place()]);
    assert_eq!(script(course.to_do()), "node 1 0");
    let node = "MISFIRE: node found=yes problem=0 service=viostor messages=3";
    course.answer(seconds(3), COMMANDS, ended(0, node));
    while !matches!(course.to_do(), Some(Do::Line(line)) if line == "MISFIRE: ready") {}
    course
}

#[test]
fn a_windows_boots_is_installed_and_gets_its_device() {
    let mut course = installing(vec![job("pnputil.exe")]);
    course.answer(seconds(3), COMMANDS, ended(259, ""));
    assert_eq!(course.to_do(), Some(Do::Plug));
    course.plugged(seconds(4), vec![place()]);
    assert_eq!(script(course.to_do()), "node 1 0");
    course.answer(seconds(5), COMMANDS, ended(0, "MISFIRE: node found=no"));
    assert_eq!(course.to_do(), None);
    course.tick(course.deadline().unwrap());
    assert_eq!(script(course.to_do()), "node 1 0");
    let node = "MISFIRE: node found=yes problem=0 service=viostor messages=3";
    course.answer(seconds(6), COMMANDS, ended(0, node));
    let lines: Vec<Do> = std::iter::from_fn(|| course.to_do()).collect();
    let line = |text: &str| Do::Line(text.to_owned());
    assert_eq!(
        lines[1..],
        [
            line("MISFIRE: dev 0 started mode=messages granted=3 used=3 queues=2"),
            line("MISFIRE: ready"),
        ]
    );
    assert_eq!(course.stage(), Stage::Work);
}

#[test]
fn each_stage_has_a_time_limit_and_an_error_that_names_it() {
    let mut course = Course::cold(LIMITS, Vec::new(), Vec::new());
    assert_eq!(course.deadline(), Some(LIMITS.boot));
    course.tick(LIMITS.boot);
    assert_eq!(
        failure(course.to_do()),
        "stage `boot`: the kernel did not speak to its debugger within 10 s"
    );

    let mut course = Course::cold(LIMITS, Vec::new(), Vec::new());
    course.kernel(seconds(1), &Event::Booted);
    course.to_do();
    course.answer(seconds(21), COMMANDS, Answer::Greeted(Err(silent())));
    assert!(failure(course.to_do()).starts_with("stage `ready`: the guest agent did not answer"));

    let mut course = installing(vec![job("pnputil.exe")]);
    course.answer(seconds(33), COMMANDS, Answer::Ran(Err(silent())));
    assert!(failure(course.to_do()).starts_with("stage `install`: running pnputil.exe: "));

    let mut course = installing(vec![job("pnputil.exe")]);
    course.answer(seconds(3), COMMANDS, ended(3010, ""));
    assert!(matches!(
        course.to_do(),
        Some(Do::Order(Order::Start { .. }, _))
    ));
    course.tick(seconds(3) + LIMITS.restart);
    assert_eq!(
        failure(course.to_do()),
        "stage `restart`: the system did not start again within 40 s"
    );
}

#[test]
fn a_package_that_is_not_installed_ends_the_way_with_the_exit_code() {
    let mut course = installing(vec![job("pnputil.exe")]);
    course.answer(seconds(3), COMMANDS, ended(0xe000_0247, "not signed\r\n"));
    let path = SETUP_LOG.to_owned();
    let read = Do::Order(Order::Read { path }, LIMITS.install);
    assert_eq!(course.to_do(), Some(read));
    let notes = ">>>  [one]\r\n>>>  Section start 1\r\n!!!  sto: of another\r\n>>>  [two]\r\n\
                 >>>  Section start 2\r\n     sto: x\r\n!!!  sto: Failed to verify file\r\n";
    let notes = Answer::Read(Ok(notes.as_bytes().to_vec()));
    course.answer(seconds(4), COMMANDS, notes);
    assert_eq!(
        failure(course.to_do()),
        "stage `install`: running pnputil.exe: pnputil.exe ended with exit code 0xe0000247 (the \
         publisher of the driver is not trusted); it said: not signed; setupapi.dev.log: !!!  sto: \
         Failed to verify file"
    );
}

#[test]
fn an_older_windows_is_given_the_package_in_words_that_it_knows() {
    for (build, words) in [
        (7601, "-i -a x.inf"),
        (14_393, "/add-driver x.inf /install"),
    ] {
        let mut job = job("pnputil.exe");
        job.order = Order::Run {
            program: "pnputil.exe".to_owned(),
            args: ["/add-driver", "x.inf", "/install"]
                .map(str::to_owned)
                .into(),
        };
        let mut course = Course::cold(LIMITS, vec![job], Vec::new());
        course.kernel(seconds(1), &Event::Booted);
        course.to_do();
        course.kernel(seconds(1), &Event::Kernel { build, base: 0 });
        greeted(&mut course, seconds(2));
        let Some(Do::Order(Order::Run { args, .. }, _)) = course.to_do() else {
            panic!("not a program");
        };
        assert_eq!(args.join(" "), words);
    }
}

#[test]
fn a_package_that_asks_for_a_restart_gets_one() {
    let mut course = installing(vec![job("pnputil.exe"), job("bcdedit.exe")]);
    course.answer(seconds(3), COMMANDS, ended(3010, ""));
    assert!(matches!(
        course.to_do(),
        Some(Do::Order(Order::Run { .. }, _))
    ));
    course.answer(seconds(4), COMMANDS, ended(0, ""));
    assert!(matches!(
        course.to_do(),
        Some(Do::Order(Order::Start { .. }, _))
    ));
    course.answer(seconds(5), COMMANDS, Answer::Done(Ok(())));
    course.kernel(seconds(6), &Event::Rebooting);
    course.kernel(seconds(9), &Event::Booted);
    assert_eq!(course.to_do(), Some(Do::Order(Order::Greet, LIMITS.ready)));
    greeted(&mut course, seconds(10));
    assert_eq!(course.to_do(), Some(Do::Plug));
}

#[test]
fn a_crash_on_the_way_is_no_verdict_and_one_afterwards_is_none_of_ours() {
    let crash = Event::Bugcheck(crate::log::kd::Bugcheck::new(0x7b, [1, 2, 3, 4]));
    let mut course = Course::cold(LIMITS, Vec::new(), Vec::new());
    course.kernel(seconds(1), &crash);
    assert_eq!(
        failure(course.to_do()),
        "stage `boot`: the system crashed: 0x7B INACCESSIBLE_BOOT_DEVICE (0x1, 0x2, 0x3, 0x4)"
    );
    let mut course = working(Vec::new());
    course.kernel(seconds(9), &crash);
    assert_eq!(course.to_do(), None);
}

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

#[test]
fn a_device_that_never_comes_is_told_in_words_and_nobody_is_told_that_it_is_ready() {
    let mut course = Course::warm(LIMITS, Vec::new());
    course.to_do();
    greeted(&mut course, seconds(1));
    course.to_do();
    course.plugged(seconds(2), vec![place()]);
    course.to_do();
    course.answer(seconds(3), COMMANDS, ended(0, "MISFIRE: node found=no"));
    course.tick(seconds(2) + LIMITS.device);
    let lines: Vec<Do> = std::iter::from_fn(|| course.to_do())
        .filter(|what| matches!(what, Do::Line(_)))
        .collect();
    let told =
        "harness: stage `device`: device 0 was not started within 50 s: there is no device node";
    assert_eq!(lines, [Do::Line(told.to_owned())]);
}

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

    course.say("state dev=0");
    course.to_do();
    course.answer(seconds(99), COMMANDS, ended(1, ""));
    let done = Do::Line("MISFIRE: done failed state reason=exit-0x1 op=dev=0".into());
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
    course.say("device restart dev=0");
    assert_eq!(script(course.to_do()), "device restart dev=0 bus=1");
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
    assert_eq!(script(course.to_do()), "device stop dev=0 bus=1");
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

/// The script's arguments of an order beside the commands.
fn beside(what: Option<Do>) -> String {
    match what {
        Some(Do::Beside(order, limit)) => script(Some(Do::Order(order, limit))),
        other => panic!("not beside: {other:?}"),
    }
}

fn lines(course: &mut Course) -> Vec<String> {
    std::iter::from_fn(|| course.to_do())
        .map(|what| match what {
            Do::Line(line) => line,
            other => panic!("not a line: {other:?}"),
        })
        .collect()
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
