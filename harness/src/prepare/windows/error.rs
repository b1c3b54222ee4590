//! What keeps a Windows guest from being prepared.

use std::io;
use std::path::{Path, PathBuf};

use super::Stage;
use crate::log::kd::Bugcheck;
use crate::machine::{Ended, MachineError};

/// A Windows guest can't be prepared.
#[derive(Debug, thiserror::Error)]
pub enum WindowsError {
    /// The installation medium is none.
    #[error("{} can't be installed from: {why}", path.display())]
    Iso {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The medium has no such edition.
    #[error("the medium has no edition `{wanted}`; it has {}", there.join(", "))]
    Edition {
        /// What was asked for.
        wanted: String,
        /// What there is.
        there: Vec<String>,
    },
    /// No answers are known for this release.
    #[error("`{name}` can't be installed: {why}")]
    Release {
        /// The image's name.
        name: String,
        /// Why not.
        why: String,
    },
    /// An argument is none that can be used.
    #[error("{what}: {why}")]
    Argument {
        /// Which.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// There is something at the place of the new image.
    #[error("{} is there already, and no preparation of it was begun", .0.display())]
    Exists(PathBuf),
    /// Another preparation of that image was begun.
    #[error("{} was begun with another request: {before}", out.display())]
    Other {
        /// The image.
        out: PathBuf,
        /// What was asked for then.
        before: String,
    },
    /// Somebody prepares it.
    #[error("{} is being prepared by another `misfire`", .0.display())]
    Busy(PathBuf),
    /// The record beside an image is none.
    #[error("{} is no record of a preparation", path.display())]
    Record {
        /// The record.
        path: PathBuf,
    },
    /// There is no room for the image.
    #[error("{} has {} MiB free, and an installation takes {} MiB", folder.display(), free >> 20, needed >> 20)]
    Space {
        /// Where the image is to lie.
        folder: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// The image can't be written any more.
    #[error("{} can't be written any more while {}: QEMU has stopped the machine", out.display(), stage.doing())]
    Full {
        /// The image.
        out: PathBuf,
        /// When.
        stage: Stage,
    },
    /// There is no UEFI firmware.
    #[error("no UEFI firmware was found: looked for {}", looked.join(", "))]
    NoFirmware {
        /// Where it was looked for.
        looked: Vec<String>,
    },
    /// There is no qemu-img.
    #[error("there is no qemu-img beside {}, and none in PATH", .0.display())]
    NoQemuImg(PathBuf),
    /// qemu-img failed.
    #[error("qemu-img failed: {0}")]
    QemuImg(String),
    /// The operating system refused a file.
    #[error("{} can't be {doing}", path.display())]
    Os {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A stage took too long.
    #[error("{} (stage `{}`) for more than {minutes} min", stage.doing(), stage.name())]
    Late {
        /// Which.
        stage: Stage,
        /// Its limit.
        minutes: u64,
        /// The picture of the screen, if there is one.
        picture: Option<PathBuf>,
    },
    /// The guest says that something was not done.
    #[error("the guest could not do everything: `{what}` failed (name and exit status)")]
    Guest {
        /// What, and its exit status.
        what: String,
        /// The picture of the screen, if there is one.
        picture: Option<PathBuf>,
    },
    /// The guest crashed.
    #[error("the guest crashed while {}: {bugcheck}", stage.doing())]
    Crash {
        /// When.
        stage: Stage,
        /// How.
        bugcheck: Box<Bugcheck>,
        /// The picture of the screen, if there is one.
        picture: Option<PathBuf>,
    },
    /// The machine is gone too early.
    #[error("QEMU {ended} while {}{}", stage.doing(), said(messages))]
    Left {
        /// When.
        stage: Stage,
        /// How.
        ended: Ended,
        /// What it said.
        messages: String,
    },
    /// The image does not do what it was prepared for.
    #[error("the image was prepared, but {}", wrong.join(", and "))]
    Unfit {
        /// What is wrong.
        wrong: Vec<&'static str>,
        /// The picture of the screen, if there is one.
        picture: Option<PathBuf>,
    },
    /// The machine failed.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

fn said(messages: &str) -> String {
    match messages {
        "" => String::new(),
        messages => format!("; it said: {messages}"),
    }
}

/// What to do about a system that was cut off while Setup worked in it: some refuse to go on.
fn cut_off(stage: Stage) -> &'static str {
    match stage {
        Stage::Specialize | Stage::Logon => {
            " If the screen says that the installation can't go on after a restart, delete the image: the same \
             command begins anew."
        }
        _ => "",
    }
}

impl WindowsError {
    /// What to do about it, if that is known.
    pub fn help(&self) -> Option<String> {
        let shown = |picture: &Option<PathBuf>| match picture {
            Some(picture) => format!("Its screen is in {}. ", picture.display()),
            None => String::new(),
        };
        Some(match self {
            Self::Iso { .. } => {
                "An ISO of Windows as Microsoft has it for download is needed: `--iso`.".into()
            }
            Self::Edition { .. } => "`--edition` takes a name as shown, an edition's id such as \
                 Professional, or a number."
                .into(),
            Self::Exists(_) => {
                "Give the new image another name, or delete that file. For an image that is \
                 there already there is `--image`."
                    .into()
            }
            Self::Other { out, .. } => format!(
                "Ask for the same again, or delete {} and {} to begin anew.",
                out.display(),
                super::Record::beside(out).display()
            ),
            Self::Record { .. } => "Delete it to begin anew.".into(),
            Self::Space { .. } => "Make room, or have `--out` lie elsewhere.".into(),
            Self::Full { .. } => {
                "Make room where the image lies. The same command goes on from there.".into()
            }
            Self::NoFirmware { .. } => {
                "Install OVMF (Debian: apt-get install ovmf), name its files with `--ovmf CODE,VARS`, or \
                 use `--firmware bios`."
                    .into()
            }
            Self::NoQemuImg(_) => {
                "Run `ci/setup`, or install qemu-utils (Debian: apt-get install qemu-utils).".into()
            }
            Self::Late { picture, stage, .. } => format!(
                "{}The same command goes on from there; with `--pace N` it waits N times as long, \
                 with `--viewer` a VNC viewer can look and type.{}",
                shown(picture),
                cut_off(*stage)
            ),
            Self::Guest { picture, .. } => format!(
                "{}What each setting said is in C:\\misfire\\apply.log of the guest. The same command starts \
                 it once more, and the settings are made again; with `--viewer` a VNC viewer can look.",
                shown(picture)
            ),
            Self::Crash { picture, stage, .. } => format!(
                "{}The same command goes on.{}",
                shown(picture),
                cut_off(*stage)
            ),
            Self::Left { stage, .. } => {
                format!("The same command goes on from there.{}", cut_off(*stage))
            }
            Self::Unfit { picture, .. } => format!(
                "{}docs/windows.md says what each setting is for; the same command checks again.",
                shown(picture)
            ),
            Self::Machine(error) => return error.help(),
            _ => return None,
        })
    }

    /// Whether what was typed is to blame, and not the machine.
    pub fn is_request(&self) -> bool {
        matches!(
            self,
            Self::Iso { .. }
                | Self::Edition { .. }
                | Self::Release { .. }
                | Self::Argument { .. }
                | Self::Exists(_)
                | Self::Other { .. }
                | Self::Record { .. }
        )
    }

    pub(super) fn os(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Os {
            path,
            doing,
            source,
        }
    }
}
