//! What the guest's agent is to do, done: files one after the other, programs beside each other.

use std::time::Duration;

use qapi::qga::GuestExecStatus;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::super::agent::{Agent, AgentError};
use super::course::{Answer, Ended, Lane, Order};

/// How long the agent may take for a call that does nothing, at the least: an agent that is slow has the time that its
/// program has.
const CALL: Duration = Duration::from_secs(30);
/// How often it is asked whether a program has ended: at first, and in the long run.
const SOON: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_millis(250);

/// What is asked of the agent: by whom, what, and how long it may take.
#[derive(Debug)]
pub(super) struct Given {
    pub lane: Lane,
    pub order: Order,
    pub limit: Duration,
}

/// A program that runs in the guest.
struct Running {
    lane: Lane,
    pid: i64,
    limit: Duration,
    end: Instant,
    pause: Duration,
    /// When it is asked for next.
    next: Instant,
}

/// Carries out orders until nobody gives any more.
pub(super) async fn serve(
    mut agent: Agent,
    mut orders: mpsc::UnboundedReceiver<Given>,
    answers: mpsc::UnboundedSender<(Lane, Answer)>,
) {
    let mut running: Vec<Running> = Vec::new();
    loop {
        let due = running.iter().map(|program| program.next).min();
        let answer = select! {
            biased;
            given = orders.recv() => match given {
                None => return,
                Some(given) => obey(&mut agent, given, &mut running).await,
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                look(&mut agent, &mut running).await
            }
        };
        if let Some(answer) = answer
            && answers.send(answer).is_err()
        {
            return;
        }
    }
}

/// Does what is asked; the answer, unless a program has to end first.
async fn obey(
    agent: &mut Agent,
    given: Given,
    running: &mut Vec<Running>,
) -> Option<(Lane, Answer)> {
    let Given { lane, order, limit } = given;
    let begin = Instant::now();
    let answer = match order {
        Order::Greet => Answer::Greeted(agent.greet(limit).await),
        Order::Write { path, bytes } => Answer::Done(agent.write(&path, &bytes, limit).await),
        Order::Read { path } => Answer::Read(agent.read(&path, limit).await),
        Order::Start { program, args } => {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            Answer::Done(agent.start(&program, &args, limit).await.map(|_| ()))
        }
        Order::Run { program, args } => {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            match agent.run(&program, &args, limit).await {
                Ok(pid) => {
                    running.push(Running {
                        lane,
                        pid,
                        limit,
                        end: begin + limit,
                        pause: SOON,
                        next: Instant::now(),
                    });
                    return None;
                }
                Err(error) => Answer::Ran(Err(error)),
            }
        }
    };
    Some((lane, answer))
}

/// Asks for the program whose turn it is; the answer, if it has ended.
async fn look(agent: &mut Agent, running: &mut Vec<Running>) -> Option<(Lane, Answer)> {
    let each = running.iter().enumerate();
    let (index, program) = each.min_by_key(|(_, program)| program.next)?;
    let limit = CALL.max(program.end.saturating_duration_since(Instant::now()));
    let ran = match agent.status(program.pid, limit).await {
        Ok(status) if status.exited => Ok(ended(status)),
        Ok(_) => {
            let program = &mut running[index];
            let next = Instant::now() + program.pause;
            if next <= program.end {
                program.next = next;
                program.pause = (program.pause * 2).min(LATER);
                return None;
            }
            Err(AgentError::Silent {
                doing: "the end of a program",
                limit: program.limit,
            })
        }
        Err(error) => Err(error),
    };
    let program = running.swap_remove(index);
    Some((program.lane, Answer::Ran(ran)))
}

/// What a program that has ended came to.
fn ended(status: GuestExecStatus) -> Ended {
    let code = status.exitcode.or(status.signal);
    // Windows' codes are unsigned; the agent tells them signed or not.
    let unsigned = |code: i64| {
        let signed = i32::try_from(code).map(|code| code as u32);
        u32::try_from(code).or(signed).ok()
    };
    let text = |data: Option<Vec<u8>>| {
        let data = data.unwrap_or_default();
        String::from_utf8_lossy(&data).into_owned()
    };
    Ended {
        code: code.and_then(unsigned).unwrap_or(u32::MAX),
        output: text(status.out_data),
        errors: text(status.err_data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;

    const LIMIT: Duration = Duration::from_secs(20);

    /// Gives orders to an agent that answers greetings, and to everything else says these.
    struct Bench {
        give: mpsc::UnboundedSender<Given>,
        answers: mpsc::UnboundedReceiver<(Lane, Answer)>,
    }

    impl Bench {
        fn new(says: Vec<Value>) -> Self {
            let (ours, its) = UnixStream::pair().unwrap();
            std::thread::spawn(move || {
                let mut writer = its.try_clone().unwrap();
                let mut says = says.into_iter();
                for line in BufReader::new(its).split(b'\n') {
                    let line = line.unwrap();
                    let said = match line.strip_prefix(b"\xff") {
                        Some(greeting) => {
                            let greeting: Value = serde_json::from_slice(greeting).unwrap();
                            writer.write_all(b"\xff").unwrap();
                            json!({"return": greeting["arguments"]["id"]})
                        }
                        None => says.next().unwrap(),
                    };
                    // Nobody may listen any more.
                    let _ = writeln!(writer, "{said}");
                }
            });
            let agent = Agent::open(ours, None).unwrap();
            let (give, orders) = mpsc::unbounded_channel();
            let (tell, answers) = mpsc::unbounded_channel();
            tokio::spawn(serve(agent, orders, tell));
            Self { give, answers }
        }

        fn give(&self, lane: Lane, order: Order) {
            let limit = LIMIT;
            self.give.send(Given { lane, order, limit }).unwrap();
        }

        async fn answer(&mut self) -> (Lane, Answer) {
            self.answers.recv().await.unwrap()
        }
    }

    fn program(name: &str) -> Order {
        Order::Run {
            program: name.to_owned(),
            args: vec!["/x".to_owned()],
        }
    }

    #[tokio::test]
    async fn a_program_is_run_to_its_end_and_files_are_written_and_read() {
        let mut bench = Bench::new(vec![
            json!({"return": {"pid": 7}}),
            json!({"return": {"exited": false}}),
            json!({"return": {"exited": true, "exitcode": -1073741819, "out-data": "aGkNCg=="}}),
            json!({"return": 1000}),
            json!({"return": {"count": 1, "eof": false}}),
            json!({"return": {}}),
            json!({"return": 1001}),
            json!({"return": {"count": 4, "buf-b64": "aGkNCg==", "eof": true}}),
            json!({"return": {}}),
        ]);
        bench.give(Lane::Slots, program("pnputil.exe"));
        let (lane, ran) = bench.answer().await;
        let Answer::Ran(Ok(ended)) = ran else {
            panic!("{ran:?}");
        };
        assert_eq!((lane, ended.code), (Lane::Slots, 0xc000_0005));
        assert_eq!(ended.output, "hi\r\n");
        let path = "C:\\a".to_owned();
        let write = Order::Write {
            path: path.clone(),
            bytes: b"a".to_vec(),
        };
        bench.give(Lane::Commands, write);
        let written = bench.answer().await;
        assert!(matches!(written, (Lane::Commands, Answer::Done(Ok(())))));
        bench.give(Lane::Commands, Order::Read { path });
        let (_, Answer::Read(Ok(bytes))) = bench.answer().await else {
            panic!("it was not read");
        };
        assert_eq!(bytes, b"hi\r\n");
    }

    #[test]
    fn a_code_that_no_windows_has_is_none() {
        let cases: [(i64, u32); 3] = [
            (3010, 3010),
            (0xc000_0005, 0xc000_0005),
            (1 << 40, u32::MAX),
        ];
        for (code, becomes) in cases {
            let status = json!({"exited": true, "exitcode": code});
            assert_eq!(ended(serde_json::from_value(status).unwrap()).code, becomes);
        }
    }

    #[tokio::test]
    async fn two_programs_run_beside_each_other_and_each_answer_is_of_its_own() {
        let mut bench = Bench::new(vec![
            json!({"return": {"pid": 7}}),
            json!({"return": {"pid": 8}}),
            json!({"return": {"exited": false}}),
            json!({"return": {"exited": true, "exitcode": 1}}),
            json!({"return": {"exited": true, "exitcode": 2}}),
        ]);
        // Both are started before either is asked for: an order comes first.
        bench.give(Lane::Commands, program("powershell.exe"));
        bench.give(Lane::Slots, program("powershell.exe"));
        let mut codes = Vec::new();
        for _ in 0..2 {
            let (lane, Answer::Ran(Ok(ended))) = bench.answer().await else {
                panic!("it did not run");
            };
            codes.push((lane, ended.code));
        }
        assert_eq!(codes, [(Lane::Slots, 1), (Lane::Commands, 2)]);
    }
}
