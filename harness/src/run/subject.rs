//! What is under test: the guest that `--guest` names.

use std::sync::Arc;

use crate::guest::{NT, NtDriver};
use crate::scenario::Scenario;

/// The kind of the guest that is built in.
pub const REFERENCE: &str = "reference";
/// Its driver and the revision, as `expect.known` names it.
const REFERENCE_DRIVER: &str = "reference@1";

/// What is booted, and what it is called.
#[derive(Clone, Debug, Default)]
pub enum Subject {
    /// The reference guest and its driver.
    #[default]
    Reference,
    /// A driver's own image on the reference guest's model of Windows.
    Nt(Box<NtDriver>),
}

/// `--guest` names none that there is.
#[derive(Debug, thiserror::Error)]
#[error("no guest is called `{name}`")]
pub struct NoGuest {
    /// What was typed.
    name: String,
    /// What can be.
    pub help: String,
}

impl Subject {
    /// The guest of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self, NoGuest> {
        match name {
            REFERENCE => Ok(Self::Reference),
            _ => Err(NoGuest {
                name: name.to_owned(),
                help: format!("the guests that are built in are called `{REFERENCE}` and `{NT}`"),
            }),
        }
    }

    /// Its kind, as `expect` names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Reference => REFERENCE,
            Self::Nt(_) => NT,
        }
    }

    /// Its driver and the revision of it, as `expect.known` names it.
    pub fn driver(&self) -> Option<&str> {
        match self {
            Self::Reference => Some(REFERENCE_DRIVER),
            Self::Nt(_) => None,
        }
    }

    /// Why a scenario is not meant for this guest, if it isn't.
    pub fn skips(&self, scenario: &Scenario) -> Option<String> {
        match self {
            Self::Reference => None,
            Self::Nt(driver) => driver.unsuited(scenario),
        }
    }

    /// Whether the snapshots beside the scenarios are of runs of this guest.
    pub fn has_snapshots(&self) -> bool {
        matches!(self, Self::Reference)
    }

    /// The guest's command line for a scenario.
    pub(super) fn command_line(&self, scenario: &Scenario) -> String {
        match self {
            Self::Reference => scenario.guest.command_line(),
            Self::Nt(driver) => driver.command_line(scenario),
        }
    }

    /// A driver's image for the guest.
    pub(super) fn image(&self) -> Option<Arc<[u8]>> {
        match self {
            Self::Reference => None,
            Self::Nt(driver) => Some(driver.image()),
        }
    }
}
