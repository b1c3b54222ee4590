//! What of a run its snapshot holds, and where it lies.

use std::io;
use std::path::{Path, PathBuf};

use misfire_device::trace::Event;

use super::Subject;
use crate::rules::Judgement;
use crate::scenario::Scenario;
use crate::snapshot::{self, Comparison};
use crate::transcript::row;
use crate::verdict::Observed;

/// The snapshot that a run belongs to, and what it has to say there.
pub(super) enum Keeping {
    /// The whole transcript, in a file of its own.
    Transcript(PathBuf),
    /// A cell of a matrix has a line in a table.
    Cell {
        path: PathBuf,
        cell: String,
        row: String,
    },
    /// So has each scenario of a family on the guests that share a table.
    Shared {
        path: PathBuf,
        scenario: String,
        guest: String,
        row: String,
    },
}

impl Keeping {
    pub(super) fn of(
        scenario: &Scenario,
        subject: &Subject,
        events: &[Event],
        observed: &Observed,
        judgements: &[Judgement],
    ) -> Self {
        let path = scenario.snapshot_of(&subject.name());
        if let Some(table) = subject.shares_snapshots() {
            let name = scenario.name.rsplit('/').next().unwrap_or_default();
            let mut row = row(events, observed);
            let broken = judgements.iter().filter(|judgement| judgement.fails());
            let broken: Vec<&str> = broken.map(|judgement| judgement.id).collect();
            if !broken.is_empty() {
                row += &format!("; breaks {}", broken.join(", "));
            }
            return Self::Shared {
                path: scenario.snapshot().with_file_name(table),
                scenario: name.to_owned(),
                guest: subject.snapshot_name(events),
                row,
            };
        }
        match scenario.cell() {
            Some(cell) => Self::Cell {
                path,
                cell: cell.to_owned(),
                row: row(events, observed),
            },
            None => Self::Transcript(path),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Transcript(path) | Self::Cell { path, .. } | Self::Shared { path, .. } => path,
        }
    }

    pub(super) fn compare(&self, transcript: &str) -> io::Result<Comparison> {
        match self {
            Self::Transcript(path) => snapshot::compare(path, transcript),
            Self::Cell { path, cell, row } => snapshot::row::compare(path, cell, row),
            Self::Shared {
                path,
                scenario,
                guest,
                row,
            } => snapshot::guests::compare(path, scenario, guest, row),
        }
    }

    pub(super) fn bless(&self, transcript: &str) -> io::Result<bool> {
        match self {
            Self::Transcript(path) => snapshot::bless(path, transcript),
            Self::Cell { path, cell, row } => snapshot::row::bless(path, cell, row),
            Self::Shared {
                path,
                scenario,
                guest,
                row,
            } => snapshot::guests::bless(path, scenario, guest, row),
        }
    }

    /// Puts a transcript that differs beside its snapshot; a line of a table is not offered.
    pub(super) fn offer(
        &self,
        transcript: &str,
        comparison: &Comparison,
        acceptable: bool,
    ) -> io::Result<()> {
        match self {
            Self::Transcript(path) => snapshot::offer(path, transcript, comparison, acceptable),
            Self::Cell { .. } | Self::Shared { .. } => Ok(()),
        }
    }

    /// Its line in a table, if it has one.
    pub(super) fn into_row(self) -> Option<String> {
        match self {
            Self::Transcript(_) => None,
            Self::Cell { row, .. } | Self::Shared { row, .. } => Some(row),
        }
    }
}
