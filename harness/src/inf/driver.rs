//! What an INF installs: for which devices, and with which interrupts.

use serde::Serialize;

use super::file::{Inf, Line};
use super::parameters::Parameters;

/// What the machine's processor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 32-bit x86.
    X86,
    /// 64-bit x86.
    #[default]
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

impl Architecture {
    const fn extension(self) -> &'static str {
        match self {
            Self::X86 => ".ntx86",
            Self::Amd64 => ".ntamd64",
            Self::Arm64 => ".ntarm64",
        }
    }
}

/// What an INF says for one processor.
#[derive(Clone, Debug)]
pub struct Driver {
    /// The devices that it is for, in the order of the file.
    pub models: Vec<Model>,
}

/// A line of a models section: a device, and what is installed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its number in the file.
    pub line: usize,
    /// What people read.
    pub description: String,
    /// The hardware id, and compatible ids after it.
    pub ids: Vec<String>,
    /// The install section, with its extension.
    pub install: String,
    /// The oldest version of Windows that may use it, as `(major, minor)`; none: any.
    pub since: Option<(u32, u32)>,
    /// What is written to its hardware key about interrupts.
    pub interrupts: Interrupts,
    /// What its service has for a StorPort miniport.
    pub parameters: Parameters,
}

/// `Interrupt Management\MessageSignaledInterruptProperties` as an INF leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interrupts {
    /// `MSISupported`.
    pub msi_supported: Option<Entry>,
    /// `MessageNumberLimit`.
    pub message_limit: Option<Entry>,
    /// Lines that name these values where Plug and Play does not look: in the install section itself.
    pub misplaced: Vec<usize>,
}

/// A value of the registry as the INF writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The line that writes it.
    pub line: usize,
    /// Its number; none if it is not a REG_DWORD.
    pub value: Option<u32>,
    /// As it is written.
    pub text: String,
}

/// The subkey, in small letters.
const KEY: &str = "interrupt management\\messagesignaledinterruptproperties";
/// FLG_ADDREG_TYPE_DWORD without the flags that say how to write.
const DWORD: u32 = 0x0001_0001;
/// Of the flags: the type of the value.
pub(super) const TYPE_MASK: u32 = 0xffff_0001;
/// How deep `Needs` may lead.
const MAX_NEEDS: usize = 16;

impl Driver {
    /// What `inf` says for machines of this architecture.
    pub fn of(inf: &Inf, architecture: Architecture) -> Self {
        let mut models = Vec::new();
        for maker in inf.section("Manufacturer") {
            let Some(name) = maker.fields.first() else {
                continue;
            };
            let mut sections: Vec<(String, Option<(u32, u32)>)> = Vec::new();
            for decoration in &maker.fields[1..] {
                if let Some(since) = target(decoration, architecture) {
                    sections.push((format!("{name}.{decoration}"), since));
                }
            }
            if maker.fields.len() == 1 {
                sections.push((name.clone(), None));
            }
            for (section, since) in sections {
                for line in inf.section(&section) {
                    models.extend(model(inf, line, since, architecture));
                }
            }
        }
        Self { models }
    }
}

/// Whether a decoration such as `NTamd64.10.0...22000` is for this architecture, and since which
/// version of Windows.
fn target(decoration: &str, architecture: Architecture) -> Option<Option<(u32, u32)>> {
    let mut parts = decoration.split('.');
    let platform = format!(".{}", parts.next()?.to_lowercase());
    // `NT` alone means x86 in old files.
    if platform != architecture.extension() && platform != ".nt" {
        return None;
    }
    let major = parts.next().and_then(|n| n.parse().ok());
    let minor = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    Some(major.map(|major| (major, minor)))
}

fn model(
    inf: &Inf,
    line: &Line,
    since: Option<(u32, u32)>,
    architecture: Architecture,
) -> Option<Model> {
    let name = line.fields.first()?;
    // The most special install section that is there.
    let install = [architecture.extension(), ".nt", ""]
        .iter()
        .map(|extension| format!("{name}{extension}"))
        .find(|section| inf.has(section))?;
    Some(Model {
        line: line.number,
        description: line.key.clone().unwrap_or_default(),
        ids: line.fields[1..]
            .iter()
            .filter(|id| !id.is_empty())
            .cloned()
            .collect(),
        interrupts: interrupts(inf, &install),
        parameters: Parameters::of(inf, &install, MAX_NEEDS),
        install,
        since,
    })
}

fn interrupts(inf: &Inf, install: &str) -> Interrupts {
    let mut found = Interrupts::default();
    let hardware = format!("{install}.hw");
    for line in registry_lines(inf, &hardware, MAX_NEEDS) {
        if line.word(0) != "hkr" || line.word(1).trim_matches('\\') != KEY {
            continue;
        }
        let slot = match line.word(2).as_str() {
            "msisupported" => &mut found.msi_supported,
            "messagenumberlimit" => &mut found.message_limit,
            _ => continue,
        };
        *slot = Some(entry(line));
    }
    for line in registry_lines(inf, install, MAX_NEEDS) {
        if line
            .word(1)
            .trim_matches('\\')
            .starts_with("interrupt management")
        {
            found.misplaced.push(line.number);
        }
    }
    found
}

/// The lines of every section that `AddReg` of `section` names, and of those that it needs.
pub(super) fn registry_lines<'i>(inf: &'i Inf, section: &str, depth: usize) -> Vec<&'i Line> {
    let mut lines = Vec::new();
    let Some(depth) = depth.checked_sub(1) else {
        return lines;
    };
    for line in inf.section(section) {
        if line.is("addreg") {
            for name in &line.fields {
                lines.extend(inf.section(name));
            }
        } else if line.is("needs") {
            for name in line
                .fields
                .iter()
                .filter(|name| !name.eq_ignore_ascii_case(section))
            {
                lines.extend(registry_lines(inf, name, depth));
            }
        }
    }
    lines
}

fn entry(line: &Line) -> Entry {
    let kind = number(&line.word(3)).unwrap_or(0);
    let text = line.fields.get(4).cloned().unwrap_or_default();
    Entry {
        line: line.number,
        value: (kind & TYPE_MASK == DWORD).then(|| number(&text)).flatten(),
        text,
    }
}

/// A number as INFs write it: decimal, or hexadecimal with `0x`.
pub(super) fn number(text: &str) -> Option<u32> {
    let text = text.trim().to_lowercase();
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
