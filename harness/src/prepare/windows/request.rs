//! What is asked for, and whether it can be done: nothing is written before that is known.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::answer::Answers;
use super::iso::Iso;
use super::{Image, Release, WindowsError, disk, key, medium};
use crate::machine::{self, Qemu};

/// How a machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS, which QEMU brings along.
    Bios,
    /// OVMF, without Secure Boot: test-signing and debugging are refused with it.
    Uefi,
}

/// What the guest is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is installed.
    Iso {
        /// The medium.
        iso: PathBuf,
        /// The edition: a name, an id or a number.
        edition: Option<String>,
        /// The product key; `none`: there is to be none; default: the one that is published for the edition.
        key: Option<String>,
    },
    /// It is there: [`WindowsRequest::out`] is an image that somebody installed.
    Image,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct WindowsRequest {
    /// What it is made of.
    pub source: Source,
    /// The image.
    pub out: PathBuf,
    /// The ISO with virtio-win's tools: QEMU's guest agent is installed from it.
    pub virtio_win: Option<PathBuf>,
    /// Certificates that the guest is to trust.
    pub certificates: Vec<PathBuf>,
    /// How the machine starts; default: by the release.
    pub firmware: Option<Firmware>,
    /// The files of the UEFI firmware: code and variables; default: where distributions have them.
    pub ovmf: Option<(PathBuf, PathBuf)>,
    /// The socket of a swtpm that runs.
    pub tpm: Option<PathBuf>,
    /// Memory in MiB; default: by the release.
    pub memory: Option<u32>,
    /// Processors.
    pub processors: u8,
    /// Size of a new disk, bytes.
    pub size: u64,
    /// Whether a viewer can look at the screen.
    pub viewer: bool,
}

/// What is written at most during an installation, bytes.
const WRITTEN: u64 = 20 << 30;
/// A request that was found good.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// What is installed; none for an image that is there.
    pub install: Option<Install>,
    /// Code and variables as they come.
    pub firmware: Option<(PathBuf, PathBuf)>,
    /// Memory in MiB.
    pub memory: u32,
    /// qemu-img.
    pub qemu_img: PathBuf,
    /// The request in words, as its record has it.
    pub words: String,
}

/// In the place of a product key: there is to be none.
const NO_KEY: &str = "none";

/// What the settings look for on a medium of virtio-win.
const AGENT: [&str; 2] = ["guest-agent", "qemu-ga-x86_64.msi"];

/// What is installed.
#[derive(Clone, Debug)]
pub(super) struct Install {
    pub release: Release,
    pub image: Image,
    /// The answer file.
    pub answer: String,
}

impl WindowsRequest {
    /// Looks at everything that the request names.
    pub(super) fn plan(&self, qemu: &Qemu) -> Result<Plan, WindowsError> {
        let qemu_img = disk::qemu_img(&qemu.program)?;
        for path in self.virtio_win.iter().chain(&self.certificates) {
            fs::File::open(path).map_err(WindowsError::os("read", path))?;
        }
        if let Some(path) = &self.virtio_win {
            let cannot = WindowsError::os("read", path);
            let lacks = match medium::has(path, &AGENT).map_err(cannot)? {
                Some(true) => None,
                Some(false) => Some("there is no guest-agent\\qemu-ga-x86_64.msi on it"),
                None => Some("it is not an ISO image"),
            };
            if let Some(lacks) = lacks {
                return Err(WindowsError::Argument {
                    what: "--virtio-win",
                    why: format!(
                        "{}: {lacks}; without this medium a small agent in PowerShell is installed",
                        path.display()
                    ),
                });
            }
        }
        if let Some(path) = &self.tpm {
            let found = fs::metadata(path).map_err(|error| error.to_string());
            let why = match found.map(|data| data.file_type().is_socket()) {
                Ok(true) => None,
                Ok(false) => Some("it is no socket".to_owned()),
                Err(error) => Some(error),
            };
            if let Some(why) = why {
                return Err(WindowsError::Argument {
                    what: "--tpm",
                    why: format!(
                        "no swtpm listens at {}: {why}; one is run by `while swtpm socket --tpm2 --tpmstate \
                         dir=DIR --ctrl type=unixio,path=SOCKET; do :; done`: it ends with each machine",
                        path.display()
                    ),
                });
            }
        }
        if !(1..=64).contains(&self.processors) {
            return Err(WindowsError::Argument {
                what: "--processors",
                why: format!("{} is not from 1 to 64", self.processors),
            });
        }
        let found = match &self.source {
            Source::Iso { iso, edition, key } => {
                if let Some(key) = key.as_deref().filter(|key| *key != NO_KEY && !is_key(key)) {
                    return Err(WindowsError::Argument {
                        what: "--key",
                        why: format!(
                            "`{key}` is neither five groups of five letters and digits nor `{NO_KEY}`"
                        ),
                    });
                }
                let medium = Iso::read(iso)?;
                let image = medium.image(edition.as_deref())?.clone();
                let release = Release::of(&image)?;
                let key = match key.as_deref() {
                    Some(NO_KEY) => None,
                    Some(key) => Some(key),
                    None => key::published(release, &image),
                };
                Some((release, image, key))
            }
            Source::Image => {
                fs::OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&self.out)
                    .map_err(WindowsError::os("written", &self.out))?;
                None
            }
        };
        let kind = match (self.firmware, &found) {
            (Some(firmware), _) => firmware,
            (None, Some((_, image, _))) if image.is_narrow() => Firmware::Bios,
            (None, Some((release, ..))) => release.firmware(),
            (None, None) => disk::firmware(&qemu_img, &self.out)?,
        };
        let is_narrow = |(_, image, _): &(Release, Image, Option<&str>)| image.is_narrow();
        if kind == Firmware::Uefi && found.as_ref().is_some_and(is_narrow) {
            return Err(WindowsError::Argument {
                what: "--firmware",
                why: "the system has 32 bits, and OVMF starts those with 64; `bios` starts both"
                    .into(),
            });
        }
        let firmware = match (kind, &self.ovmf) {
            (Firmware::Bios, None) => None,
            (Firmware::Bios, Some(_)) => {
                return Err(WindowsError::Argument {
                    what: "--ovmf",
                    why: "it is for `--firmware uefi`".into(),
                });
            }
            (Firmware::Uefi, Some((code, variables))) => {
                for path in [code, variables] {
                    fs::File::open(path).map_err(WindowsError::os("read", path))?;
                }
                Some((code.clone(), variables.clone()))
            }
            (Firmware::Uefi, None) => Some(ovmf(&qemu.program)?),
        };
        let memory = self.memory.unwrap_or_else(|| {
            let release = found.as_ref().map(|(release, ..)| *release);
            release.unwrap_or(Release::Eleven).memory()
        });
        if !(512..=1 << 20).contains(&memory) {
            return Err(WindowsError::Argument {
                what: "--memory",
                why: format!("{memory} MiB is not from 512 to {}", 1 << 20),
            });
        }
        let mut words = match &found {
            Some((release, image, _)) => format!("{release}, {} ({})", image.name, image.index),
            None => "settings for an image".to_owned(),
        };
        words += if kind == Firmware::Uefi {
            ", UEFI"
        } else {
            ", BIOS"
        };
        let install = found.map(|(release, image, key)| Install {
            answer: Answers {
                image: &image,
                release,
                firmware: kind,
                tpm: self.tpm.is_some(),
                key,
            }
            .text(),
            release,
            image,
        });
        Ok(Plan {
            install,
            firmware,
            memory,
            qemu_img,
            words,
        })
    }

    /// The folder of the image, if there is room in it.
    pub(super) fn room(&self) -> Result<PathBuf, WindowsError> {
        let folder = match self.out.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let stat = rustix::fs::statvfs(&folder)
            .map_err(|error| WindowsError::os("written", &folder)(error.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        enough(folder, free, self.size)
    }
}

/// The folder, if a disk of `size` has room in what is `free`, both in bytes.
pub(super) fn enough(folder: PathBuf, free: u64, size: u64) -> Result<PathBuf, WindowsError> {
    let needed = size.min(WRITTEN);
    if free < needed {
        return Err(WindowsError::Space {
            folder,
            free,
            needed,
        });
    }
    Ok(folder)
}

pub(super) fn is_key(key: &str) -> bool {
    let groups: Vec<&str> = key.split('-').collect();
    let plain = |group: &&str| group.len() == 5 && group.chars().all(|c| c.is_ascii_alphanumeric());
    groups.len() == 5 && groups.iter().all(plain)
}

fn ovmf(qemu: &Path) -> Result<(PathBuf, PathBuf), WindowsError> {
    let found = machine::Firmware::find(qemu);
    let found = found.map_err(|looked| WindowsError::NoFirmware { looked })?;
    Ok((found.code, found.variables.unwrap_or_default()))
}
