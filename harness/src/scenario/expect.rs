//! What must come out of a scenario.

use std::collections::BTreeMap;
use std::fmt;

use misfire_device::shape::{Kind, Shape};
use serde::{Deserialize, Serialize};

use super::check::Checker;
use super::document::At;
use super::file::ExpectFile;

/// Names of an enum's values, for reading and for printing.
macro_rules! words {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value, as it is written.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The value that is written so.
            pub fn named(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// How it is written.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// What the driver did, the best first.
    pub enum Outcome {
        /// It started, with a vector for every event.
        Started = "started",
        /// It works with fewer vectors, with the line, or by polling.
        Degraded = "degraded",
        /// It failed to start, and said so.
        Refused = "refused",
        /// The guest is alive, but the device is dead to it.
        Wedged = "wedged",
        /// Bugcheck or panic.
        Crashed = "crashed",
    }
}

words! {
    /// How a driver is told.
    pub enum Interrupts {
        /// An MSI-X vector for each queue, and one for configuration.
        Msix = "msix",
        /// MSI-X, but several events on one vector.
        MsixShared = "msix-shared",
        /// Messages of the MSI capability.
        Msi = "msi",
        /// The line.
        Intx = "intx",
        /// Not at all: the driver looks.
        Polled = "polled",
        /// The driver does not run.
        None = "none",
    }
}

words! {
    /// How the loads of a scenario ended.
    pub enum Io {
        /// Each of them completed, with the right data.
        Complete = "complete",
        /// At least one did not.
        Failed = "failed",
        /// There was none.
        None = "none",
    }
}

/// Kinds of guest that an expectation can be given for.
pub(super) const GUESTS: &[&str] = &["reference", "nt", "linux", "firmware", "windows"];

/// Those of them whose drivers are not the reference driver.
const OTHERS: &[&str] = &["nt", "linux", "firmware", "windows"];

/// What must come out, for one guest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// What the driver does.
    pub outcome: Option<Outcome>,
    /// How it is told; one for each device, or one for all.
    pub interrupts: Vec<Interrupts>,
    /// How the loads end.
    pub io: Option<Io>,
    /// The code of the bugcheck or panic, as a number.
    pub bugcheck: Option<u32>,
    /// MUST rules that must come out broken.
    pub broken: Vec<String>,
    /// SHOULD rules that must come out broken.
    pub warn: Vec<String>,
    /// Rules that must have been tried, and held.
    pub held: Vec<String>,
    /// Regular expressions, each of which must match a line of the driver's log.
    pub log: Vec<String>,
    /// Texts that the findings must contain.
    pub says: Vec<String>,
    /// Steps that must run out of time, in words.
    pub timeouts: Vec<String>,
    /// Why the scenario is not for this guest.
    pub skip: Option<String>,
}

/// A predicted deviation of a driver.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// `driver@revision`, or several revisions: `driver@1,2`.
    pub driver: String,
    /// Why, as somebody found who looked, in one sentence.
    pub why: String,
    /// What comes out of it, by kind of guest: what is expected there, but for what is predicted.
    pub guests: BTreeMap<&'static str, Expect>,
}

/// What is expected of each guest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectations {
    /// For guests that nothing else is said of.
    pub base: Expect,
    /// By kind of guest.
    pub guests: BTreeMap<&'static str, Expect>,
    /// Predicted deviations.
    pub known: Vec<Known>,
}

impl Expectations {
    /// What is expected of a guest of this kind.
    pub fn of(&self, guest: &str) -> &Expect {
        self.guests.get(guest).unwrap_or(&self.base)
    }

    /// What is predicted of this driver, `name@revision`, on a guest of this kind.
    pub fn known(&self, driver: &str, guest: &str) -> Option<&Expect> {
        self.predicted(driver)?.guests.get(guest)
    }

    /// What is predicted of this driver, `name@revision`, and why.
    pub fn predicted(&self, driver: &str) -> Option<&Known> {
        let (name, revision) = driver.split_once('@')?;
        let is = |known: &&Known| {
            known.driver.split_once('@').is_some_and(|(n, revisions)| {
                n == name && revisions.split(',').any(|r| r.trim() == revision)
            })
        };
        self.known.iter().find(is)
    }
}

impl ExpectFile {
    fn for_guest(&self, guest: &str) -> Option<&ExpectFile> {
        match guest {
            "reference" => self.reference.as_deref(),
            "nt" => self.nt.as_deref(),
            "linux" => self.linux.as_deref(),
            "firmware" => self.firmware.as_deref(),
            "windows" => self.windows.as_deref(),
            _ => None,
        }
    }
}

impl Checker<'_> {
    pub(super) fn expectations(&mut self, file: &ExpectFile, devices: &[Shape]) -> Expectations {
        let base = self.expect(&["expect".into()], file, devices, &Expect::default());
        let mut guests = BTreeMap::new();
        // What the reference guest's drivers say, and that they use what a rule is about, is theirs.
        let others = Expect {
            log: Vec::new(),
            held: Vec::new(),
            warn: Vec::new(),
            says: Vec::new(),
            ..base.clone()
        };
        for guest in OTHERS {
            guests.insert(*guest, others.clone());
        }
        for guest in GUESTS {
            let base = if OTHERS.contains(guest) {
                &others
            } else {
                &base
            };
            if let Some(over) = file.for_guest(guest) {
                let expect = self.nested(&["expect".into(), (*guest).into()], over, devices, base);
                guests.insert(*guest, expect);
            }
        }
        let mut known = Vec::new();
        for (driver, over) in &file.known {
            let path = ["expect".into(), "known".into(), driver.as_str().into()];
            if !driver
                .split_once('@')
                .is_some_and(|(d, r)| !d.is_empty() && !r.is_empty())
            {
                self.fail(
                    &path,
                    format!("`{driver}`: expected \"driver@revision\""),
                    None,
                );
            }
            let why = over.why.clone().unwrap_or_default();
            if why.trim().is_empty() {
                let message = format!("what is known of `{driver}` has no reason");
                let help = "say in `why` whose doing it is: what its source or a trace shows";
                self.fail(&path, message, Some(help.into()));
            }
            let mut each = BTreeMap::new();
            for guest in GUESTS {
                let told = self.problems.len();
                let base = guests.get(guest).unwrap_or(&base);
                let expect = self.nested(&path, over, devices, base);
                if !each.is_empty() {
                    // What is wrong with it is wrong on every guest, and told once.
                    self.problems.truncate(told);
                }
                each.insert(*guest, expect);
            }
            known.push(Known {
                driver: driver.clone(),
                why,
                guests: each,
            });
        }
        Expectations {
            base,
            guests,
            known,
        }
    }

    fn nested(
        &mut self,
        path: &[At<'_>],
        file: &ExpectFile,
        devices: &[Shape],
        base: &Expect,
    ) -> Expect {
        let inner = GUESTS.iter().copied().find(|g| file.for_guest(g).is_some());
        if let Some(key) = inner.or((!file.known.is_empty()).then_some("known")) {
            let at: Vec<At<'_>> = path.iter().copied().chain([key.into()]).collect();
            self.fail(
                &at,
                format!("`{key}` can't stand inside another expectation"),
                None,
            );
        }
        self.expect(path, file, devices, base)
    }

    /// Refuses to expect a vector for each event of a device whose table has too few.
    fn vectors(&mut self, path: &[At<'_>], expected: &[Interrupts], devices: &[Shape]) {
        for (n, device) in devices.iter().enumerate() {
            let all = expected
                .get(n)
                .or(expected.first().filter(|_| expected.len() == 1));
            // Of pairs and of request queues a driver may leave some unused; it needs the first. What came of a
            // command it may look for.
            let queues = match device.kind {
                Kind::Net => device.queues.min(2),
                Kind::Scsi => device.queues.min(3),
                _ => device.queues,
            };
            let needed = queues.saturating_add(1);
            let table = device.table_size();
            if device.kind.is_virtio() && all == Some(&Interrupts::Msix) && table < needed {
                let message = format!(
                    "interrupts = \"msix\" takes {needed} vectors, for {queues} queues and configuration: device {n} has msix = {table}",
                );
                self.fail(
                    path,
                    message,
                    Some(
                        "expect \"msix-shared\" or \"intx\", or give the device a larger table"
                            .into(),
                    ),
                );
            }
        }
    }

    fn expect(
        &mut self,
        path: &[At<'_>],
        file: &ExpectFile,
        devices: &[Shape],
        base: &Expect,
    ) -> Expect {
        let mut expect = base.clone();
        let at = |key: &'static str| -> Vec<At<'_>> {
            path.iter().copied().chain([key.into()]).collect()
        };
        if let Some(word) = &file.outcome {
            self.known(&at("outcome"), "outcome", word, Outcome::WORDS);
            expect.outcome = Outcome::named(word);
        }
        if let Some(words) = &file.interrupts {
            if words.len() != 1 && words.len() != devices.len() {
                let message = format!(
                    "interrupts has {} entries: expected one, or one for each of the {} devices",
                    words.len(),
                    devices.len()
                );
                self.fail(&at("interrupts"), message, None);
            }
            for word in words {
                self.known(
                    &at("interrupts"),
                    "kind of interrupt",
                    word,
                    Interrupts::WORDS,
                );
            }
            expect.interrupts = words.iter().filter_map(|w| Interrupts::named(w)).collect();
            self.vectors(&at("interrupts"), &expect.interrupts, devices);
        }
        if let Some(word) = &file.io {
            self.known(&at("io"), "end of the loads", word, Io::WORDS);
            expect.io = Io::named(word);
        }
        if let Some(code) = &file.bugcheck {
            let number = code
                .split_whitespace()
                .next()
                .and_then(|c| c.strip_prefix("0x"));
            expect.bugcheck = number.and_then(|n| u32::from_str_radix(n, 16).ok());
            if expect.bugcheck.is_none() {
                self.fail(
                    &at("bugcheck"),
                    format!("`{code}`: expected a code such as \"0xD1\""),
                    None,
                );
            }
        }
        let rules: Vec<&str> = self.words.rules.iter().map(String::as_str).collect();
        for (key, from, to) in [
            ("broken", &file.broken, &mut expect.broken),
            ("warn", &file.warn, &mut expect.warn),
            ("held", &file.held, &mut expect.held),
        ] {
            let Some(ids) = from else { continue };
            for (index, id) in ids.iter().enumerate() {
                let mut place = at(key);
                place.push(index.into());
                self.known(&place, "rule", id, &rules);
            }
            to.clone_from(ids);
        }
        if let Some(patterns) = &file.log {
            for (index, pattern) in patterns.iter().enumerate() {
                if let Err(error) = regex_lite::Regex::new(pattern) {
                    let mut place = at("log");
                    place.push(index.into());
                    self.fail(&place, format!("not a regular expression: {error}"), None);
                }
            }
            expect.log.clone_from(patterns);
        }
        if let Some(texts) = &file.says {
            expect.says.clone_from(texts);
        }
        if let Some(steps) = &file.timeouts {
            expect.timeouts.clone_from(steps);
        }
        if let Some(reason) = &file.skip {
            expect.skip = Some(reason.clone());
        }
        if file.why.is_some() && !path.iter().any(|at| matches!(at, At::Key("known"))) {
            let message =
                "`why` is the reason of what stands under `known`, and means nothing here";
            self.fail(&at("why"), message, None);
        }
        expect
    }
}
