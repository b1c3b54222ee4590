//! Loads of the devices that are no disks: so many frames, commands, lines or bytes.

use std::ops::RangeInclusive;

use misfire_device::shape::{Kind, Shape};

use super::super::file::StepFile;
use super::{Wrong, keys, wrong};

/// A load that is told by how much of something there is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    what: &'static What,
    /// How much there is to be.
    pub count: u32,
    /// Bytes of each, if not the guest's default.
    pub size: Option<u32>,
    /// The one pair of queues that is used; `None`: all of them in turn.
    pub pair: Option<u16>,
}

/// A kind of such a load.
#[derive(Debug, PartialEq)]
struct What {
    /// Its name, and how an error calls it.
    name: &'static str,
    label: &'static str,
    kind: Kind,
    /// The key that counts, the most that the guest takes, and how much there is without the key.
    counts: &'static str,
    most: u32,
    default: u32,
    /// The sizes of each that the guest takes.
    size: Option<RangeInclusive<u32>>,
    /// Whether one pair of queues can be chosen.
    pairs: bool,
}

const WHATS: &[What] = &[
    What {
        name: "frames",
        label: "load = \"frames\"",
        kind: Kind::Net,
        counts: "frames",
        most: u32::MAX,
        default: 1,
        size: Some(60..=1514),
        pairs: true,
    },
    What {
        name: "control",
        label: "load = \"control\"",
        kind: Kind::Net,
        counts: "commands",
        most: 1024,
        default: 1,
        size: None,
        pairs: false,
    },
    What {
        name: "echo",
        label: "load = \"echo\"",
        kind: Kind::Console,
        counts: "lines",
        most: 1 << 20,
        default: 1,
        size: Some(8..=256),
        pairs: false,
    },
    What {
        name: "entropy",
        label: "load = \"entropy\"",
        kind: Kind::Rng,
        counts: "bytes",
        most: 1 << 30,
        default: 64,
        size: Some(1..=4096),
        pairs: false,
    },
];

/// The names of these loads.
pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    WHATS.iter().map(|what| what.name)
}

/// The load of that name; `None`: there is none.
pub(super) fn counted(name: &str, file: &StepFile) -> Option<Result<Counted, Wrong>> {
    let what = WHATS.iter().find(|what| what.name == name)?;
    Some(what.read(file))
}

impl What {
    fn read(&'static self, file: &StepFile) -> Result<Counted, Wrong> {
        let mut allowed = vec![self.counts];
        allowed.extend(self.size.as_ref().map(|_| "size"));
        allowed.extend(self.pairs.then_some("queues"));
        keys(file, self.label, &allowed)?;
        let count = match self.counts {
            "frames" => file.frames,
            "commands" => file.commands,
            "lines" => file.lines,
            _ => file.bytes,
        };
        let count = count.unwrap_or(self.default);
        if !(1..=self.most).contains(&count) {
            let message = format!("{} = {count}: expected 1 to {}", self.counts, self.most);
            return wrong(self.counts, message);
        }
        if let (Some(size), Some(range)) = (file.size, &self.size)
            && !range.contains(&size)
        {
            let (least, most) = (range.start(), range.end());
            return wrong("size", format!("size = {size}: expected {least} to {most}"));
        }
        let pair = match &file.queues {
            None => None,
            Some(toml::Value::String(s)) if s == "all" => None,
            Some(toml::Value::Integer(n @ 0..=1023)) => Some(*n as u16),
            Some(other) => {
                return wrong(
                    "queues",
                    format!("queues = {other}: expected \"all\" or the number of one pair, from 0"),
                );
            }
        };
        Ok(Counted {
            what: self,
            count,
            size: file.size,
            pair,
        })
    }
}

impl Counted {
    /// Refuses what a device of this shape can't be used for.
    pub(super) fn check(&self, device: u8, shape: &Shape) -> Result<(), Wrong> {
        let What { name, kind, .. } = self.what;
        if shape.kind != *kind {
            return wrong(
                "load",
                format!(
                    "load = \"{name}\" is for a {}, and device {device} is a {}",
                    kind.word(),
                    shape.kind.word()
                ),
            );
        }
        let pairs = shape.queues / 2;
        match self.pair.filter(|pair| *pair >= pairs) {
            Some(pair) => wrong(
                "queues",
                format!("queues = {pair}: device {device} has {pairs} pairs, counted from 0"),
            ),
            None => Ok(()),
        }
    }

    /// The line that the guest's console takes.
    pub fn command(&self, device: u8) -> String {
        let What { name, counts, .. } = self.what;
        let mut line = format!("load {name} dev={device} {counts}={}", self.count);
        if let Some(size) = self.size {
            line += &format!(" size={size}");
        }
        if let Some(pair) = self.pair {
            line += &format!(" queues={pair}");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::super::Step;
    use super::*;

    fn step(text: &str) -> Result<Step, Wrong> {
        let net = Shape {
            queues: 5,
            ..Shape::new(Kind::Net)
        };
        let shapes = [net, Shape::new(Kind::Console), Shape::new(Kind::Rng)];
        Step::try_from_file(&toml::from_str(text).unwrap(), &shapes, &[])
    }

    #[test]
    fn each_load_becomes_the_line_that_the_guest_takes() {
        for (text, line) in [
            (
                "load = \"frames\"\nframes = 8\nsize = 100\nqueues = 1",
                "load frames dev=0 frames=8 size=100 queues=1",
            ),
            (
                "load = \"control\"\ncommands = 3",
                "load control dev=0 commands=3",
            ),
            ("load = \"echo\"\ndevice = 1", "load echo dev=1 lines=1"),
            (
                "load = \"entropy\"\ndevice = 2",
                "load entropy dev=2 bytes=64",
            ),
        ] {
            assert_eq!(step(text).unwrap().command().unwrap(), line);
        }
    }

    #[test]
    fn what_the_guest_or_the_device_would_not_take_is_refused() {
        for (text, key, message) in [
            (
                "load = \"frames\"\nsize = 20",
                "size",
                "size = 20: expected 60 to 1514",
            ),
            (
                "load = \"frames\"\nframes = 0",
                "frames",
                "frames = 0: expected 1 to 4294967295",
            ),
            (
                "load = \"frames\"\nqueues = 2",
                "queues",
                "queues = 2: device 0 has 2 pairs, counted from 0",
            ),
            (
                "load = \"frames\"\ndevice = 1",
                "load",
                "load = \"frames\" is for a network device, and device 1 is a console",
            ),
            (
                "load = \"control\"\nsize = 64",
                "size",
                "`size` means nothing to a `load = \"control\"` step",
            ),
        ] {
            let (found, said, _) = step(text).unwrap_err();
            assert_eq!((found, said.as_str()), (key, message), "{text}");
        }
    }
}
