//! What is under test: the guest that `--guest` names.

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
                help: format!("the guest that is built in is called `{REFERENCE}`"),
            }),
        }
    }

    /// Its kind, as `expect` names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Reference => REFERENCE,
        }
    }

    /// Its driver and the revision of it, as `expect.known` names it.
    pub fn driver(&self) -> Option<&str> {
        match self {
            Self::Reference => Some(REFERENCE_DRIVER),
        }
    }

    /// Why a scenario is not meant for this guest, if it isn't.
    pub fn skips(&self, _scenario: &Scenario) -> Option<String> {
        match self {
            Self::Reference => None,
        }
    }
}
