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

impl FaultError {
    /// An error with no place yet.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            span: None,
            message: message.into(),
            help: None,
        }
    }

    /// An error at a place in the file.
    pub(super) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(message).within(span)
    }

    /// Puts the error somewhere, if it has no place yet.
    pub(super) fn within(mut self, span: Range<usize>) -> Self {
        self.span.get_or_insert(span);
        self
    }

    /// Adds what to write instead, if there is anything.
    pub(super) fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }
}

/// The known name that is nearest to `name`, as a question.
pub(super) fn nearest<'a>(
    name: &str,
    known: impl IntoIterator<Item = impl AsRef<str> + 'a>,
) -> Option<String> {
    /// Below this a likeness is chance (Jaro-Winkler, 0 to 1).
    const ALIKE: f64 = 0.8;
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(name, k.as_ref()), k))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, k)| format!("did you mean `{}`?", k.as_ref()))
}

/// The place of `part` in `whole`, if it is a part of it.
pub(super) fn place(
    whole: &Range<usize>,
    text_len: usize,
    part: Option<Range<usize>>,
) -> Range<usize> {
    match part {
        // A one-line string without escapes: its quotes are all that is added.
        Some(part) if whole.len() == text_len + 2 => {
            whole.start + 1 + part.start..whole.start + 1 + part.end
        }
        _ => whole.clone(),
    }
}
