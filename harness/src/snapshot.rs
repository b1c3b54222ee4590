//! Snapshots in insta's file format, so that `cargo insta review` works on them.

use std::path::Path;

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

/// Makes `text` the snapshot at `path`.
///
/// # Errors
/// When it can't be written.
pub fn bless(path: &Path, text: &str) -> std::io::Result<()> {
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
