//! Stable names for what differs from run to run and from machine to machine.

use std::sync::LazyLock;

use misfire_device::spec::{CommonCfg, Field, LegacyCfg, NO_VECTOR, Status};
use misfire_device::trace::{Access, Event, Hello, Op, Step, What};
use regex_lite::{Captures, Regex};

/// Stable names for what differs from machine to machine.
#[derive(Default)]
pub(super) struct Names {
    vectors: Vec<u64>,
    addresses: Vec<u64>,
    /// The guest's memory is another program's to give, so that an address that it gives again means nothing.
    lends: bool,
}

/// What guests say first whose memory is lent out by a kernel that others wrote.
const LENDING: [&str; 2] = ["MISFIRE: guest linux", "MISFIRE: guest windows"];

static VECTOR: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(\bVect(?:or)?(?:=|\(| ))(0x[0-9a-fA-F]+|[0-9]+)\b").ok());
static ADDRESS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b0x([0-9a-fA-F]{9,16})\b").ok());
/// Where in its source the guest gave up, which every change of the guest moves.
static PLACE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(ASSERT: panicked at [^:]+):\d+:\d+:$").ok());
/// A processor's register in a dump.
static REGISTER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"=[0-9a-f]{16}\b|\befl=[0-9a-f]{8}\b").ok());
static COUNTERS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"=\d+").ok());

impl Names {
    /// Vectors get their names in the order of the log, so that the device's side can use them too.
    pub(super) fn learn(events: &[Event]) -> Self {
        let mut names = Self::default();
        for event in events {
            if let What::Log { line } = &event.what {
                names.lends |= LENDING.iter().any(|guest| line.starts_with(guest));
                names.line(line);
            }
        }
        names
    }

    pub(super) fn line(&mut self, line: &str) -> String {
        if line.starts_with("CNT:") || line.starts_with("MISFIRE: done ok idle ") {
            return replace(&COUNTERS, line, |_| "=*".into());
        }
        let line = replace(&PLACE, line, |found| format!("{}:", &found[1]));
        let line = replace(&REGISTER, &line, |found| match found[0].split_once('=') {
            Some((name, _)) => format!("{name}=*"),
            None => found[0].to_owned(),
        });
        let line = replace(&VECTOR, &line, |found| match number(&found[2]) {
            Some(v) => format!("{}{}", &found[1], named("vec", &mut self.vectors, v)),
            None => found[0].to_owned(),
        });
        replace(&ADDRESS, &line, |found| match number(&found[0]) {
            Some(0) | None => found[0].to_owned(),
            Some(a) => named("addr", &mut self.addresses, a),
        })
    }

    pub(super) fn access(&mut self, step: &Step, access: &Access, hello: &Hello) -> String {
        let value = step.access().map_or(0, |(_, v)| v);
        let op = match access.op {
            Op::Read => "rd",
            Op::Write => "wr",
        };
        let place = match access.field {
            Some(field) => field.to_string(),
            None => format!("{:?}+{:#x}", access.space, access.off).to_lowercase(),
        };
        let queue = access.q.map_or_else(String::new, |q| format!("[q{q}]"));
        let wide = match access.field.and_then(Field::width) {
            Some(width) if width == access.width => String::new(),
            _ => format!(" ({} bytes)", access.width),
        };
        let changed = if step.heard.is_some() || step.meant.is_some() {
            " (fault)"
        } else {
            ""
        };
        if let Some(Field::PortEvents(_)) = access.field {
            return format!("{op} {place}{wide}{changed}"); // counts how far things had gone
        }
        let shown = self.value(access, value, hello);
        let is_reset = access.op == Op::Write && value == 0 && is_status(access);
        if self.lends && is_reset {
            self.addresses.clear();
        }
        format!("{op} {place}{queue}{wide} = {shown}{changed}")
    }

    fn value(&mut self, access: &Access, value: u64, hello: &Hello) -> String {
        use CommonCfg as Common;
        match access.register() {
            Some(Field::Legacy(LegacyCfg::QueueAddress)) if value != 0 => {
                named("page", &mut self.addresses, value)
            }
            Some(Field::Common(Common::DeviceStatus)) if access.width == 1 => {
                Status(value as u8).to_string()
            }
            Some(Field::Common(
                Common::QueueDescLo
                | Common::QueueDescHi
                | Common::QueueDriverLo
                | Common::QueueDriverHi
                | Common::QueueDeviceLo
                | Common::QueueDeviceHi,
            )) if value != 0 => named("addr", &mut self.addresses, value),
            Some(Field::Common(Common::ConfigMsixVector | Common::QueueMsixVector)) => {
                let beyond =
                    value >= u64::from(hello.shape.table_size()) && value != u64::from(NO_VECTOR);
                match self.vectors.iter().position(|v| *v == value) {
                    Some(n) if beyond => format!("vec{}", n + 1),
                    _ => format!("{value:#x}"),
                }
            }
            Some(Field::Msi) if value != 0 => named("addr", &mut self.addresses, value),
            _ => format!("{value:#x}"),
        }
    }
}

fn is_status(access: &Access) -> bool {
    matches!(
        access.register(),
        Some(Field::Common(CommonCfg::DeviceStatus) | Field::Legacy(LegacyCfg::DeviceStatus))
    )
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn named(prefix: &str, known: &mut Vec<u64>, value: u64) -> String {
    let n = known.iter().position(|v| *v == value).unwrap_or_else(|| {
        known.push(value);
        known.len() - 1
    });
    format!("{prefix}{}", n + 1)
}

fn replace(
    regex: &LazyLock<Option<Regex>>,
    text: &str,
    with: impl FnMut(&Captures<'_>) -> String,
) -> String {
    match regex.as_ref() {
        Some(regex) => regex.replace_all(text, with).into_owned(),
        None => text.to_owned(),
    }
}
