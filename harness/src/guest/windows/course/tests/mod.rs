//! A course is told what happens, and what it says is compared.

mod device;
mod slots;
mod way;
mod work;

use super::device::LOOK;
use super::way::SETUP_LOG;
use super::*;
use crate::guest::Slot;
use crate::guest::agent::AgentError;
use crate::log::kd::Event;

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

fn lines(course: &mut Course) -> Vec<String> {
    std::iter::from_fn(|| course.to_do())
        .map(|what| match what {
            Do::Line(line) => line,
            other => panic!("not a line: {other:?}"),
        })
        .collect()
}
