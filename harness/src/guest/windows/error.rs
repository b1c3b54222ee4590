//! Why a Windows can't be got to where it can be used.

use super::course::StageError;
use crate::machine::MachineError;

/// A Windows can't be got to where it can be used.
#[derive(Debug, thiserror::Error)]
pub enum WindowsError {
    /// The machine could not.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A stage was not got through.
    #[error("{error}{}{}", shown(last), kept(evidence))]
    Stage {
        /// Which, and why.
        error: StageError,
        /// The last lines of the kernel.
        last: Vec<String>,
        /// What was found out about it.
        evidence: Vec<String>,
    },
    /// A state can't be made or found.
    #[error("{doing} failed")]
    State {
        /// What was tried.
        doing: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn shown(last: &[String]) -> String {
    match last {
        [] => "; the kernel had said nothing".into(),
        lines => format!("; the kernel's last lines: {}", lines.join(" | ")),
    }
}

fn kept(evidence: &[String]) -> String {
    evidence.iter().map(|text| format!("; {text}")).collect()
}
