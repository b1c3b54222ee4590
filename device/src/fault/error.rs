//! What is wrong with a `[[fault]]` table.

use std::ops::Range;

/// A fault that can't be armed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FaultError {
    /// The bytes of the file at fault; none when the table did not come from a file.
    pub span: Option<Range<usize>>,
    /// What is wrong, and what was expected.
    pub message: String,
    /// The nearest known name, or what to write instead.
    pub help: Option<String>,
}
