//! The arguments of a verb, as they are written and as they are read.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::{Spanned, Value};

use super::catalogue::Verb;
use super::error::{FaultError, nearest, place};
use super::predicate::Number;
use super::schedule::duration;
use crate::endpoint::Nanos;

/// The arguments of one fault, read by name.
pub struct Args<'a> {
    values: BTreeMap<&'a str, &'a Spanned<Value>>,
    verb: &'static Verb,
    at: Range<usize>,
}

impl<'a> Args<'a> {
    /// Checks that every name is one that the verb has. `at` is the verb's place in the file.
    pub fn new(
        verb: &'static Verb,
        values: &'a BTreeMap<Spanned<String>, Spanned<Value>>,
        at: Range<usize>,
    ) -> Result<Self, FaultError> {
        for name in values.keys() {
            if !verb.args.iter().any(|a| a.name == name.get_ref()) {
                let known: Vec<_> = verb.args.iter().map(|a| a.name).collect();
                let expected = match known.as_slice() {
                    [] => "it has none".to_owned(),
                    known => format!("it has {}", known.join(", ")),
                };
                return Err(FaultError::at(
                    name.span(),
                    format!(
                        "`{}` has no argument `{}`: {expected}",
                        verb.name,
                        name.get_ref()
                    ),
                )
                .help(nearest(name.get_ref(), known)));
            }
        }
        Ok(Self {
            values: values
                .iter()
                .map(|(k, v)| (k.get_ref().as_str(), v))
                .collect(),
            verb,
            at,
        })
    }

    /// The value as it is written.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.values.get(name).map(|v| v.get_ref())
    }

    /// An error at an argument, or at the verb if the argument is not there.
    pub fn error(&self, name: &str, message: impl Into<String>) -> FaultError {
        let span = self.values.get(name).map_or(self.at.clone(), |v| v.span());
        FaultError::at(span, message)
    }

    /// The argument has to be there.
    pub fn missing(&self, name: &str) -> FaultError {
        let words = self
            .verb
            .args
            .iter()
            .find(|a| a.name == name)
            .map_or("", |a| a.words);
        self.error(
            name,
            format!("`{}` needs the argument `{name}`: {words}", self.verb.name),
        )
    }

    fn wrong(&self, name: &str, expected: &str) -> FaultError {
        let value = self
            .value(name)
            .map_or_else(String::new, ToString::to_string);
        self.error(name, format!("{name} = {value}: expected {expected}"))
    }

    /// A whole number in a range.
    pub fn integer(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, FaultError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        value
            .as_integer()
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| range.contains(n))
            .map(Some)
            .ok_or_else(|| {
                self.wrong(
                    name,
                    &format!("a number from {} to {}", range.start(), range.end()),
                )
            })
    }

    /// A time with its unit, in nanoseconds.
    pub fn time(&self, name: &str) -> Result<Option<Nanos>, FaultError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        value
            .as_str()
            .and_then(duration)
            .map(Some)
            .ok_or_else(|| self.wrong(name, "a time with its unit, such as \"1500ms\""))
    }

    /// True or false.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, FaultError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        value
            .as_bool()
            .map(Some)
            .ok_or_else(|| self.wrong(name, "true or false"))
    }

    /// A word.
    pub fn word(&self, name: &str) -> Result<Option<&'a str>, FaultError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        value
            .as_str()
            .map(Some)
            .ok_or_else(|| self.wrong(name, "a word in quotes"))
    }

    /// A number, or an expression that is one.
    pub fn number(&self, name: &str) -> Result<Option<Number>, FaultError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Integer(n)) => Number::parse(&n.to_string()).map(Some),
            Some(Value::String(text)) => Number::parse(text).map(Some).map_err(|error| {
                let whole = self.values.get(name).map_or(self.at.clone(), |v| v.span());
                let span = place(&whole, text.len(), error.span.clone());
                FaultError {
                    span: Some(span),
                    ..error
                }
            }),
            Some(_) => Err(self.wrong(name, "a number, or an expression such as \"val + 1\"")),
        }
    }
}
