use super::*;
use std::io::{BufRead, BufReader, Write};

const LIMIT: Duration = Duration::from_secs(5);

/// An agent that says `noise`, is synchronised, and then gives `answers`; what it was asked.
fn agent(
    noise: &'static [u8],
    answers: Vec<&'static str>,
) -> (Agent, std::thread::JoinHandle<Vec<String>>) {
    let (ours, its) = StdUnixStream::pair().unwrap();
    let asked = std::thread::spawn(move || {
        let mut writer = its.try_clone().unwrap();
        writer.write_all(noise).unwrap();
        let mut reader = BufReader::new(its);
        let mut asked = Vec::new();
        let mut next = || {
            let mut line = Vec::new();
            reader.read_until(b'\n', &mut line).unwrap();
            line
        };
        let greeting = next();
        assert_eq!(greeting[0], BEGIN);
        let greeting: Value = serde_json::from_slice(&greeting[1..]).unwrap();
        writer.write_all(&[BEGIN]).unwrap();
        writeln!(writer, "{}", json!({"return": greeting["arguments"]["id"]})).unwrap();
        for answer in answers {
            asked.push(String::from_utf8(next()).unwrap());
            writeln!(writer, "{answer}").unwrap();
        }
        asked
    });
    (Agent::open(ours, None).unwrap(), asked)
}

#[tokio::test]
async fn what_was_on_the_line_before_is_left_behind() {
    let noise = b"BdsDxe: loading\n{\"return\": {\"pid\": 3}}\n{\"retu";
    let (mut agent, _asked) = agent(noise, vec![]);
    agent
        .sync(Instant::now() + LIMIT, LIMIT, true)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_program_is_run_to_its_end_and_a_file_written_in_pieces() {
    let (agent, asked) = agent(
        b"",
        vec![
            r#"{"return": {"pid": 7}}"#,
            r#"{"return": {"exited": false}}"#,
            r#"{"return": {"exited": true, "exitcode": 3010, "out-data": "aGkNCg=="}}"#,
            r#"{"return": 1000}"#,
            r#"{"return": {"count": 24576, "eof": false}}"#,
            r#"{"return": {"count": 1, "eof": false}}"#,
            r#"{"return": {}}"#,
            r#"{"return": 1001}"#,
            r#"{"return": {"count": 4, "buf-b64": "aGkNCg==", "eof": true}}"#,
            r#"{"return": {}}"#,
        ],
    );
    let bytes = vec![b'a'; PIECE + 1];
    let order = |lane, order| Given {
        lane,
        order,
        limit: LIMIT,
    };
    let (give, orders) = mpsc::unbounded_channel();
    let (tell, mut answers) = mpsc::unbounded_channel();
    let install = Order::Run {
        program: "pnputil.exe".to_owned(),
        args: vec!["/add-driver".to_owned()],
    };
    give.send(order(Lane::Slots, install)).unwrap();
    let serving = tokio::spawn(agent.serve(orders, tell));
    let (lane, ran) = answers.recv().await.unwrap();
    let Answer::Ran(Ok(ended)) = ran else {
        panic!("{ran:?}");
    };
    assert_eq!((lane, ended.code), (Lane::Slots, 3010));
    assert_eq!(ended.output, "hi\r\n");
    let path = "C:\\a".to_owned();
    let write = Order::Write {
        path: path.clone(),
        bytes,
    };
    give.send(order(Lane::Commands, write)).unwrap();
    let written = answers.recv().await.unwrap();
    assert!(matches!(written, (Lane::Commands, Answer::Done(Ok(())))));
    give.send(order(Lane::Commands, Order::Read { path }))
        .unwrap();
    let Some((_, Answer::Read(Ok(bytes)))) = answers.recv().await else {
        panic!("it was not read");
    };
    assert_eq!(bytes, b"hi\r\n");
    drop(give);
    serving.await.unwrap();
    let asked = asked.join().unwrap();
    assert!(
        asked[0].contains(r#""capture-output":true"#),
        "{}",
        asked[0]
    );
    assert!(asked[5].contains(r#""buf-b64":"YQ==""#), "{}", asked[5]);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_agents_words_and_a_silent_agent_is_told_apart() {
    let refusal = r#"{"error": {"class": "GenericError", "desc": "no such file"}}"#;
    let (mut agent, _asked) = agent(b"", vec![refusal]);
    let error = agent.read("none").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the guest agent refused guest-file-open: no such file"
    );
    let (silent, _its) = StdUnixStream::pair().unwrap();
    let mut agent = Agent::open(silent, None).unwrap();
    let error = agent.greet(Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, AgentError::Silent { .. }), "{error}");
}

#[tokio::test]
async fn two_programs_run_beside_each_other_and_each_answer_is_of_its_own() {
    let (agent, _asked) = agent(
        b"",
        vec![
            r#"{"return": {"pid": 7}}"#,
            r#"{"return": {"exited": false}}"#,
            r#"{"return": {"pid": 8}}"#,
            r#"{"return": {"exited": true, "exitcode": 1}}"#,
            r#"{"return": {"exited": true, "exitcode": 2}}"#,
        ],
    );
    let (give, orders) = mpsc::unbounded_channel();
    let (tell, mut answers) = mpsc::unbounded_channel();
    tokio::spawn(agent.serve(orders, tell));
    for lane in [Lane::Commands, Lane::Slots] {
        let order = Order::Run {
            program: "powershell.exe".to_owned(),
            args: Vec::new(),
        };
        let limit = LIMIT;
        give.send(Given { lane, order, limit }).unwrap();
        // The first one is asked for before the second is started.
        tokio::time::sleep(SOON / 2).await;
    }
    let mut codes = Vec::new();
    for _ in 0..2 {
        let Some((lane, Answer::Ran(Ok(ended)))) = answers.recv().await else {
            panic!("it did not run");
        };
        codes.push((lane, ended.code));
    }
    assert_eq!(codes, [(Lane::Slots, 1), (Lane::Commands, 2)]);
}
