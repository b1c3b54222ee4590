use super::*;

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
fn a_program_that_starts_the_system_again_itself_is_waited_for_and_the_rest_is_done_then() {
    let mut course = installing(vec![job("pnputil.exe"), job("bcdedit.exe")]);
    course.answer(seconds(3), COMMANDS, ended(1641, ""));
    assert_eq!((course.to_do(), course.stage()), (None, Stage::Restart));
    course.kernel(seconds(6), &Event::Rebooting);
    course.kernel(seconds(9), &Event::Booted);
    assert_eq!(course.to_do(), Some(Do::Order(Order::Greet, LIMITS.ready)));
    greeted(&mut course, seconds(10));
    let next = course.to_do();
    let is_next =
        matches!(&next, Some(Do::Order(Order::Run { program, .. }, _)) if program == "bcdedit.exe");
    assert!(is_next, "{next:?}");
    course.answer(seconds(11), COMMANDS, ended(0, ""));
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
fn a_restart_that_is_over_before_the_agent_answers_is_one() {
    let mut course = installing(vec![job("pnputil.exe")]);
    course.answer(seconds(3), COMMANDS, ended(3010, ""));
    course.to_do();
    course.kernel(seconds(9), &Event::Booted);
    assert_eq!(course.to_do(), Some(Do::Order(Order::Greet, LIMITS.ready)));
    // The agent that was told to start it again is gone; the next one greets.
    course.answer(seconds(33), COMMANDS, Answer::Done(Err(silent())));
    assert_eq!(course.to_do(), None);
    greeted(&mut course, seconds(34));
    assert_eq!(course.to_do(), Some(Do::Plug));
}

#[test]
fn an_agent_that_is_silent_at_the_restart_has_not_failed_yet() {
    let mut course = installing(vec![job("pnputil.exe")]);
    course.answer(seconds(3), COMMANDS, ended(3010, ""));
    course.to_do();
    course.answer(seconds(33), COMMANDS, Answer::Done(Err(silent())));
    assert_eq!(course.to_do(), None);
    assert_eq!(course.deadline(), Some(seconds(3) + LIMITS.restart));
}
