//! What the guest says of its own installation, over COM2: lines that begin with `MISFIRE-PREPARE `.

const PREFIX: &str = "MISFIRE-PREPARE ";
/// The longest word or text that is kept, characters.
const LONGEST: usize = 120;

/// A line about the installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Setup has read the answer file.
    Setup,
    /// The system has started from its disk for the first time.
    Specialize,
    /// Somebody is logged on, and the settings begin.
    Logon,
    /// A setting, and its exit status.
    Step {
        /// Its name.
        name: String,
        /// 0: it was made.
        status: i64,
    },
    /// What the system calls itself.
    Version(String),
    /// Everything was done; the machine is about to shut down.
    Done {
        /// `qemu-ga` or `own`.
        agent: String,
    },
    /// Something was not done.
    Failed {
        /// What, and its exit status.
        what: String,
    },
}

impl Marker {
    /// Reads a line; `None` for one that is none of these.
    ///
    /// ```
    /// use misfire::prepare::Marker;
    /// let step = Marker::of("MISFIRE-PREPARE step debug 0").unwrap();
    /// assert_eq!(step, Marker::Step { name: "debug".into(), status: 0 });
    /// ```
    pub fn of(line: &str) -> Option<Self> {
        let rest = line[line.find(PREFIX)? + PREFIX.len()..].trim();
        let (word, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        let short = |text: &str| text.trim().chars().take(LONGEST).collect::<String>();
        Some(match word {
            "winpe" => Self::Setup,
            "specialize" => Self::Specialize,
            "logon" => Self::Logon,
            "step" => {
                let (name, status) = tail.trim().split_once(' ')?;
                Self::Step {
                    name: short(name),
                    status: status.trim().parse().ok()?,
                }
            }
            "version" => Self::Version(short(tail)),
            "done" => Self::Done {
                agent: short(tail.trim().strip_prefix("agent=")?),
            },
            "failed" => Self::Failed { what: short(tail) },
            _ => return None,
        })
    }
}
