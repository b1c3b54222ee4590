//! Snapshots in insta's file format, so that `cargo insta review` works on them.
//!
//! The cells of a matrix share a snapshot: a table with a line for each ([`row`]). So do the scenarios of a family
//! on guests that are not ours ([`guests`]).

pub mod guests;
pub mod row;

use std::path::{Path, PathBuf};

/// How a text compares with its snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is the same.
    Same,
    /// There is no snapshot.
    Missing,
    /// It differs; the difference line by line.
    Different(String),
}

/// Compares `text` with the snapshot at `path`. What surrounds the text is not looked at.
///
/// # Errors
/// When there is a file but it can't be read.
pub fn compare(path: &Path, text: &str) -> std::io::Result<Comparison> {
    let file = match std::fs::read_to_string(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Comparison::Missing);
        }
        Err(error) => return Err(error),
    };
    let kept = contents(&file).trim_end();
    let text = text.trim_end();
    if kept == text {
        return Ok(Comparison::Same);
    }
    let diff = similar::TextDiff::from_lines(kept, text);
    Ok(Comparison::Different(
        diff.unified_diff()
            .context_radius(2)
            .header("snapshot", "this run")
            .to_string(),
    ))
}

/// Makes `text` the snapshot at `path`, unless it is already. Returns whether it was written.
///
/// # Errors
/// When it can't be read or written.
pub fn bless(path: &Path, text: &str) -> std::io::Result<bool> {
    let differs = compare(path, text)? != Comparison::Same;
    if differs {
        write(path, text)?;
    }
    withdraw(path)?;
    Ok(differs)
}

/// Puts a text that differs beside its snapshot, where `cargo insta review` finds it, if it is
/// `acceptable`; takes away what lies there from earlier if it is the same.
///
/// # Errors
/// When the file can't be written or removed.
pub fn offer(
    path: &Path,
    text: &str,
    comparison: &Comparison,
    acceptable: bool,
) -> std::io::Result<()> {
    match comparison {
        Comparison::Different(_) if acceptable => write(&pending(path), text),
        Comparison::Same => withdraw(path),
        Comparison::Different(_) | Comparison::Missing => Ok(()),
    }
}

/// Where a text lies that may take the place of the snapshot at `path`.
pub fn pending(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn withdraw(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(pending(path)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(
        path,
        format!("---\nsource: {SOURCE}\n---\n{}\n", text.trim_end()),
    )
}

/// The test that insta is told the snapshots belong to.
const SOURCE: &str = "harness/tests/conformance.rs";

/// The text of a snapshot file: what follows the metadata.
fn contents(file: &str) -> &str {
    file.strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---\n"))
        .map_or(file, |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blessed_text_is_the_same_and_another_is_shown_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshots/a.snap");
        assert_eq!(compare(&path, "one\n").unwrap(), Comparison::Missing);
        bless(&path, "one\ntwo\n").unwrap();
        assert_eq!(compare(&path, "one\ntwo").unwrap(), Comparison::Same);
        let Comparison::Different(diff) = compare(&path, "one\nthree").unwrap() else {
            panic!("must differ")
        };
        assert!(
            diff.contains("-two\n") && diff.contains("+three\n"),
            "{diff}"
        );
    }

    #[test]
    fn a_differing_text_is_offered_until_one_is_equal_or_blessed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.snap");
        let new = dir.path().join("a.snap.new");
        let run = |text: &str, acceptable| {
            let comparison = compare(&path, text).unwrap();
            offer(&path, text, &comparison, acceptable).unwrap();
            new.is_file()
        };
        assert!(bless(&path, "one").unwrap());
        assert!(!bless(&path, "one").unwrap());
        assert!(!run("two", false));
        assert!(run("two", true));
        let offered = insta::Snapshot::from_file(&new).unwrap();
        assert_eq!(offered.metadata().source(), Some(SOURCE));
        assert!(!run("one", true));
        assert!(run("two", true));
        assert!(bless(&path, "two").unwrap());
        assert!(!new.exists());
    }

    #[test]
    fn insta_reads_what_was_blessed() {
        let dir = tempfile::tempdir().unwrap();
        bless(
            &dir.path().join("steady.snap"),
            "## steps\n0 wait ready: end\n\n## driver log\nx",
        )
        .unwrap();
        insta::with_settings!({ snapshot_path => dir.path(), prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("steady", "## steps\n0 wait ready: end\n\n## driver log\nx\n");
        });
        let read = insta::Snapshot::from_file(&dir.path().join("steady.snap")).unwrap();
        assert_eq!(read.metadata().source(), Some(SOURCE));
    }
}
