//! The guest's agent, whatever it says.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use misfire::guest::agent::qga::{
    QgaCommand, guest_exec_status, guest_file_open, guest_file_read, guest_info,
};
use misfire::guest::agent::{Failure, Heard, Talk};

#[derive(Debug, Arbitrary)]
enum Deed {
    Noise(Vec<u8>),
    /// The last greeting is answered, or an earlier one.
    Greeted(u8),
    /// Something is answered.
    Said(Vec<Word>),
    Greet,
    Typed,
    Ask(u8),
}

/// A piece of an answer.
#[derive(Debug, Arbitrary)]
enum Word {
    Key(u8),
    Number(i64),
    Text(String),
    Mark(u8),
}

const KEYS: [&str; 12] = [
    "return", "error", "desc", "class", "pid", "exited", "exitcode", "out-data", "count",
    "buf-b64", "eof", "version",
];
const MARKS: [&str; 8] = ["{", "}", "[", "]", ",", "true", "null", "\n"];

impl Word {
    fn text(self) -> String {
        match self {
            Self::Key(which) => format!("{:?}:", KEYS[usize::from(which) % KEYS.len()]),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => format!("{text:?}"),
            Self::Mark(which) => MARKS[usize::from(which) % MARKS.len()].to_owned(),
        }
    }
}

/// Takes the answer to a command; whether it came.
fn takes<C: QgaCommand>(talk: &mut Talk) -> bool {
    let Some(answer) = talk.answer::<C>() else {
        return false;
    };
    if let Err(Failure::Refused(told) | Failure::Odd(told)) = answer {
        assert!(told.chars().count() <= 400);
    }
    // There is one answer to a call.
    assert!(talk.answer::<C>().is_none());
    true
}

fuzz_target!(|deeds: Vec<Deed>| {
    let mut talk = Talk::with_numbers_from(0);
    let mut asked = None;
    for deed in deeds {
        let bytes = match deed {
            Deed::Noise(bytes) => bytes,
            Deed::Greeted(earlier) => {
                let number = talk.number().saturating_sub(earlier.into());
                let mut bytes = vec![0xff];
                bytes.extend(format!("{{\"return\": {number}}}\n").bytes());
                bytes
            }
            Deed::Said(words) => {
                let text: String = words.into_iter().map(Word::text).collect();
                format!("{text}\n").into_bytes()
            }
            Deed::Greet => {
                asked = None;
                assert!(talk.greet().ends_with(b"\n"));
                continue;
            }
            Deed::Typed => {
                asked = None;
                talk.typed();
                continue;
            }
            Deed::Ask(which) => {
                if talk.is_in_step() {
                    match which % 4 {
                        0 => talk.ask(&guest_info {}),
                        1 => talk.ask(&guest_exec_status { pid: 1 }),
                        2 => talk.ask(&guest_file_open {
                            path: String::new(),
                            mode: None,
                        }),
                        _ => talk.ask(&guest_file_read {
                            handle: 1,
                            count: None,
                        }),
                    };
                    asked = Some(which % 4);
                }
                continue;
            }
        };
        let before = talk.held();
        talk.receive(&bytes);
        assert!(talk.held() <= before + bytes.len());
        let came = match asked {
            Some(0) => takes::<guest_info>(&mut talk),
            Some(1) => takes::<guest_exec_status>(&mut talk),
            Some(2) => takes::<guest_file_open>(&mut talk),
            Some(_) => takes::<guest_file_read>(&mut talk),
            None => {
                let was_in_step = talk.is_in_step();
                while let Some(heard) = talk.heard() {
                    // What is in step stays so until something is asked.
                    assert!(!(was_in_step && heard == Heard::InStep));
                }
                false
            }
        };
        if came {
            asked = None;
        }
    }
});
