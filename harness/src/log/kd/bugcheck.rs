//! The stop code of a crash, and the text in which the kernel prints it.

use std::fmt;
use std::sync::LazyLock;

use regex_lite::Regex;

use super::modules::Modules;
use crate::log::StopCode;

/// A crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bugcheck {
    /// The stop code; none if the kernel said nothing and could not be read.
    pub code: Option<u32>,
    /// Its four parameters.
    pub parameters: [u64; 4],
    /// The driver that the kernel names.
    pub driver: Option<String>,
    /// For each parameter the image and offset that it points into.
    pub places: [Option<String>; 4],
}

impl Bugcheck {
    /// A crash with this stop code.
    pub fn new(code: u32, parameters: [u64; 4]) -> Self {
        Self {
            code: Some(code),
            parameters,
            ..Self::default()
        }
    }

    /// Names the images that its parameters point into.
    pub(super) fn name_places(&mut self, modules: &Modules) {
        self.places = self.parameters.map(|parameter| modules.place(parameter));
    }
}

impl fmt::Display for Bugcheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(code) = self.code else {
            return f.write_str("without a stop code");
        };
        let parameter = |n: usize| {
            let place = self.places[n].as_ref().map(|place| format!(" [{place}]"));
            format!("{:#x}{}", self.parameters[n], place.unwrap_or_default())
        };
        let all: Vec<String> = (0..4).map(parameter).collect();
        write!(f, "{} ({})", StopCode(code), all.join(", "))?;
        self.driver
            .iter()
            .try_for_each(|driver| write!(f, " in {driver}"))
    }
}

/// The most bytes of printed text in which the message is looked for: it comes in several pieces.
const MAX_TEXT: usize = 8 * 1024;

static MESSAGE: LazyLock<Regex> = LazyLock::new(|| {
    let number = "0x([0-9A-Fa-f]{1,16})";
    let text = format!(
        r"\*\*\* Fatal System Error: 0x([0-9A-Fa-f]{{8}})\s+\({number},{number},{number},{number}\)"
    );
    Regex::new(&text).expect("the pattern is a constant")
});
static DRIVER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"Driver at fault:\s*([^\s]+?)\.?\s*\n").expect("the pattern is a constant")
});

/// What was printed last, as far as it may be the message of a crash.
#[derive(Clone, Debug, Default)]
pub struct Fatal {
    text: String,
}

impl Fatal {
    /// Something was printed.
    pub fn push(&mut self, text: &[u8]) {
        self.text.push_str(&String::from_utf8_lossy(text));
        if self.text.len() > MAX_TEXT {
            let cut = (self.text.len() - MAX_TEXT / 2..).find(|at| self.text.is_char_boundary(*at));
            self.text.drain(..cut.unwrap_or(0));
        }
    }

    /// The crash that was printed, if one was. Afterwards nothing was.
    pub fn take(&mut self) -> Option<Bugcheck> {
        let text = std::mem::take(&mut self.text);
        let found = MESSAGE.captures(&text)?;
        let number = |n: usize| u64::from_str_radix(&found[n], 16).ok();
        let code = number(1)? as u32;
        let parameters = [number(2)?, number(3)?, number(4)?, number(5)?];
        let after = &text[found.get(0)?.end()..];
        Some(Bugcheck {
            driver: DRIVER.captures(after).map(|driver| driver[1].to_owned()),
            ..Bugcheck::new(code, parameters)
        })
    }
}
