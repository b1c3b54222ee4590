//! A TOML document whose values remember where they stand, so that every later finding has a line.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{Problem, suggest};

/// A file that was read, and its text.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name as it was given.
    pub path: PathBuf,
    /// What it holds.
    pub text: Arc<str>,
}

impl Source {
    /// Something is wrong at these bytes of it.
    pub fn problem(&self, span: Option<Range<usize>>, message: impl Into<String>) -> Problem {
        Problem::new(&self.path, &self.text, span, message)
    }

    /// An error of the TOML reader, with the nearest known name for an unknown key.
    fn toml_problem(&self, error: &toml::de::Error) -> Problem {
        let message = error.message().trim_end();
        let mut quoted = message.split('`').skip(1).step_by(2);
        let help = (message.starts_with("unknown field") || message.starts_with("unknown variant"))
            .then(|| quoted.next())
            .flatten()
            .map(|word| suggest(word, quoted.clone()));
        self.problem(
            error.span(),
            message
                .replace("unknown field", "unknown key")
                .replace("missing field", "missing key"),
        )
        .with_help(help)
    }
}

/// One step on the way to a value.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// The key of a table.
    Key(&'a str),
    /// A place in a list, from 0.
    Index(usize),
}

impl<'a> From<&'a str> for At<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for At<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A document, whole or after a variant was laid over it.
#[derive(Clone, Debug)]
pub struct Document<'i> {
    /// The file.
    pub source: Source,
    table: Spanned<DeTable<'i>>,
}

impl<'i> Document<'i> {
    /// Reads `text` as TOML; `path` is only named.
    ///
    /// # Errors
    /// It is not TOML.
    pub fn parse(path: &Path, text: &'i str) -> Result<Self, Problem> {
        let source = Source {
            path: path.to_owned(),
            text: Arc::from(text),
        };
        let table = DeTable::parse(text).map_err(|e| source.toml_problem(&e))?;
        Ok(Self { source, table })
    }

    /// Takes the `[[variant]]` tables out, each with its name and the name's place.
    pub fn take_variants(&mut self) -> Result<Vec<Variant<'i>>, Problem> {
        let Some(entry) = self.table.get_mut().remove("variant") else {
            return Ok(Vec::new());
        };
        let span = entry.span();
        let DeValue::Array(list) = entry.into_inner() else {
            return Err(self
                .source
                .problem(Some(span), "`variant` must be written as [[variant]]"));
        };
        list.into_iter().map(|entry| self.variant(entry)).collect()
    }

    fn variant(&self, entry: Spanned<DeValue<'i>>) -> Result<Variant<'i>, Problem> {
        let span = entry.span();
        let problem = |span, message: &str| Err(self.source.problem(Some(span), message));
        let DeValue::Table(mut table) = entry.into_inner() else {
            return problem(span, "`variant` must be written as [[variant]]");
        };
        let Some(name) = table.remove("name") else {
            return problem(span, "a [[variant]] needs a `name`");
        };
        let at = name.span();
        let DeValue::String(name) = name.into_inner() else {
            return problem(at, "the name of a variant must be a string");
        };
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        {
            return problem(
                at,
                "the name of a variant must be of small letters, digits and `-`",
            );
        }
        if let Some(nested) = table.get("variant") {
            return problem(nested.span(), "a variant can't have variants");
        }
        Ok(Variant {
            name: name.into_owned(),
            at,
            table,
        })
    }

    /// Takes the value of a key out.
    pub fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'i>>> {
        self.table.get_mut().remove(key)
    }

    /// The document with a variant laid over it.
    ///
    /// # Errors
    /// A table where the document has a list of tables.
    pub fn with(&self, variant: &Variant<'i>) -> Result<Self, Problem> {
        self.over(&variant.table)
    }

    /// The document with a table laid over it.
    ///
    /// # Errors
    /// A table where the document has a list of tables.
    pub fn over(&self, table: &DeTable<'i>) -> Result<Self, Problem> {
        let mut merged = self.clone();
        merge(merged.table.get_mut(), table).map_err(|span| {
            self.source.problem(
                Some(span),
                "the scenario has a list of tables here: give the variant's own list with [[…]]",
            )
        })?;
        Ok(merged)
    }

    /// The document without what stands under `key` of the table `table`.
    #[must_use]
    pub fn without(&self, table: &str, key: &str) -> Self {
        let mut left = self.clone();
        let inner = left.table.get_mut().get_mut(table).map(Spanned::get_mut);
        if let Some(DeValue::Table(inner)) = inner {
            inner.remove(key);
        }
        left
    }

    /// Whether something is written at `path`.
    pub fn has(&self, path: &[At<'_>]) -> bool {
        self.walk(path).1
    }

    /// Where the value at `path` stands, or the nearest table around it.
    pub fn span(&self, path: &[At<'_>]) -> Range<usize> {
        self.walk(path).0
    }

    /// The place of the value at `path` or of the nearest table around it, and whether it is the value.
    fn walk(&self, path: &[At<'_>]) -> (Range<usize>, bool) {
        let mut span = self.table.span();
        let mut table = Some(self.table.get_ref());
        let mut array: Option<&DeArray<'_>> = None;
        for at in path {
            let next = match (at, table, array) {
                (At::Key(key), Some(t), _) => t.get(*key),
                (At::Index(i), _, Some(a)) => a.get(*i),
                (At::Index(0), Some(_), None) => continue, // [device] stands for a list of one
                _ => None,
            };
            let Some(next) = next else {
                return (span, false);
            };
            span = next.span();
            table = next.get_ref().as_table();
            array = next.get_ref().as_array();
        }
        (span, true)
    }

    /// Something is wrong with the value at `path`.
    pub fn problem(&self, path: &[At<'_>], message: impl Into<String>) -> Problem {
        self.source.problem(Some(self.span(path)), message)
    }

    /// Reads the document as `T`, after single values were put into lists where `lists` says so.
    pub fn read<T: DeserializeOwned>(&self, lists: &[&[&str]]) -> Result<T, Problem> {
        let mut table = self.table.clone();
        for path in lists {
            listify(table.get_mut(), path);
        }
        T::deserialize(toml::de::Deserializer::from(table))
            .map_err(|e| self.source.toml_problem(&e))
    }
}

/// A `[[variant]]` table without its name.
#[derive(Clone, Debug)]
pub struct Variant<'i> {
    /// Its name.
    pub name: String,
    /// Where the name stands, in bytes.
    pub at: Range<usize>,
    table: DeTable<'i>,
}

/// Lays `over` on `base`: tables key by key, anything else whole.
fn merge<'i>(base: &mut DeTable<'i>, over: &DeTable<'i>) -> Result<(), Range<usize>> {
    for (key, value) in over {
        match (
            base.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut),
            value.get_ref(),
        ) {
            (Some(DeValue::Table(old)), DeValue::Table(new)) => merge(old, new)?,
            (Some(DeValue::Array(old)), DeValue::Table(_))
                if old.iter().any(|v| v.get_ref().is_table()) =>
            {
                return Err(value.span());
            }
            _ => {
                base.remove(key.get_ref().as_ref());
                base.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(())
}

/// Puts the value at `path` into a list of one, unless it is a list. `*` goes through every value.
fn listify<'i>(table: &mut DeTable<'i>, path: &[&str]) {
    match path {
        [] => {}
        [key] => {
            if let Some(value) = table.get_mut(*key).filter(|v| !v.get_ref().is_array()) {
                let span = value.span();
                let single = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
                let list: DeArray<'_> = [Spanned::new(span, single)].into_iter().collect();
                *value.get_mut() = DeValue::Array(list);
            }
        }
        ["*", rest @ ..] => {
            for (_, value) in table.iter_mut() {
                into_tables(value.get_mut(), rest);
            }
        }
        [key, rest @ ..] => {
            if let Some(value) = table.get_mut(*key) {
                into_tables(value.get_mut(), rest);
            }
        }
    }
}

fn into_tables<'i>(value: &mut DeValue<'i>, path: &[&str]) {
    match value {
        DeValue::Table(table) => listify(table, path),
        DeValue::Array(list) => list.iter_mut().for_each(|v| into_tables(v.get_mut(), path)),
        _ => {}
    }
}
