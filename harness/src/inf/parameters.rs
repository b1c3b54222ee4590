//! What an INF writes for a StorPort miniport to read: the values of its service under `Parameters\Device`
//! and `Parameters\Device(d)` (`StorPortRegistryRead`; "INF AddService directive", "INF AddReg directive").

use super::driver::{TYPE_MASK, number, registry_lines};
use super::file::{Inf, Line};

/// Values under the keys that a miniport can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// What is there when the INF has been carried out, in the order of the file.
    pub values: Vec<Parameter>,
    /// Lines that write what can't be handed on, and why.
    pub refused: Vec<(usize, &'static str)>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The number of the adapter whose it is; none: all have it.
    pub adapter: Option<u32>,
    /// At most 64 printable ASCII characters.
    pub name: String,
    /// What it is.
    pub data: Data,
}

/// A value's type and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// REG_SZ, of ASCII characters.
    Text(String),
    /// REG_BINARY.
    Binary(Vec<u8>),
    /// REG_DWORD.
    Number(u32),
    /// REG_EXPAND_SZ, of ASCII characters, as it is written.
    Expandable(String),
    /// REG_MULTI_SZ, of ASCII characters.
    Texts(Vec<String>),
    /// REG_QWORD.
    Long(u64),
}

/// SPSVCINST_ASSOCSERVICE: the service is the device's.
const ASSOCIATED: u32 = 0x2;
/// FLG_ADDREG_NOCLOBBER, FLG_ADDREG_DELVAL and FLG_ADDREG_KEYONLY.
const KEEP: u32 = 0x2;
const DELETE: u32 = 0x4;
const KEY_ONLY: u32 = 0x10;
/// Types among the flags.
const SZ: u32 = 0;
const BINARY: u32 = 0x1;
const DWORD: u32 = 0x0001_0001;
const EXPAND_SZ: u32 = 0x0002_0000;
const MULTI_SZ: u32 = 0x0001_0000;
/// FLG_ADDREG_BINVALUETYPE with the number of REG_QWORD.
const QWORD: u32 = 0x000b_0001;
/// FLG_ADDREG_APPEND.
const APPEND: u32 = 0x8;
/// How much is handed on: values, and bytes of all names and contents. The guest's command line has to hold it.
const MOST_VALUES: usize = 32;
const MOST_BYTES: usize = 1024;
const LONGEST_NAME: usize = 64;
/// Adapters that can have values of their own.
const MOST_ADAPTERS: u32 = 16;

impl Parameters {
    /// What the services of an install section have.
    pub(super) fn of(inf: &Inf, install: &str, depth: usize) -> Self {
        let mut all = Self::default();
        let services = inf.section(&format!("{install}.services")).iter();
        for service in services.filter(|line| line.is("addservice")) {
            if number(&service.word(1)).is_some_and(|flags| flags & ASSOCIATED != 0) {
                for line in registry_lines(inf, &service.word(2), depth) {
                    all.add(line);
                }
            }
        }
        all
    }

    fn add(&mut self, line: &Line) {
        let (Some(adapter), "hkr") = (key(&line.word(1)), line.word(0).as_str()) else {
            return;
        };
        let name = line.fields.get(2).map_or("", String::as_str);
        let flags = match line.word(3).as_str() {
            "" => Some(SZ),
            text => number(text),
        };
        let Some(flags) = flags else {
            return self.refused.push((line.number, "its flags are no number"));
        };
        if flags & KEY_ONLY != 0 || name.is_empty() {
            return;
        }
        let same =
            |value: &Parameter| value.adapter == adapter && value.name.eq_ignore_ascii_case(name);
        if flags & DELETE != 0 {
            return self.values.retain(|value| !same(value));
        }
        let old = self.values.iter().position(same);
        if flags & KEEP != 0 && old.is_some() {
            return;
        }
        if flags & APPEND != 0 {
            let why = "what is appended to a REG_MULTI_SZ can't be handed on";
            return self.refused.push((line.number, why));
        }
        let parameter = data(line, flags & TYPE_MASK).and_then(|data| {
            let is_short = name.len() <= LONGEST_NAME;
            if !is_short || !name.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
                return Err("a value's name has at most 64 printable ASCII characters here");
            }
            let name = name.to_owned();
            Ok(Parameter {
                adapter,
                name,
                data,
            })
        });
        match (parameter, old) {
            (Err(why), _) => self.refused.push((line.number, why)),
            (Ok(parameter), Some(n)) => self.values[n] = parameter,
            (Ok(parameter), None) => self.values.push(parameter),
        }
        let bytes = self
            .values
            .iter()
            .map(|value| value.name.len() + value.bytes().1.len());
        if self.values.len() > MOST_VALUES || bytes.sum::<usize>() > MOST_BYTES {
            self.values.clear();
            let why =
                "at most 32 values of 1024 bytes, with their names, can be handed to the guest";
            self.refused.push((line.number, why));
        }
    }
}

impl Parameter {
    /// The type as the registry has it, and the bytes that a miniport gets.
    pub fn bytes(&self) -> (u32, Vec<u8>) {
        match &self.data {
            Data::Text(text) => (1, [text.as_bytes(), &[0]].concat()),
            Data::Binary(bytes) => (3, bytes.clone()),
            Data::Number(number) => (4, number.to_le_bytes().into()),
            Data::Expandable(text) => (2, [text.as_bytes(), &[0]].concat()),
            Data::Texts(texts) => {
                let each = texts
                    .iter()
                    .flat_map(|text| [text.as_bytes(), &[0]].concat());
                (7, each.chain([0]).collect())
            }
            Data::Long(number) => (11, number.to_le_bytes().into()),
        }
    }
}

/// Whose values a key of the service has; none for a key that miniports can't read.
fn key(key: &str) -> Option<Option<u32>> {
    match key.trim_matches('\\').strip_prefix("parameters\\device")? {
        "" => Some(None),
        digits if digits.bytes().all(|c| c.is_ascii_digit()) => {
            let adapter = digits.parse().ok().filter(|n| *n < MOST_ADAPTERS);
            adapter.map(Some)
        }
        _ => None,
    }
}

fn data(line: &Line, kind: u32) -> Result<Data, &'static str> {
    let fields = line.fields.get(4..).unwrap_or_default();
    match (kind, fields) {
        (SZ | EXPAND_SZ, fields) => {
            let text = ascii(&fields.first().cloned().unwrap_or_default())?;
            Ok(match kind {
                SZ => Data::Text(text),
                _ => Data::Expandable(text),
            })
        }
        (MULTI_SZ, fields) => {
            let texts = fields.iter().filter(|text| !text.is_empty());
            texts
                .map(|text| ascii(text))
                .collect::<Result<_, _>>()
                .map(Data::Texts)
        }
        (DWORD, [text]) => number(text)
            .map(Data::Number)
            .ok_or("a REG_DWORD is a number of 32 bits"),
        (DWORD, _) => Err("a REG_DWORD is one number here"),
        (BINARY, fields) => bytes(fields)
            .map(Data::Binary)
            .ok_or("a REG_BINARY is bytes in hexadecimal, with commas between them"),
        (QWORD, fields) => bytes(fields)
            .and_then(|bytes| bytes.try_into().ok())
            .map(|bytes| Data::Long(u64::from_le_bytes(bytes)))
            .ok_or("a REG_QWORD is eight bytes in hexadecimal, with commas between them"),
        _ => Err(
            "the type is none that can be handed on: REG_SZ, REG_EXPAND_SZ, REG_MULTI_SZ, REG_BINARY, REG_DWORD or \
             REG_QWORD",
        ),
    }
}

fn ascii(text: &str) -> Result<String, &'static str> {
    let is_text = text.is_ascii() && !text.contains('\0');
    is_text
        .then(|| text.to_owned())
        .ok_or("a text has ASCII characters alone here")
}

fn bytes(fields: &[String]) -> Option<Vec<u8>> {
    let fields = fields.iter().filter(|text| !text.is_empty());
    fields
        .map(|text| u8::from_str_radix(text.trim(), 16).ok())
        .collect()
}
