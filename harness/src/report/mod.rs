//! What a run tells, and to whom: a terminal, a JSON document, JUnit, a page of HTML.
//!
//! One struct holds what came of a scenario ([`ScenarioReport`]), one holds the whole run
//! ([`Document`]). The runner sends [`Progress`]; the terminal shows it as it comes, and the
//! documents are written from what was collected.

mod document;
mod drivers;
mod html;
mod junit;
mod sides;
mod terminal;

pub use document::{Document, FaultReport, ScenarioReport, Summary};
pub(crate) use document::{millis, told};
pub use drivers::{Findings, KeptRun, drivers_page};
pub use html::html;
pub use junit::junit;
pub use sides::{OtherRule, Row, Sides};
pub use terminal::{Terminal, one_scenario};

/// What the runner tells while it runs.
#[derive(Clone, Debug)]
pub enum Progress {
    /// This many scenarios are going to run.
    Begin(usize),
    /// A scenario begins.
    Start(String),
    /// A scenario has its verdict.
    End(Box<ScenarioReport>),
}
