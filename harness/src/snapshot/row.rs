//! The table that the cells of a matrix share: `cell: what came of it`, in the order of the values.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::{Comparison, contents, write};

/// Compares what came of a cell with its line in the table at `path`.
///
/// # Errors
/// When there is a file but it can't be read.
pub fn compare(path: &Path, cell: &str, row: &str) -> std::io::Result<Comparison> {
    Ok(match read(path)?.get(&Cell(cell.into())) {
        None => Comparison::Missing,
        Some(kept) if kept == row => Comparison::Same,
        Some(kept) => Comparison::Different(format!("-{kept}\n+{row}\n")),
    })
}

/// Makes `row` the line of a cell, unless it is already. Returns whether it was written.
///
/// # Errors
/// When the table can't be read or written.
pub fn bless(path: &Path, cell: &str, row: &str) -> std::io::Result<bool> {
    // Several cells are run at a time.
    static TABLES: Mutex<()> = Mutex::new(());
    let _alone = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rows = read(path)?;
    if rows.get(&Cell(cell.into())).is_some_and(|kept| kept == row) {
        return Ok(false);
    }
    rows.insert(Cell(cell.into()), row.into());
    let lines: Vec<String> = rows
        .iter()
        .map(|(cell, row)| format!("{}: {row}", cell.0))
        .collect();
    write(path, &lines.join("\n"))?;
    Ok(true)
}

/// The cells that the table at `path` has a line for.
///
/// # Errors
/// When there is a file but it can't be read.
pub fn cells(path: &Path) -> std::io::Result<Vec<String>> {
    Ok(read(path)?.into_keys().map(|cell| cell.0).collect())
}

fn read(path: &Path) -> std::io::Result<BTreeMap<Cell, String>> {
    let file = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        file => file?,
    };
    let rows = contents(&file).lines().filter_map(|line| {
        let (cell, row) = line.split_once(": ")?;
        Some((Cell(cell.into()), row.into()))
    });
    Ok(rows.collect())
}

/// A name. Numbers in it count as numbers: 64 comes before 910.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell(pub(super) String);

impl Cell {
    fn parts(&self) -> impl Iterator<Item = (Option<u64>, &str)> {
        self.0
            .split([',', '=', '.', '-'])
            .map(|part| (part.parse().ok(), part))
    }
}

impl Ord for Cell {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts()
            .cmp(other.parts())
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Cell {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_has_a_line_of_its_own_in_the_order_of_the_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshots/table.snap");
        for cell in ["msix=910,pin=true", "msix=64,pin=true", "msix=64,pin=false"] {
            assert_eq!(compare(&path, cell, "x").unwrap(), Comparison::Missing);
            assert!(bless(&path, cell, "x").unwrap());
            assert!(!bless(&path, cell, "x").unwrap());
            assert_eq!(compare(&path, cell, "x").unwrap(), Comparison::Same);
        }
        let changed = compare(&path, "msix=64,pin=true", "y").unwrap();
        assert_eq!(changed, Comparison::Different("-x\n+y\n".into()));
        assert_eq!(
            cells(&path).unwrap(),
            ["msix=64,pin=false", "msix=64,pin=true", "msix=910,pin=true"]
        );
        let read = insta::Snapshot::from_file(&path).unwrap();
        assert_eq!(read.metadata().source(), Some(super::super::SOURCE));
    }
}
