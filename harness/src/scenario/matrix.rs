//! `[matrix]`: one scenario for each combination of values, and `[[case]]`: what is laid over which.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::document::{Document, Source};
use super::problem::{Problem, suggest};

/// The most scenarios that one matrix may give.
pub const MAX_CELLS: usize = 1024;

/// The matrix of a file.
#[derive(Debug)]
pub(super) struct Matrix<'i> {
    axes: Vec<Axis>,
    cases: Vec<Case<'i>>,
    at: Range<usize>,
}

/// A key of the file that takes several values.
#[derive(Debug)]
struct Axis {
    /// Its keys with dots; without `device.` in front.
    name: String,
    path: Vec<String>,
    terms: Vec<Spanned<Term>>,
}

/// A value as it is written: itself, or that of another axis and so much more.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Value(Value),
    Sum { axis: String, plus: i64 },
}

/// The value that a key has in one cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i64),
    Truth(bool),
    Word(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Truth(b) => b.fmt(f),
            Self::Word(w) => w.fmt(f),
        }
    }
}

/// What is laid over the cells that it is about.
#[derive(Debug)]
pub(super) struct Case<'i> {
    when: Vec<Condition>,
    /// Where its condition stands.
    pub(super) at: Range<usize>,
    /// What is laid over the file.
    pub(super) over: DeTable<'i>,
}

/// The values of one axis that are meant.
#[derive(Debug)]
struct Condition {
    axis: String,
    any: Vec<Reach>,
}

#[derive(Debug)]
enum Reach {
    Is(Term),
    /// Both ends are meant; without an end, everything from there on.
    Range(Term, Option<Term>),
}

/// One combination.
#[derive(Debug)]
pub(super) struct Cell {
    /// `msix=2,pin=true`, by the names of the axes.
    pub(super) name: String,
    values: BTreeMap<String, Value>,
    /// Path, place and text of each value.
    keys: Vec<(Vec<String>, Range<usize>, Value, String)>,
}

impl<'i> Matrix<'i> {
    /// Takes `[matrix]` and the `[[case]]`s out of a file.
    pub(super) fn take(document: &mut Document<'i>) -> Result<Option<Self>, Problem> {
        let cases = document.take("case");
        let source = &document.source.clone();
        let Some(matrix) = document.take("matrix") else {
            return match cases {
                None => Ok(None),
                Some(cases) => Err(source.problem(
                    Some(cases.span()),
                    "a [[case]] is about cells of a [matrix], and there is none",
                )),
            };
        };
        let at = matrix.span();
        let DeValue::Table(table) = matrix.into_inner() else {
            return Err(source.problem(Some(at), "`matrix` must be a table"));
        };
        let mut lists = Vec::new();
        leaves(source, &table, &mut Vec::new(), &mut lists)?;
        if lists.is_empty() {
            return Err(source.problem(Some(at), "the matrix has no list of values"));
        }
        let names: Vec<String> = lists.iter().map(|(path, _)| name_of(path)).collect();
        let mut axes = Vec::new();
        for ((path, list), name) in lists.into_iter().zip(&names) {
            let terms = list.iter().map(|value| {
                let term = term(source, value, &names)?;
                Ok(Spanned::new(value.span(), term))
            });
            axes.push(Axis {
                name: name.clone(),
                terms: terms.collect::<Result<_, Problem>>()?,
                path,
            });
        }
        sums_are_of_numbers(source, &axes)?;
        let cases = match cases.map(|c| (c.span(), c.into_inner())) {
            None => Vec::new(),
            Some((_, DeValue::Array(list))) => list
                .into_iter()
                .map(|entry| case(source, entry, &names))
                .collect::<Result<_, _>>()?,
            Some((span, _)) => {
                return Err(source.problem(Some(span), "`case` must be written as [[case]]"));
            }
        };
        Ok(Some(Self { axes, cases, at }))
    }

    /// Every combination, each once: an axis may give a value twice.
    pub(super) fn cells(&self, source: &Source) -> Result<Vec<Cell>, Problem> {
        let count = self
            .axes
            .iter()
            .try_fold(1_usize, |n, axis| n.checked_mul(axis.terms.len()))
            .filter(|n| *n <= MAX_CELLS);
        let Some(count) = count else {
            let message = format!("the matrix has more than {MAX_CELLS} cells");
            return Err(source.problem(Some(self.at.clone()), message));
        };
        let mut seen = BTreeSet::new();
        let mut cells = Vec::new();
        for number in 0..count {
            let cell = self.cell(number);
            if seen.insert(cell.name.clone()) {
                cells.push(cell);
            }
        }
        Ok(cells)
    }

    /// The combination of this number: its digits choose the values.
    fn cell(&self, mut number: usize) -> Cell {
        let mut chosen: BTreeMap<&str, (&Axis, &Spanned<Term>)> = BTreeMap::new();
        for axis in &self.axes {
            let term = &axis.terms[number % axis.terms.len()];
            number /= axis.terms.len();
            chosen.insert(&axis.name, (axis, term));
        }
        let plain: BTreeMap<String, Value> = chosen
            .iter()
            .filter_map(|(name, (_, term))| match term.get_ref() {
                Term::Value(value) => Some(((*name).to_owned(), value.clone())),
                Term::Sum { .. } => None,
            })
            .collect();
        let (mut values, mut keys, mut parts) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (name, (axis, term)) in chosen {
            let Some(value) = resolve(term.get_ref(), &plain) else {
                continue; // refused when the file was read
            };
            parts.push(format!("{name}={value}"));
            keys.push((
                axis.path.clone(),
                term.span(),
                value.clone(),
                value.to_string(),
            ));
            values.insert(name.to_owned(), value);
        }
        Cell {
            name: parts.join(","),
            values,
            keys,
        }
    }

    /// The cases, in the order of the file.
    pub(super) fn cases(&self) -> &[Case<'i>] {
        &self.cases
    }
}

impl Cell {
    /// Its values as a table to lay over the file; each stands where the matrix has it.
    pub(super) fn table(&self) -> DeTable<'_> {
        let mut root = DeTable::new();
        for (path, at, value, text) in &self.keys {
            let value = match value {
                Value::Truth(truth) => DeValue::Boolean(*truth),
                Value::Word(word) => DeValue::String(word.as_str().into()),
                Value::Number(_) => match DeValue::parse(text) {
                    Ok(number) => number.into_inner(),
                    Err(_) => continue, // a number in decimal digits is TOML
                },
            };
            insert(&mut root, path, at, value);
        }
        root
    }
}

impl Case<'_> {
    /// Whether it is about this cell.
    pub(super) fn is_about(&self, cell: &Cell) -> bool {
        self.when.iter().all(|condition| {
            cell.values
                .get(&condition.axis)
                .is_some_and(|value| condition.any.iter().any(|r| r.has(value, &cell.values)))
        })
    }
}

impl Reach {
    fn has(&self, value: &Value, cell: &BTreeMap<String, Value>) -> bool {
        match self {
            Self::Is(term) => resolve(term, cell).as_ref() == Some(value),
            Self::Range(from, to) => {
                let from = resolve(from, cell).is_some_and(|from| from <= *value);
                let to = to.as_ref().map(|to| resolve(to, cell));
                from && to.is_none_or(|to| to.is_some_and(|to| *value <= to))
            }
        }
    }
}

fn insert<'c>(table: &mut DeTable<'c>, path: &'c [String], at: &Range<usize>, value: DeValue<'c>) {
    let [key, rest @ ..] = path else { return };
    let spanned = |value| Spanned::new(at.clone(), value);
    if rest.is_empty() {
        table.insert(
            Spanned::new(at.clone(), key.as_str().into()),
            spanned(value),
        );
        return;
    }
    if !table.contains_key(key.as_str()) {
        let inner = spanned(DeValue::Table(DeTable::new()));
        table.insert(Spanned::new(at.clone(), key.as_str().into()), inner);
    }
    if let Some(DeValue::Table(inner)) = table.get_mut(key.as_str()).map(Spanned::get_mut) {
        insert(inner, rest, at, value);
    }
}

/// What a term is, where the other axes have these values.
fn resolve(term: &Term, values: &BTreeMap<String, Value>) -> Option<Value> {
    match term {
        Term::Value(value) => Some(value.clone()),
        Term::Sum { axis, plus } => match values.get(axis)? {
            Value::Number(n) => n.checked_add(*plus).map(Value::Number),
            _ => None,
        },
    }
}

/// The lists in a table and the tables in it, with their paths.
fn leaves<'t, 'i>(
    source: &Source,
    table: &'t DeTable<'i>,
    path: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, &'t DeArray<'i>)>,
) -> Result<(), Problem> {
    for (key, value) in table {
        path.push(key.get_ref().clone().into_owned());
        match value.get_ref() {
            DeValue::Table(inner) if path.len() < 4 => leaves(source, inner, path, found)?,
            DeValue::Array(list) if !list.is_empty() => found.push((path.clone(), list)),
            _ => {
                let message = format!("`{}`: expected a list of values", path.join("."));
                return Err(source.problem(Some(value.span()), message));
            }
        }
        path.pop();
    }
    Ok(())
}

/// How an axis is called.
fn name_of(path: &[String]) -> String {
    let name = path.join(".");
    name.strip_prefix("device.")
        .map_or(name.clone(), Into::into)
}

fn term(source: &Source, value: &Spanned<DeValue<'_>>, axes: &[String]) -> Result<Term, Problem> {
    let problem = |message: &str| Err(source.problem(Some(value.span()), message));
    Ok(match value.get_ref() {
        DeValue::Boolean(truth) => Term::Value(Value::Truth(*truth)),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Term::Value(Value::Number(number)),
            Err(_) => return problem("this number is too large"),
        },
        DeValue::String(text) => match written(text, axes) {
            Some(term) => term,
            None => return problem("expected a word of letters, digits, `.`, `_` and `-`"),
        },
        _ => return problem("expected a number, a word, true or false"),
    })
}

/// What a string means: an axis, an axis and a number, or itself.
fn written(text: &str, axes: &[String]) -> Option<Term> {
    let sum = |axis: &String| {
        let rest = text.strip_prefix(axis.as_str())?;
        let plus = match rest {
            "" => 0,
            _ if rest.starts_with(['+', '-']) => rest.parse().ok()?,
            _ => return None,
        };
        Some(Term::Sum {
            axis: axis.clone(),
            plus,
        })
    };
    if let Some(sum) = axes.iter().find_map(sum) {
        return Some(sum);
    }
    if let Ok(number) = text.parse() {
        return Some(Term::Value(Value::Number(number)));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (!text.is_empty() && text.len() <= 64 && text.chars().all(plain))
        .then(|| Term::Value(Value::Word(text.to_owned())))
}

/// Refuses a sum of what is no number, or of another sum.
fn sums_are_of_numbers(source: &Source, axes: &[Axis]) -> Result<(), Problem> {
    let number = |term: &Spanned<Term>| matches!(term.get_ref(), Term::Value(Value::Number(_)));
    for (axis, term) in axes
        .iter()
        .flat_map(|a| a.terms.iter().map(move |t| (a, t)))
    {
        let Term::Sum { axis: of, .. } = term.get_ref() else {
            continue;
        };
        let plain = axes
            .iter()
            .any(|a| a.name == *of && a.name != axis.name && a.terms.iter().all(number));
        if !plain {
            let message = format!("`{of}` is not an axis whose values are all numbers");
            return Err(source.problem(Some(term.span()), message));
        }
    }
    Ok(())
}

fn case<'i>(
    source: &Source,
    entry: Spanned<DeValue<'i>>,
    axes: &[String],
) -> Result<Case<'i>, Problem> {
    let span = entry.span();
    let DeValue::Table(mut over) = entry.into_inner() else {
        return Err(source.problem(Some(span), "`case` must be written as [[case]]"));
    };
    let Some(when) = over.remove("when") else {
        return Err(source.problem(Some(span), "a [[case]] needs a `when`"));
    };
    let at = when.span();
    let DeValue::Table(table) = when.into_inner() else {
        let message = "`when` must be a table of axes and values, such as { msix = 0 }";
        return Err(source.problem(Some(at), message));
    };
    let mut when = Vec::new();
    for (key, value) in &table {
        let axis = key.get_ref().as_ref();
        if !axes.iter().any(|a| a == axis) {
            let message = format!("the matrix has no axis `{axis}`");
            let help = suggest(axis, axes.iter().map(String::as_str));
            return Err(source
                .problem(Some(key.span()), message)
                .with_help(Some(help)));
        }
        let any = match value.get_ref() {
            DeValue::Array(list) => list
                .iter()
                .map(|one| reach(source, one, axes))
                .collect::<Result<_, _>>()?,
            _ => vec![reach(source, value, axes)?],
        };
        when.push(Condition {
            axis: axis.to_owned(),
            any,
        });
    }
    for key in ["matrix", "case", "variant"] {
        if let Some(inner) = over.get(key) {
            let message = format!("a [[case]] can't have a `{key}`");
            return Err(source.problem(Some(inner.span()), message));
        }
    }
    Ok(Case { when, at, over })
}

/// A value, or a range: `"1..queues"`, `"911.."`.
fn reach(source: &Source, value: &Spanned<DeValue<'_>>, axes: &[String]) -> Result<Reach, Problem> {
    let range = value.get_ref().as_str().and_then(|t| t.split_once(".."));
    let Some((from, to)) = range else {
        return Ok(Reach::Is(term(source, value, axes)?));
    };
    let end = |text: &str| match written(text, axes) {
        Some(term @ (Term::Sum { .. } | Term::Value(Value::Number(_)))) => Ok(term),
        _ => Err(source.problem(
            Some(value.span()),
            format!("`{text}` is no end of a range: expected a number, or an axis and a number"),
        )),
    };
    let to = if to.is_empty() { None } else { Some(end(to)?) };
    Ok(Reach::Range(end(from)?, to))
}

#[cfg(test)]
mod tests;
