use super::*;
use misfire_device::trace::What;
use std::future::poll_fn;
use std::io::{BufRead, BufReader, Write};
use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 3, "minor": 1, "major": 11}, "package": ""}, "capabilities": ["oob"]}}"#;

/// A QEMU that greets, then answers each command with the next of `answers`, then is gone.
fn qemu(answers: Vec<String>) -> (Qmp, mpsc::Receiver<What>) {
    let (ours, mut its) = StdUnixStream::pair().unwrap();
    let (sender, events) = mpsc::channel();
    let journal = Journal::new(Box::new(move |event| {
        let _ = sender.send(event.what);
    }));
    std::thread::spawn(move || {
        let mut commands = BufReader::new(its.try_clone().unwrap()).lines();
        writeln!(its, "{GREETING}").unwrap();
        for answer in [r#"{"return": {}}"#.to_owned()].into_iter().chain(answers) {
            commands.next().unwrap().unwrap();
            writeln!(its, "{answer}").unwrap();
        }
    });
    (Qmp::open(ours, journal).unwrap(), events)
}

fn returned(value: impl Into<serde_json::Value>) -> String {
    serde_json::json!({"return": value.into()}).to_string()
}

fn device(id: &str, address: i64) -> serde_json::Value {
    serde_json::json!([{"bus": 0, "devices": [{
        "bus": 0, "slot": 16, "function": 0, "qdev_id": id, "irq_pin": 1,
        "class_info": {"class": 0xff00}, "id": {"device": 0x4d46, "vendor": 0x1234},
        "regions": [{"bar": 2, "type": "memory", "address": address, "size": 0x10000}],
    }]}])
}

#[tokio::test]
async fn an_event_is_recorded_as_it_came_also_one_that_nobody_knows() {
    let event = r#"{"timestamp": {"seconds": 1795270000, "microseconds": 123456}, "event": "FROM_THE_FUTURE", "data": {"a": [1]}}"#;
    let (mut qmp, events) = qemu(vec![format!("{event}\n{}", returned("text"))]);
    assert_eq!(qmp.monitor("info".into()).await.unwrap(), "text");
    assert_eq!(
        events.recv().unwrap(),
        What::Qmp {
            event: "FROM_THE_FUTURE".into(),
            data: serde_json::json!({"a": [1]}),
        }
    );
}

#[tokio::test]
async fn a_table_is_read_at_the_address_that_the_guest_chose() {
    let dump = "e1010000: 0xfee00000 0x00000000 0x00000063 0x00000000\r\n";
    let (mut qmp, _events) = qemu(vec![returned(device("dev0", 0xe101_0000)), returned(dump)]);
    let place = TablePlace {
        bar: 2,
        offset: 0,
        entries: 1,
    };
    let table = qmp.msix_table(0, place).await.unwrap();
    assert_eq!(table[0].data, 0x63);
}

#[tokio::test]
async fn a_register_without_an_address_and_a_device_that_is_not_there_have_no_table() {
    let place = TablePlace {
        bar: 2,
        offset: 0,
        entries: 1,
    };
    for info in [device("dev0", -1), device("dev0", 0), device("dev1", 4096)] {
        let (mut qmp, _events) = qemu(vec![returned(info)]);
        let error = qmp.msix_table(0, place).await.unwrap_err();
        assert!(
            matches!(error, QmpError::NoTable { dev: 0, bar: 2 }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_command_whose_answer_nobody_waited_for_is_no_obstacle_to_the_next() {
    let answers = ["first", "second", "third"].map(returned);
    let (mut qmp, _events) = qemu(answers.into());
    assert_eq!(qmp.monitor("one".into()).await.unwrap(), "first");
    {
        let mut given_up = pin!(qmp.monitor("two".into()));
        let once = poll_fn(|context| Poll::Ready(given_up.as_mut().poll(context).is_ready()));
        assert!(!once.await, "the answer can't be there yet");
    }
    assert_eq!(qmp.monitor("three".into()).await.unwrap(), "third");
}

#[tokio::test]
async fn whoever_asks_a_qemu_that_is_gone_is_told_so_each_time_and_at_once() {
    let (mut qmp, _events) = qemu(vec![]);
    for _ in 0..3 {
        let error = qmp.monitor("info".into()).await.unwrap_err();
        assert!(matches!(error, QmpError::Channel { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_qemu_that_is_gone_before_it_has_greeted_is_not_waited_for() {
    let (ours, its) = StdUnixStream::pair().unwrap();
    let mut qmp = Qmp::open(ours, Journal::new(Box::new(|_| {}))).unwrap();
    drop(its);
    let begin = std::time::Instant::now();
    let error = qmp.monitor("info".into()).await.unwrap_err();
    assert!(matches!(error, QmpError::Channel { .. }), "{error:?}");
    assert!(begin.elapsed() < ANSWER_LIMIT);
}

#[tokio::test]
async fn a_refusal_is_told_in_qemus_words_and_a_channel_that_closes_is_an_error() {
    let refusal = r#"{"error": {"class": "GenericError", "desc": "no such thing"}}"#;
    let (mut qmp, _events) = qemu(vec![refusal.into()]);
    let error = qmp.monitor("info".into()).await.unwrap_err();
    assert_eq!(error.to_string(), "QEMU refused `info`: no such thing");
    let error = qmp.monitor("info".into()).await.unwrap_err();
    assert!(matches!(error, QmpError::Channel { .. }), "{error:?}");
    let (mut qmp, _events) = qemu(vec![]);
    assert!(qmp.quit().await.is_ok(), "gone is what is wanted");
}
