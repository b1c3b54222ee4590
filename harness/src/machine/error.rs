//! What the machine could not do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::process::Ended;
use super::qmp::QmpError;
use super::spec::MAX_DEVICES;

/// The oldest QEMU that can be used, major and minor.
pub const OLDEST_QEMU: (u32, u32) = (10, 2);

/// This machine, or QEMU on it, could not do what was asked: exit status 3. What the guest does is
/// never one of these.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// There is none.
    #[error("no QEMU was found: {}", looked.join(", "))]
    NoQemu {
        /// Where it was looked for, in words.
        looked: Vec<String>,
    },
    /// The program does not start, or does not say that it is QEMU.
    #[error("`{}` is not a QEMU that works here: {why}", program.display())]
    NotQemu {
        /// The program.
        program: PathBuf,
        /// What it did.
        why: String,
    },
    /// It is too old.
    #[error("`{}` is QEMU {found}, {}.{} or newer is needed", program.display(), OLDEST_QEMU.0, OLDEST_QEMU.1)]
    TooOld {
        /// The program.
        program: PathBuf,
        /// Its version.
        found: super::find::Version,
    },
    /// It was built without vfio-user.
    #[error("`{}` was built without the device vfio-user-pci", program.display())]
    NoVfioUser {
        /// The program.
        program: PathBuf,
    },
    /// Nobody is at the socket of a TPM.
    #[error("no TPM answers at {} within {} s: {source}", socket.display(), limit.as_secs())]
    NoTpm {
        /// The socket.
        socket: PathBuf,
        /// How long it was waited for.
        limit: Duration,
        /// Why not, when it was tried last.
        source: io::Error,
    },
    /// There are more devices than slots.
    #[error("{0} devices: a machine takes {MAX_DEVICES}")]
    TooManyDevices(usize),
    /// The operating system refused a socket, a process or a file.
    #[error("{doing} failed")]
    Os {
        /// What was tried.
        doing: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// QEMU ended before the guest ran.
    #[error("QEMU {ended} before the guest printed anything{}", said(messages))]
    Refused {
        /// How.
        ended: Ended,
        /// What it said.
        messages: String,
    },
    /// QEMU ended in a way that no guest brings about.
    #[error(
        "QEMU {ended} while {awaited} was awaited{}{}",
        said(messages),
        shown(last)
    )]
    Died {
        /// How.
        ended: Ended,
        /// What it said.
        messages: String,
        /// What was awaited.
        awaited: String,
        /// The last lines of the guest.
        last: Vec<String>,
    },
    /// KVM was asked for by name and is of no use here.
    #[error("KVM can't be used: {why}")]
    Kvm {
        /// Why.
        why: String,
    },
    /// There is no UEFI firmware.
    #[error("there is no UEFI firmware: none of {}", looked.join(", "))]
    NoUefi {
        /// Where it was looked for.
        looked: Vec<String>,
    },
    /// The control channel failed.
    #[error(transparent)]
    Qmp(#[from] QmpError),
}

impl MachineError {
    /// What to do about it, if that is known.
    pub fn help(&self) -> Option<String> {
        let (major, minor) = OLDEST_QEMU;
        match self {
            Self::NoQemu { .. }
            | Self::NotQemu { .. }
            | Self::TooOld { .. }
            | Self::NoVfioUser { .. } => Some(format!(
                "Run `ci/setup`, which puts a QEMU of its own under target/qemu, or install \
                 qemu-system-x86_64 {major}.{minor} or newer, or set MISFIRE_QEMU to one."
            )),
            Self::Kvm { .. } => {
                Some("Use --accel tcg: software emulation works everywhere.".into())
            }
            Self::NoTpm { .. } => Some(
                "A swtpm ends with the machine that it was the TPM of. This starts it again each time: `while swtpm \
                 socket --tpm2 --tpmstate dir=DIR --ctrl type=unixio,path=SOCKET; do :; done`."
                    .into(),
            ),
            Self::NoUefi { .. } => Some(
                "Run `ci/setup`, which puts one under target/ovmf, or install OVMF (Debian: apt-get install ovmf)."
                    .into(),
            ),
            _ => None,
        }
    }

    pub(crate) fn os(doing: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Os {
            doing: doing.to_owned(),
            source,
        }
    }
}

fn said(messages: &str) -> String {
    match messages {
        "" => String::new(),
        messages => format!("; it said: {messages}"),
    }
}

fn shown(last: &[String]) -> String {
    match last {
        [] => "; the guest had printed nothing".into(),
        lines => format!("; the guest's last lines: {}", lines.join(" | ")),
    }
}
