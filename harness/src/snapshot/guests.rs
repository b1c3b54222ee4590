//! The table that several guests share: `scenario: guest, guest: what came of it`. What is the same on all of
//! them is one line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};

use super::row::Cell;
use super::{Comparison, contents, write};

/// By scenario: what came of it, and on which guests.
type Table = BTreeMap<Cell, BTreeMap<String, BTreeSet<Cell>>>;

/// Compares what came of a scenario on a guest with its line in the table at `path`.
///
/// # Errors
/// When there is a file but it can't be read.
pub fn compare(path: &Path, scenario: &str, guest: &str, row: &str) -> std::io::Result<Comparison> {
    let table = read(path)?;
    let rows = table.get(&Cell(scenario.into()));
    let kept = rows.and_then(|rows| {
        let of_guest = |guests: &BTreeSet<Cell>| guests.contains(&Cell(guest.into()));
        rows.iter().find(|(_, guests)| of_guest(guests))
    });
    Ok(match kept {
        None => Comparison::Missing,
        Some((kept, _)) if kept == row => Comparison::Same,
        Some((kept, _)) => Comparison::Different(format!("-{kept}\n+{row}\n")),
    })
}

/// Makes `row` what came of a scenario on a guest, unless it is already. Returns whether it was written.
///
/// # Errors
/// When the table can't be read or written.
pub fn bless(path: &Path, scenario: &str, guest: &str, row: &str) -> std::io::Result<bool> {
    let _alone = alone(path)?;
    if compare(path, scenario, guest, row)? == Comparison::Same {
        return Ok(false);
    }
    let mut table = read(path)?;
    let rows = table.entry(Cell(scenario.into())).or_default();
    for guests in rows.values_mut() {
        guests.remove(&Cell(guest.into()));
    }
    rows.retain(|_, guests| !guests.is_empty());
    let guests = rows.entry(row.into()).or_default();
    guests.insert(Cell(guest.into()));
    let mut lines = Vec::new();
    for (scenario, rows) in table {
        let mut rows: Vec<_> = rows
            .into_iter()
            .map(|(row, guests)| (guests, row))
            .collect();
        rows.sort();
        for (guests, row) in rows {
            let guests: Vec<String> = guests.into_iter().map(|guest| guest.0).collect();
            lines.push(format!("{}: {}: {row}", scenario.0, guests.join(", ")));
        }
    }
    write(path, &lines.join("\n"))?;
    Ok(true)
}

/// Several scenarios are run at a time, and several guests, each by a process of its own: who has what this returns is
/// alone with the tables in the folder of `path`.
fn alone(path: &Path) -> std::io::Result<(MutexGuard<'static, ()>, Option<File>)> {
    static TABLES: Mutex<()> = Mutex::new(());
    let here = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(folder) = path.parent() else {
        return Ok((here, None));
    };
    fs::create_dir_all(folder)?;
    let folder = File::open(folder)?;
    flock(&folder, FlockOperation::LockExclusive)?;
    Ok((here, Some(folder)))
}

/// The scenarios that the table at `path` has a line for.
///
/// # Errors
/// When there is a file but it can't be read.
pub fn scenarios(path: &Path) -> std::io::Result<Vec<String>> {
    Ok(read(path)?.into_keys().map(|name| name.0).collect())
}

fn read(path: &Path) -> std::io::Result<Table> {
    let file = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        file => file?,
    };
    let mut table = Table::new();
    for line in contents(&file).lines() {
        let mut parts = line.splitn(3, ": ");
        let (Some(scenario), Some(guests), Some(row)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let rows = table.entry(Cell(scenario.into())).or_default();
        let guests = guests.split(", ").map(|guest| Cell(guest.into()));
        rows.entry(row.into()).or_default().extend(guests);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_that_agree_share_a_line_and_one_that_changes_its_mind_leaves_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshots/linux.snap");
        let lines = || {
            let file = std::fs::read_to_string(&path).unwrap();
            contents(&file).trim_end().to_owned()
        };
        assert_eq!(
            compare(&path, "one", "linux-6.12", "started").unwrap(),
            Comparison::Missing
        );
        for guest in ["linux-6.12", "linux-6.1"] {
            assert!(bless(&path, "one", guest, "started: yes").unwrap());
            assert!(!bless(&path, "one", guest, "started: yes").unwrap());
        }
        assert_eq!(lines(), "one: linux-6.1, linux-6.12: started: yes");
        assert!(bless(&path, "one", "linux-6.1", "wedged").unwrap());
        assert_eq!(
            lines(),
            "one: linux-6.1: wedged\none: linux-6.12: started: yes"
        );
        assert_eq!(
            compare(&path, "one", "linux-6.12", "wedged").unwrap(),
            Comparison::Different("-started: yes\n+wedged\n".into())
        );
        assert!(bless(&path, "one", "linux-6.12", "wedged").unwrap());
        assert_eq!(lines(), "one: linux-6.1, linux-6.12: wedged");
        assert_eq!(scenarios(&path).unwrap(), ["one"]);
    }
}
