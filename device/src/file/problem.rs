//! What can be wrong with a file, said with the line at fault.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use miette::{Diagnostic, NamedSource, SourceSpan};

/// One thing that is wrong with one file.
#[derive(Clone, Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Problem {
    /// What is wrong, and what was expected.
    pub message: String,
    #[source_code]
    source_code: Arc<NamedSource<Arc<str>>>,
    #[label]
    at: Option<SourceSpan>,
    #[help]
    help: Option<String>,
}

impl Problem {
    /// A problem of the file at `path` that holds `text`; `span` in bytes.
    pub fn new(
        path: &Path,
        text: &Arc<str>,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            message: message.into(),
            source_code: Arc::new(
                NamedSource::new(path.display().to_string(), text.clone()).with_language("TOML"),
            ),
            at: span.map(|s| one_line(text, s).into()),
            help: None,
        }
    }

    /// A problem of a file as a whole, or of one that can't be read.
    pub fn of_file(path: &Path, message: impl Into<String>) -> Self {
        let mut problem = Self::new(path, &Arc::from(""), None, "");
        problem.message = format!("{}: {}", path.display(), message.into());
        problem
    }

    /// Adds a line of advice.
    #[must_use]
    pub fn with_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// The advice, if there is any.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The file's name as it was given.
    pub fn file(&self) -> &str {
        self.source_code.name()
    }

    /// Line and column, both from 1.
    pub fn position(&self) -> Option<(usize, usize)> {
        let text = self.source_code.inner();
        let before = &text[..self.at?.offset()];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Some((line, column))
    }
}

/// Everything that is wrong with what was read. Nothing was started.
#[derive(Clone, Debug, thiserror::Error, Diagnostic)]
#[error("{}", count(.0.len()))]
pub struct Problems(#[related] pub Vec<Problem>);

/// "1 problem", or how many.
pub fn count(n: usize) -> String {
    match n {
        1 => "1 problem, and nothing was started".into(),
        n => format!("{n} problems, and nothing was started"),
    }
}

/// A span over several lines (a table, say) points at its first line only.
fn one_line(text: &str, span: Range<usize>) -> Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    let line_end = text[start..end].find('\n').map_or(end, |n| start + n);
    start..line_end
}

/// The known name that is most like `word`, if one is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let like = |name: &str| strsim::jaro_winkler(&word.to_lowercase(), &name.to_lowercase());
    known
        .into_iter()
        .map(|name| (like(name), name))
        .filter(|(score, _)| *score > 0.78)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// "did you mean …?", or the whole list when nothing is near.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("expected {}", one_of(known)),
    }
}

/// "`a`, `b` or `c`".
pub fn one_of<'a>(known: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = known.into_iter().map(|n| format!("`{n}`")).collect();
    match names.split_last() {
        None => "nothing".into(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["queues", "queue-size", "msix", "attach"];
        assert_eq!(nearest("quues", known), Some("queues"));
        assert_eq!(nearest("MSIX", known), Some("msix"));
        assert_eq!(nearest("zzz", known), None);
    }

    #[test]
    fn a_problem_knows_its_line_and_column() {
        let text: Arc<str> = "a = 1\nb = 2\n".into();
        let problem = Problem::new(Path::new("x.toml"), &text, Some(10..11), "no");
        assert_eq!(problem.position(), Some((2, 5)));
    }
}
