//! The sections of an INF. Their names, and the keys in them, are the same in capitals and small
//! letters; two sections of one name are one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use misfire_device::file::Problem;

use super::text;

/// An INF file.
#[derive(Clone, Debug)]
pub struct Inf {
    path: PathBuf,
    text: Arc<str>,
    sections: HashMap<String, Vec<Line>>,
    strings: HashMap<String, String>,
}

/// A line of a section: `key = field, field, …`, or the fields alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file, from 1.
    pub number: usize,
    /// What stands before the `=`, `%tokens%` replaced.
    pub key: Option<String>,
    /// What is separated by commas, `%tokens%` replaced.
    pub fields: Vec<String>,
}

impl Line {
    /// A field in small letters; empty where there is none.
    pub fn word(&self, index: usize) -> String {
        self.fields
            .get(index)
            .map_or_else(String::new, |f| f.to_lowercase())
    }

    /// Whether its key is `name`, in whatever letters.
    pub fn is(&self, name: &str) -> bool {
        self.key
            .as_deref()
            .is_some_and(|key| key.eq_ignore_ascii_case(name))
    }
}

impl Inf {
    /// Reads the bytes of a file; `path` is only named.
    ///
    /// # Errors
    /// The first line that is no section, no entry and no comment; and a file that is no INF.
    pub fn read(path: &Path, bytes: &[u8]) -> Result<Self, Problem> {
        let text: Arc<str> = text::decode(bytes).into();
        let mut inf = Self {
            path: path.to_owned(),
            text: Arc::clone(&text),
            sections: HashMap::new(),
            strings: HashMap::new(),
        };
        let lines = text::lines(&text);
        let mut raw: Vec<(String, usize, String)> = Vec::new();
        let mut section: Option<String> = None;
        for (number, line) in lines {
            if let Some(rest) = line.strip_prefix('[') {
                let Some(name) = rest.strip_suffix(']') else {
                    return Err(inf.problem(number, "a section's name ends with `]`"));
                };
                let name = name.trim().to_lowercase();
                inf.sections.entry(name.clone()).or_default();
                section = Some(name);
                continue;
            }
            let Some(section) = &section else {
                return Err(inf.problem(number, "this line is in no section: expected `[Version]`"));
            };
            raw.push((section.clone(), number, line));
        }
        inf.strings = raw
            .iter()
            .filter(|(section, ..)| section == "strings")
            .filter_map(|(_, _, line)| line.split_once('='))
            .map(|(key, value)| (bare(key).to_lowercase(), text::fields(value).concat()))
            .collect();
        for (section, number, line) in raw {
            let (key, value) = match split_key(&line) {
                Some((key, value)) => (Some(inf.expand(&bare(key))), value),
                None => (None, line.as_str()),
            };
            let fields = text::fields(value)
                .iter()
                .map(|field| inf.expand(field))
                .collect();
            inf.sections.entry(section).or_default().push(Line {
                number,
                key,
                fields,
            });
        }
        let signature = inf
            .section("version")
            .iter()
            .find(|line| line.is("signature"));
        match signature.map(|line| line.word(0)) {
            Some(name) if name == "$windows nt$" || name == "$chicago$" => Ok(inf),
            Some(other) => {
                let message = format!("the signature is `{other}`: expected `$WINDOWS NT$`");
                let number = signature.map_or(1, |line| line.number);
                Err(inf.problem(number, &message))
            }
            None => Err(Problem::of_file(
                path,
                "is no INF: expected a section [Version] with Signature = \"$WINDOWS NT$\"",
            )),
        }
    }

    /// The lines of a section; none if it is not there.
    pub fn section(&self, name: &str) -> &[Line] {
        self.sections
            .get(&name.to_lowercase())
            .map_or(&[], Vec::as_slice)
    }

    /// Whether there is such a section, empty or not.
    pub fn has(&self, name: &str) -> bool {
        self.sections.contains_key(&name.to_lowercase())
    }

    /// A problem with a line of the file, by its number.
    pub fn problem(&self, number: usize, message: &str) -> Problem {
        let mut start = 0;
        let mut end = 0;
        for line in self.text.split_inclusive('\n').take(number) {
            start = end;
            end += line.len();
        }
        let end = start + self.text[start..end].trim_end().len();
        Problem::new(&self.path, &self.text, Some(start..end), message)
    }

    /// Replaces `%token%` by what [Strings] says; `%%` is a percent sign.
    fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(before);
            let Some((name, after)) = after.split_once('%') else {
                out.push('%');
                rest = after;
                break;
            };
            match self.strings.get(&name.to_lowercase()) {
                _ if name.is_empty() => out.push('%'),
                Some(value) => out.push_str(value),
                // A number is a folder (dirid), anything else a token that nobody defined.
                None => out.extend(["%", name, "%"]),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// The key of a line without its quotation marks.
fn bare(key: &str) -> String {
    text::fields(key).concat()
}

/// Cuts at the first `=` outside quotation marks.
fn split_key(line: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let at = line.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == '=' && !quoted).then_some(at)
    })?;
    Some((&line[..at], &line[at + 1..]))
}
