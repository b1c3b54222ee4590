//! A PowerShell that reads commands from the port, and how it becomes an agent: the small agent of a
//! prepared image is typed in, piece by piece, and run. What is heard goes in, what is to be typed comes
//! out; nothing here opens, waits or reads a clock.
//!
//! Each line that is typed has PowerShell work out a number that does not stand in the line, so that an
//! echo is no answer; it may print a prompt before it and blanks after it.

use std::collections::VecDeque;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};

/// What is typed in.
const AGENT: &str = include_str!("../../../guests/windows/setup/agent.ps1");
/// Characters of a line: less than what the port of a Windows keeps for who reads slowly.
const PIECE: usize = 512;
/// What stands before a number that was worked out.
const MARK: &str = "misfire:";
/// How long a PowerShell may take to say the first number, and each of the others.
const FIRST: Duration = Duration::from_secs(1);
const EACH: Duration = Duration::from_secs(5);

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The answer is not there yet.
    Wait,
    /// The next line to type.
    Type(String),
    /// The last one: from here on there is an agent.
    Run(String),
    /// It can't be done: why.
    Refused(String),
}

/// A PowerShell that is about to become an agent.
#[derive(Debug)]
pub(crate) struct Prompt {
    pieces: VecDeque<String>,
    /// The number that is waited for.
    awaited: u64,
    /// Characters that have been typed.
    typed: u64,
    began: bool,
    seed: u64,
}

impl Prompt {
    /// One of which it is not known whether it is there. `seed` tells one question from another.
    pub fn new(seed: u64) -> Self {
        let coded = BASE64_STANDARD.encode(AGENT);
        let pieces = coded.as_bytes().chunks(PIECE);
        Self {
            pieces: pieces
                .map(|piece| String::from_utf8_lossy(piece).into_owned())
                .collect(),
            awaited: 0,
            typed: 0,
            began: false,
            seed,
        }
    }

    /// The question whether it is there.
    pub fn begin(&mut self) -> String {
        self.awaited = self.seed + 1;
        // What stood on the line before is ended.
        format!("\r\n$m='';'{MARK}'+({}+1)\r\n", self.seed)
    }

    /// How long the answer may take.
    pub fn patience(&self) -> Duration {
        if self.began { EACH } else { FIRST }
    }

    /// A line came.
    pub fn hear(&mut self, line: &str) -> Step {
        let Some(number) = worked_out(line) else {
            return Step::Wait;
        };
        match number == self.awaited {
            // The answer to a question that was given up.
            false if !self.began => return Step::Wait,
            false => {
                return Step::Refused(format!(
                    "it has {number} characters of {}: the line loses some",
                    self.awaited
                ));
            }
            true => self.began = true,
        }
        match self.pieces.pop_front() {
            Some(piece) => {
                self.typed += piece.len() as u64;
                self.awaited = self.typed;
                Step::Type(format!("$m+='{piece}';'{MARK}'+$m.Length\r\n"))
            }
            None => Step::Run(
                "$MisfireTyped=1;iex ([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($m)))\r\n"
                    .to_owned(),
            ),
        }
    }
}

/// The number that a line ends with, if it was worked out.
fn worked_out(line: &str) -> Option<u64> {
    let (_, number) = line.trim_end().rsplit_once(MARK)?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PowerShell as far as it is used: what it prints to a line, with or without an echo.
    fn answer(held: &mut String, line: &str, echoes: bool) -> Vec<String> {
        let line = line.trim();
        let mut lines = Vec::new();
        let before = match echoes {
            true => {
                lines.push(format!("PS C:\\> {line}\r"));
                ""
            }
            false => "PS> ",
        };
        let number = match line.strip_prefix("$m+='") {
            Some(rest) => {
                held.push_str(rest.split('\'').next().unwrap());
                held.len() as u64
            }
            None => {
                held.clear();
                let sum = line.split_once("+(").unwrap().1;
                sum.trim_end_matches(')')
                    .split('+')
                    .map(|n| n.parse::<u64>().unwrap())
                    .sum()
            }
        };
        lines.push(format!("{before}misfire:{number}\r"));
        lines.push("\r".to_owned());
        lines
    }

    #[test]
    fn a_powershell_is_given_the_whole_agent_whether_it_echoes_or_not() {
        for echoes in [false, true] {
            let (mut prompt, mut held) = (Prompt::new(7), String::new());
            let mut typed = prompt.begin();
            let run = 'all: loop {
                let mut next = None;
                for line in answer(&mut held, &typed, echoes) {
                    match prompt.hear(&line) {
                        Step::Wait => {}
                        Step::Type(text) => next = Some(text),
                        Step::Run(text) => break 'all text,
                        Step::Refused(why) => panic!("{why}"),
                    }
                }
                typed = next.expect("it goes on");
                assert!(typed.len() < PIECE + 64, "{typed}");
            };
            assert!(run.contains("iex "), "{run}");
            assert_eq!(BASE64_STANDARD.decode(&held).unwrap(), AGENT.as_bytes());
        }
    }

    #[test]
    fn what_is_no_answer_is_waited_out_and_a_line_that_loses_something_is_told() {
        let mut prompt = Prompt::new(7);
        let typed = prompt.begin();
        for line in [
            typed.trim(),
            "{\"error\": {\"class\": \"GenericError\"}}",
            "misfire:",
            "misfire:3",
            "At line:1 char:5",
        ] {
            assert_eq!(prompt.hear(line), Step::Wait, "{line}");
        }
        assert!(matches!(prompt.hear("PS> misfire:8 \r"), Step::Type(_)));
        assert_eq!(
            prompt.hear("misfire:500"),
            Step::Refused("it has 500 characters of 512: the line loses some".into())
        );
    }
}
