use super::deeds::{MOST_READ, PIECE};
use super::*;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use qapi::qga;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(60);

/// What an agent says to a call: a line, lines, or nothing.
type Says = Box<dyn FnMut(&Value) -> String + Send>;

/// An agent that has said `noise`, answers greetings, and to everything else says what `says` has for it; what it was
/// asked, once nobody asks any more.
fn agent(noise: &'static [u8], mut says: Says) -> (Agent, JoinHandle<Vec<Value>>) {
    let (ours, its) = UnixStream::pair().unwrap();
    let asked = std::thread::spawn(move || {
        let mut writer = its.try_clone().unwrap();
        writer.write_all(noise).unwrap();
        let mut asked = Vec::new();
        for line in BufReader::new(its).split(b'\n') {
            let line = line.unwrap();
            let begins = line.iter().rposition(|byte| *byte == 0xff);
            let call = &line[begins.map_or(0, |at| at + 1)..];
            let call: Value = serde_json::from_slice(call).unwrap();
            let said = if call["execute"] == "guest-sync-delimited" {
                writer
                    .write_all(b"{\"error\": {\"desc\": \"stray\"}}\n\xff")
                    .unwrap();
                format!("{}\n", json!({"return": call["arguments"]["id"]}))
            } else {
                let said = says(&call);
                asked.push(call);
                said
            };
            // Nobody may listen any more.
            let _ = writer.write_all(said.as_bytes());
        }
        asked
    });
    (Agent::open(ours, None).unwrap(), asked)
}

/// One that says these, one after the other.
fn answering(says: &[Value]) -> (Agent, JoinHandle<Vec<Value>>) {
    let lines: Vec<String> = says.iter().map(|says| format!("{says}\n")).collect();
    let mut lines = lines.into_iter();
    agent(b"", Box::new(move |_| lines.next().unwrap_or_default()))
}

fn value(value: Value) -> Value {
    json!({ "return": value })
}

fn refusal(desc: &str) -> Value {
    json!({"error": {"class": "GenericError", "desc": desc}})
}

/// The names of what was asked.
async fn names(agent: Agent, asked: JoinHandle<Vec<Value>>) -> Vec<String> {
    drop(agent);
    let asked = asked.join().unwrap();
    let name = |call: &Value| call["execute"].as_str().unwrap().replace("guest-", "");
    asked.iter().map(name).collect()
}

#[tokio::test]
async fn what_was_on_the_line_before_is_left_behind() {
    let noise = b"BdsDxe: loading\n{\"return\": {\"pid\": 3}}\n{\"retu";
    let (mut agent, _asked) = agent(
        noise,
        Box::new(|_| format!("{}\n", value(json!({"pid": 7})))),
    );
    agent.ready(LIMIT).await.unwrap();
    assert_eq!(agent.start("/bin/sh", &["-c"], LIMIT).await.unwrap(), 7);
}

#[tokio::test]
async fn it_says_what_it_is() {
    for (info, words) in [
        (
            value(json!({"version": "9.1", "supported_commands": []})),
            "QEMU's, version 9.1",
        ),
        (
            value(json!({"version": "misfire-1", "supported_commands": []})),
            "the small one in PowerShell, misfire-1",
        ),
        (value(json!("old")), "one that does not say what it is"),
        (refusal("unknown"), "one that does not say what it is"),
    ] {
        let (mut agent, _asked) = answering(&[info]);
        assert_eq!(agent.greet(LIMIT).await.unwrap(), words);
    }
}

#[tokio::test]
async fn a_program_is_started_and_asked_for() {
    let (mut agent, asked) = answering(&[
        value(json!({"pid": 7})),
        value(json!({"pid": 8})),
        value(json!({"exited": false})),
        value(json!({"exited": true, "exitcode": 3010, "out-data": "aGkNCg=="})),
    ]);
    assert_eq!(agent.start("/bin/sh", &["-c"], LIMIT).await.unwrap(), 7);
    assert_eq!(agent.run("pnputil", &["/add"], LIMIT).await.unwrap(), 8);
    assert!(!agent.status(8, LIMIT).await.unwrap().exited);
    let status = agent.status(8, LIMIT).await.unwrap();
    assert_eq!(status.out_data.unwrap(), b"hi\r\n");
    drop(agent);
    let asked = asked.join().unwrap();
    assert_eq!(
        asked[0]["arguments"],
        json!({"path": "/bin/sh", "arg": ["-c"]})
    );
    assert_eq!(asked[1]["arguments"]["capture-output"], true);
}

#[tokio::test]
async fn a_file_is_written_to_its_last_byte_whatever_is_taken_at_a_time() {
    let (written, mut taken) = (
        std::sync::Arc::new(std::sync::Mutex::new(Vec::<u8>::new())),
        Vec::new(),
    );
    let keeps = written.clone();
    let says = move |call: &Value| {
        let answer = match call["execute"].as_str().unwrap() {
            "guest-file-open" => json!(1000),
            "guest-file-write" => {
                let coded = call["arguments"]["buf-b64"].as_str().unwrap();
                let mut bytes = BASE64_STANDARD.decode(coded).unwrap();
                assert!(bytes.len() <= PIECE);
                // Once in a while not all of it.
                taken.push(bytes.len());
                bytes.truncate(bytes.len().div_ceil(1 + taken.len() % 2));
                keeps.lock().unwrap().extend(&bytes);
                json!({"count": bytes.len(), "eof": false})
            }
            _ => json!({}),
        };
        format!("{}\n", value(answer))
    };
    let (mut agent, _asked) = agent(b"", Box::new(says));
    let bytes: Vec<u8> = (0..3 * PIECE + 1).map(|at| (at % 251) as u8).collect();
    agent.write("C:\\a", &bytes, LIMIT).await.unwrap();
    assert!(*written.lock().unwrap() == bytes);
}

#[tokio::test]
async fn of_a_long_file_its_end_is_read() {
    let mut left = MOST_READ / PIECE * 3;
    let says = move |call: &Value| {
        let answer = match call["execute"].as_str().unwrap() {
            "guest-file-open" => json!(1000),
            "guest-file-read" => {
                left -= 1;
                let piece = vec![if left == 0 { b'z' } else { b'a' }; PIECE];
                let coded = BASE64_STANDARD.encode(&piece);
                json!({"count": PIECE, "buf-b64": coded, "eof": left == 0})
            }
            _ => json!({}),
        };
        format!("{}\n", value(answer))
    };
    let (mut agent, _asked) = agent(b"", Box::new(says));
    let bytes = agent.read("C:\\a", LIMIT).await.unwrap();
    assert_eq!(bytes.len(), MOST_READ);
    assert_eq!(bytes.iter().filter(|byte| **byte == b'z').count(), PIECE);
}

#[tokio::test]
async fn a_file_with_which_something_went_wrong_is_closed() {
    let (mut agent, asked) = answering(&[
        value(json!(1000)),
        refusal("the disk is full"),
        value(json!({})),
        value(json!(1001)),
        value(json!({"count": 5, "buf-b64": "", "eof": false})),
        value(json!({})),
        value(json!(1002)),
        value(json!({"count": 3, "eof": false})),
        value(json!({})),
    ]);
    let error = agent.write("a", b"hi", LIMIT).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the guest agent refused guest-file-write: the disk is full"
    );
    let error = agent.read("a", LIMIT).await.unwrap_err();
    assert!(matches!(error, AgentError::Odd { .. }), "{error}");
    let error = agent.write("a", b"hi", LIMIT).await.unwrap_err();
    assert!(error.to_string().contains("it wrote 3 of 2 bytes"));
    let names = names(agent, asked).await;
    let expected = "file-open file-write file-close file-open file-read file-close file-open \
                    file-write file-close";
    assert_eq!(names.join(" "), expected);
}

#[tokio::test]
async fn a_file_of_an_agent_that_fell_silent_is_closed_when_it_speaks_again() {
    let mut calls = 0;
    let says = move |call: &Value| {
        calls += 1;
        match (calls, call["execute"].as_str().unwrap()) {
            (2, _) => String::new(),
            (_, "guest-file-open") => format!("{}\n", value(json!(1000 + calls))),
            (_, "guest-file-write") => format!("{}\n", value(json!({"count": 2, "eof": false}))),
            _ => format!("{}\n", value(json!({}))),
        }
    };
    let (mut agent, asked) = agent(b"", Box::new(says));
    let error = agent.write("a", b"hi", SHORT).await.unwrap_err();
    assert!(matches!(error, AgentError::Silent { limit, .. } if limit == SHORT));
    agent.write("b", b"hi", LIMIT).await.unwrap();
    drop(agent);
    let asked = asked.join().unwrap();
    assert_eq!(asked[2]["execute"], "guest-file-close");
    assert_eq!(asked[2]["arguments"]["handle"], 1001);
    assert_eq!(asked.len(), 6);
}

#[tokio::test]
async fn a_late_answer_is_nobodys() {
    let mut owed = None;
    let says = move |call: &Value| match call["arguments"]["pid"].as_i64() {
        Some(1) => {
            owed = Some(value(json!({"exited": true, "exitcode": 1})));
            String::new()
        }
        // What it owes comes with the next answer.
        _ => {
            let late = owed.take().map(|late| format!("{late}\n"));
            let answer = value(json!({"exited": true, "exitcode": 2}));
            format!("{answer}\n{}", late.unwrap_or_default())
        }
    };
    let (mut agent, _asked) = agent(b"", Box::new(says));
    let error = agent.status(1, SHORT).await.unwrap_err();
    assert!(matches!(error, AgentError::Silent { .. }), "{error}");
    assert_eq!(agent.status(2, LIMIT).await.unwrap().exitcode, Some(2));
}

/// What never ends, for as long as anybody listens.
fn endless(bytes: &'static [u8]) -> (Agent, JoinHandle<()>) {
    let (ours, mut its) = UnixStream::pair().unwrap();
    let (mut reads, mut agent) = (its.try_clone().unwrap(), Agent::open(ours, None).unwrap());
    agent = agent.or_powershell();
    std::thread::spawn(move || std::io::copy(&mut reads, &mut std::io::sink()));
    let says = std::thread::spawn(move || while its.write_all(bytes).is_ok() {});
    (agent, says)
}

#[tokio::test]
async fn an_agent_that_never_pauses_is_given_up_in_time() {
    for bytes in [
        b"{\"return\": 7}\n".repeat(500).leak() as &[u8],
        vec![b'x'; 8192].leak(),
        vec![b'\n'; 8192].leak(),
        vec![0xff; 8192].leak(),
    ] {
        let (mut agent, says) = endless(bytes);
        let begin = Instant::now();
        let error = agent.greet(SHORT).await.unwrap_err();
        assert!(matches!(error, AgentError::Silent { .. }), "{error}");
        let mut agent = agent.restored();
        let error = agent.call(&qga::guest_info {}, Limit::of(SHORT)).await;
        let error = error.unwrap_err();
        let is_told = matches!(error, AgentError::Silent { .. } | AgentError::Odd { .. });
        assert!(is_told, "{error}");
        assert!(begin.elapsed() < LIMIT);
        drop(agent);
        says.join().unwrap();
    }
}

#[tokio::test]
async fn an_agent_that_is_silent_or_gone_is_told_apart() {
    let (silent, its) = UnixStream::pair().unwrap();
    let mut agent = Agent::open(silent, None).unwrap();
    let error = agent.ready(SHORT).await.unwrap_err();
    assert!(matches!(error, AgentError::Silent { .. }), "{error}");
    drop(its);
    let error = agent.ready(LIMIT).await.unwrap_err();
    assert!(matches!(error, AgentError::Channel { .. }), "{error}");
}

#[tokio::test]
async fn one_that_was_restored_is_not_greeted() {
    let (agent, asked) = answering(&[value(json!({"count": 2, "eof": false})), value(json!({}))]);
    let mut agent = agent.restored();
    agent.send_to(1000, b"hi", LIMIT).await.unwrap();
    drop(agent);
    let asked = asked.join().unwrap();
    assert_eq!(asked[0]["arguments"]["buf-b64"], "aGk=");
    assert_eq!(asked[1]["execute"], "guest-file-flush");
}
