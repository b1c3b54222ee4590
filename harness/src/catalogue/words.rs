//! The table as a person reads it on a terminal.

use std::fmt;

use super::{Catalogue, Status};

impl fmt::Display for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for bug in &self.bugs {
            writeln!(f, "{}  {:16}  {}", bug.id, bug.status.word(), bug.symptom)?;
            writeln!(f, "     {:16}  from {}", "", bug.source)?;
            for (what, list) in [("in", &bug.scenarios), ("by", &bug.rules)] {
                if !list.is_empty() {
                    writeln!(f, "     {:16}  {what} {}", "", list.join(", "))?;
                }
            }
            if let Some(note) = bug.note {
                writeln!(f, "     {:16}  {note}", "")?;
            }
        }
        write!(f, "{} bugs", self.bugs.len())?;
        for status in Status::ALL {
            let count = self.count(*status);
            if count > 0 {
                write!(f, ", {count} {}", status.word())?;
            }
        }
        Ok(())
    }
}
