//! What is at a machine's first serial port: a console, or a kernel debugger.

use super::console::Console;
use super::debugger::{Debugger, line_of};

#[derive(Debug)]
pub(super) enum Line {
    Console(Console),
    Debugger(Debugger),
}

impl Line {
    /// The next line; `None` when the machine is gone and every line was taken.
    pub(super) async fn next(&mut self) -> Option<String> {
        match self {
            Self::Console(console) => console.next().await,
            Self::Debugger(debugger) => debugger.next().await.map(|event| line_of(&event)),
        }
    }

    /// Sends a line. At a debugger there is nobody who reads one.
    pub(super) async fn say(&mut self, line: &str) {
        if let Self::Console(console) = self {
            // A guest that is gone does not hear it, which is told to whoever takes the next line.
            let _ = console.say(line).await;
        }
    }

    /// The last lines that were taken, oldest first.
    pub(super) fn last(&self) -> Vec<String> {
        match self {
            Self::Console(console) => console.last(),
            Self::Debugger(debugger) => debugger.last(),
        }
    }
}
