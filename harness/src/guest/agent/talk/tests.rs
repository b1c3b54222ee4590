use super::*;
use proptest::prelude::*;
use qapi::qga::{guest_exec_status, guest_file_close, guest_file_open};

/// What a harness and its agent do on one line.
#[derive(Clone, Debug)]
enum Deed {
    /// It is greeted.
    Greet,
    /// Something is asked for, if the agent is in step.
    Ask,
    /// So many bytes of what the agent has said arrive.
    Arrive(usize),
}

/// An agent as QEMU's is: whatever follows the mark begins anew, and what was there before it is an error.
#[derive(Default)]
struct Model {
    line: Vec<u8>,
    asked: i64,
    says: Vec<u8>,
}

impl Model {
    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match *byte {
                BEGIN => {
                    self.line.clear();
                    self.says.extend(
                        b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"stray\"}}\n",
                    );
                }
                b'\n' => {
                    let call: serde_json::Value = serde_json::from_slice(&self.line).unwrap();
                    self.line.clear();
                    let number = match call["execute"].as_str().unwrap() {
                        "guest-sync-delimited" => {
                            self.says.push(BEGIN);
                            call["arguments"]["id"].as_i64().unwrap()
                        }
                        _ => {
                            self.asked += 1;
                            self.asked
                        }
                    };
                    self.says
                        .extend(format!("{{\"return\": {number}}}\r\n").bytes());
                }
                byte => self.line.push(byte),
            }
        }
    }
}

fn open() -> guest_file_open {
    guest_file_open {
        path: "a".to_owned(),
        mode: None,
    }
}

fn in_step() -> Talk {
    let mut talk = Talk::with_numbers_from(0);
    talk.greet();
    talk.receive(b"\xff{\"return\": 1}\n");
    assert_eq!(talk.heard(), Some(Heard::InStep));
    talk
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        Just(b"{\"return\": 5}\n".to_vec()),
        Just(b"{\"retu".to_vec()),
        Just(b"\xff{\"return\": 3}\n".to_vec()),
        Just(b"\n".to_vec()),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn an_answer_to_a_call_that_was_given_up_is_never_taken_for_anothers(
        before in noise(),
        deeds in prop::collection::vec(
            prop_oneof![
                1 => Just(Deed::Greet),
                3 => Just(Deed::Ask),
                3 => (1_usize..120).prop_map(Deed::Arrive),
            ],
            1..80,
        ),
    ) {
        let mut talk = Talk::with_numbers_from(1000);
        let mut model = Model { says: before, ..Model::default() };
        let (mut asked, mut awaited) = (0, None);
        for deed in deeds {
            match deed {
                Deed::Greet => {
                    awaited = None;
                    model.hear(&talk.greet());
                }
                Deed::Ask if talk.is_in_step() => {
                    asked += 1;
                    awaited = Some(asked);
                    model.hear(&talk.ask(&open()));
                }
                Deed::Ask => {}
                Deed::Arrive(length) => {
                    let length = length.min(model.says.len());
                    let bytes: Vec<u8> = model.says.drain(..length).collect();
                    talk.receive(&bytes);
                }
            }
            match talk.answer::<guest_file_open>() {
                Some(answer) => prop_assert_eq!(answer, Ok(awaited.take().unwrap())),
                None if awaited.is_none() && !talk.is_in_step() => {
                    while talk.heard().is_some_and(|heard| heard != Heard::InStep) {}
                }
                None => {}
            }
        }
        // Whatever was before, the agent answers the next greeting, and what is asked after it.
        model.hear(&talk.greet());
        talk.receive(&std::mem::take(&mut model.says));
        while talk.heard().is_some_and(|heard| heard != Heard::InStep) {}
        prop_assert!(talk.is_in_step());
        model.hear(&talk.ask(&open()));
        talk.receive(&model.says);
        prop_assert_eq!(talk.answer::<guest_file_open>(), Some(Ok(asked + 1)));
    }

    #[test]
    fn answers_are_the_same_however_the_bytes_are_cut(
        before in noise(),
        cuts in prop::collection::vec(1_usize..30, 1..20),
    ) {
        let bytes = [&before[..], b"\xff{\"return\": 1001}\n"].concat();
        let heard = |pieces: &mut dyn Iterator<Item = usize>| {
            let mut talk = Talk::with_numbers_from(1000);
            talk.greet();
            let (mut rest, mut heard) = (bytes.as_slice(), Vec::new());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(pieces.next().unwrap()));
                talk.receive(now);
                heard.extend(std::iter::from_fn(|| talk.heard()));
                rest = later;
            }
            heard
        };
        let whole = heard(&mut std::iter::repeat(usize::MAX));
        prop_assert_eq!(whole.last(), Some(&Heard::InStep));
        let words = |heard: &[Heard]| heard.iter().filter(|one| **one == Heard::InStep).count();
        let cut = heard(&mut cuts.iter().copied().cycle());
        prop_assert_eq!(words(&cut), 1);
        prop_assert_eq!(cut.last(), Some(&Heard::InStep));
    }

    #[test]
    fn whatever_an_agent_answers_there_is_a_result_or_none_and_little_is_told(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        text in "\\PC{0,20}",
    ) {
        let mut talk = in_step();
        talk.ask(&guest_exec_status { pid: 7 });
        talk.receive(&bytes);
        talk.receive(format!("\n{{\"return\": {{\"exited\": {text:?}}}}}\n").as_bytes());
        let answer = talk.answer::<guest_exec_status>();
        if let Some(Err(Failure::Refused(told) | Failure::Odd(told))) = answer {
            prop_assert!(told.chars().count() <= MOST_TOLD);
        }
    }
}

#[test]
fn an_agent_that_answers_more_slowly_than_it_is_greeted_is_heard() {
    let mut talk = Talk::with_numbers_from(0);
    for _ in 0..3 {
        talk.greet();
    }
    talk.receive(b"\xff{\"return\": 1}\n\xff{\"return\": 2}\n");
    assert_eq!(talk.heard(), Some(Heard::Late));
    assert_eq!(talk.heard(), Some(Heard::Late));
    assert_eq!(talk.heard(), None);
    talk.receive(b"{\"error\": {}}\n\xff{\"return\": 4}\n\xff{\"return\": 3}\n");
    assert!(matches!(talk.heard(), Some(Heard::Other(_))));
    assert!(matches!(talk.heard(), Some(Heard::Other(_))));
    assert_eq!(talk.heard(), Some(Heard::InStep));
}

#[test]
fn after_something_was_typed_no_earlier_greeting_counts() {
    let mut talk = Talk::with_numbers_from(0);
    talk.greet();
    talk.typed();
    talk.receive(b"\xff{\"return\": 1}\n{\"error\": {\"desc\": \"JSON parse error\"}}\n");
    assert_eq!(talk.heard(), Some(Heard::Late));
    assert!(!talk.is_in_step());
}

#[test]
fn an_answer_of_another_kind_is_told_and_what_is_no_answer_is_waited_out() {
    let huge = format!("{{\"return\": \"{}\"}}", "x".repeat(100_000));
    for (says, told) in [
        ("{\"return\": 7}", "invalid type: integer `7`"),
        ("{\"return\": {\"count\": 1e99}}", "invalid"),
        (huge.as_str(), "invalid type: string \"xxx"),
        ("{\"error\": 5}", "invalid type: integer `5`"),
        ("{\"error\": {\"desc\": [1]}}", "invalid type: sequence"),
    ] {
        let mut talk = in_step();
        talk.ask(&guest_file_close { handle: 1 });
        talk.receive(b"a word of the kernel's\n[1]\n{}\n{\"x\": 1}\n{\"return\": null}\n\xff{\"return\": 1}\n");
        assert_eq!(talk.answer::<guest_file_close>().map(drop_value), None);
        talk.receive(format!("{says}\n").as_bytes());
        match talk.answer::<guest_file_close>().map(drop_value) {
            // An agent may say more than it is asked for.
            Some(Ok(())) => assert!(says.contains("count"), "{says}"),
            Some(Err(Failure::Odd(why))) => {
                assert!(why.contains(told), "{why}");
                assert!(why.chars().count() <= MOST_TOLD);
            }
            other => panic!("{says}: {other:?}"),
        }
        assert!(talk.is_in_step());
    }
}

fn drop_value<T>(result: Result<T, Failure>) -> Result<(), Failure> {
    result.map(drop)
}

#[test]
fn an_answer_that_never_ends_is_an_error_and_is_not_kept() {
    let mut talk = in_step();
    talk.lines = Lines::new(1 << 20);
    talk.ask(&open());
    let chunk = [b'x'; 16 << 10];
    let mut answer = None;
    for _ in 0..100 {
        talk.receive(&chunk);
        answer = answer.or(talk.answer::<guest_file_open>());
        assert!(talk.held() <= (1 << 20) + chunk.len());
    }
    assert!(matches!(answer, Some(Err(Failure::Odd(_)))), "{answer:?}");
    assert!(!talk.is_in_step());
}
