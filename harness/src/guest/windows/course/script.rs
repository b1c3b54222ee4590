//! The harness's script in the guest: how it is run, and what it answers.

use super::order::{Ended, Order};
use crate::guest::agent::AgentError;
use crate::guest::windows::{SCRIPT_ARGS, SCRIPT_AT};

/// What it answers when what was to be set at a node is set.
const SET: &str = "MISFIRE: done ok interrupts";

/// Has the harness's script run with these arguments.
pub(super) fn script(args: &str) -> Order {
    let all = SCRIPT_ARGS
        .iter()
        .copied()
        .chain([SCRIPT_AT])
        .chain(args.split_ascii_whitespace());
    Order::Run {
        program: "powershell.exe".to_owned(),
        args: all.map(str::to_owned).collect(),
    }
}

/// The line that what was to be set at the node of a device was not, if it was not: an error, since the
/// scenario can't be run as it is written then.
pub(super) fn setting_failed(dev: usize, ran: &Result<Ended, AgentError>) -> Option<String> {
    let why = match ran {
        Ok(ended) if ended.output.lines().any(|line| line.trim() == SET) => return None,
        Ok(ended) => said(&ended.output).map_or_else(
            || "the script said nothing".to_owned(),
            |said| format!("the script said: {said}"),
        ),
        Err(error) => error.to_string(),
    };
    Some(format!(
        "MISFIRE: error the settings of device {dev} were not made: {why}"
    ))
}

/// What a program printed, in one line; `None`: nothing.
pub(super) fn said(output: &str) -> Option<String> {
    let said = output.trim().replace("\r\n", " | ");
    (!said.is_empty()).then_some(said)
}

/// The value of `key=value` in a command.
pub(super) fn value<'c>(command: &'c str, key: &str) -> Option<&'c str> {
    let pairs = command
        .split_ascii_whitespace()
        .filter_map(|word| word.split_once('='));
    pairs
        .into_iter()
        .find(|(k, _)| *k == key)
        .map(|(_, value)| value)
}
