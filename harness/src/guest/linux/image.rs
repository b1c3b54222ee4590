//! What of Linux is booted, and how.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::LinuxFile;
use crate::guest::direct::memory_file;
use crate::machine::{Firmware, Hotplug, Inherited, Installed};
use crate::prepare::{
    LateModule, Own, OwnParts, PrepareError, Prepared, Store, empty_archive, late_doubts,
};

/// How a guest gets to where it can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// It is booted each time.
    Cold,
    /// It is restored from a state in this folder, which is made when it is not there.
    Warm(PathBuf),
}

/// Guest memory in MiB, if nothing else is said.
const MEMORY_MIB: u32 = 128;
/// `printk.time=0`: a line says the same in every run. `printk.devkmsg=on`: what our commands say is never left
/// out. A panic ends the machine. `pcie_ports=compat`: the slots are ours, so that a device comes and goes when it
/// is told to and not a second later. `mitigations=off` and what follows spare instructions that are emulated:
/// what the kernel keeps account of, hardens or guards on the way to a driver.
const COMMAND_LINE: &str = "console=ttyS0,115200 quiet panic=-1 printk.time=0 printk.devkmsg=on tsc=reliable \
    no_timer_check pcie_ports=compat ipv6.disable=1 mitigations=off init_on_alloc=0 audit=0 \
    apparmor=0 lsm= nokaslr psi=0 noautogroup hardened_usercopy=off randomize_kstack_offset=off \
    cgroup_disable=memory,io,cpu,cpuacct,pids,perf_event,freezer,net_cls,hugetlb";

/// The same for a system on a disk, which may need all else that the kernel has.
const ON_DISK: &str =
    "console=ttyS0,115200 quiet panic=-1 printk.time=0 printk.devkmsg=on pcie_ports=compat";
/// What its memory is in MiB, if nothing else is said.
const ON_DISK_MIB: u32 = 1024;
/// What a qcow2 begins with.
const QCOW2: &[u8; 4] = b"QFI\xfb";

/// What is booted.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name in reports and of its snapshots.
    pub name: String,
    /// Its driver, as `expect.known` has it.
    pub driver: String,
    /// Rules that its driver is known to break, and why.
    pub known: BTreeMap<String, String>,
    /// It is a distribution's as it is, and called after its series.
    pub is_series: bool,
    /// What it is made of, in words.
    pub made_of: Vec<String>,
    /// What does not fit together, in words; it may work all the same.
    pub doubts: Vec<String>,
    /// Changes when the kernel or the initial RAM disk changes.
    pub digest: u64,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// The kernel's command line.
    pub append: String,
    /// A disk with a whole system.
    pub disk: Option<Installed>,
    /// What is loaded into that system when it has booted.
    pub modules: Arc<[LateModule]>,
    /// Kernel and initial RAM disk; none: the disk has them.
    kernel: Option<(Held, Held)>,
    /// How it starts.
    pub start: Start,
}

/// A file for QEMU.
#[derive(Clone, Debug)]
enum Held {
    At(PathBuf),
    InMemory(Arc<OwnedFd>),
}

impl Held {
    fn memory(name: &str, bytes: &[u8]) -> Result<Self, PrepareError> {
        let file = memory_file(name, bytes).map_err(PrepareError::written(name))?;
        Ok(Self::InMemory(Arc::new(file)))
    }

    fn open(&self) -> io::Result<OwnedFd> {
        match self {
            Self::At(path) => File::open(path).map(OwnedFd::from),
            Self::InMemory(file) => file.try_clone(),
        }
    }
}

impl Image {
    /// A guest that was prepared.
    pub fn prepared(guest: &Prepared, start: Start) -> Self {
        Self {
            name: guest.series(),
            driver: guest.series().replacen('-', "@", 1),
            known: BTreeMap::new(),
            is_series: guest.is_series(),
            made_of: guest.made_of.clone(),
            doubts: Vec::new(),
            digest: guest.digest,
            memory_mib: MEMORY_MIB,
            append: COMMAND_LINE.to_owned(),
            disk: None,
            modules: Arc::default(),
            kernel: Some((Held::At(guest.kernel()), Held::At(guest.initrd()))),
            start,
        }
    }

    /// The guest `name` with what `file` has of the user's own. Files that change after this do not change
    /// it.
    ///
    /// # Errors
    /// When there is no prepared guest to take the rest from, or a file can't be used.
    pub fn own(
        name: &str,
        driver: &str,
        file: &LinuxFile,
        store: &Store,
        start: Start,
    ) -> Result<Self, PrepareError> {
        if let Some(disk) = &file.image {
            return Self::on_disk(name, driver, file, disk, start);
        }
        let base = store.find(file.base.as_deref().unwrap_or("linux"))?;
        let parts: OwnParts = file.parts();
        let own: Own = parts.with(&base)?;
        let mut append = COMMAND_LINE.to_owned();
        if let Some(more) = &file.append {
            append += &format!(" {more}");
        }
        Ok(Self {
            name: name.to_owned(),
            driver: driver.to_owned(),
            known: BTreeMap::new(),
            is_series: false,
            digest: own.digest(),
            made_of: own.made_of,
            doubts: own.doubts,
            memory_mib: file.memory_mib.unwrap_or(MEMORY_MIB),
            append,
            disk: None,
            modules: Arc::default(),
            kernel: Some(held(&own.kernel, &own.initrd)?),
            start,
        })
    }

    /// The guest `name` with the disk that `file` names, and its kernel if it has one.
    fn on_disk(
        name: &str,
        driver: &str,
        file: &LinuxFile,
        disk: &Path,
        start: Start,
    ) -> Result<Self, PrepareError> {
        let read = |path: &Path| fs::read(path).map_err(PrepareError::read(path));
        let mut made_of = vec![format!("image {}", disk.display())];
        let mut hasher = DefaultHasher::new();
        let modules = LateModule::read(&file.modules)?;
        modules.hash(&mut hasher);
        let each = file.modules.iter();
        made_of.extend(each.map(|path| format!("module {}", path.display())));
        let (mut kernel, mut append, mut doubts) = (None, String::new(), Vec::new());
        if let Some(path) = &file.kernel {
            made_of.push(format!("kernel {}", path.display()));
            let bytes = read(path)?;
            let initrd = match &file.initrd {
                Some(path) => {
                    made_of.push(format!("initrd {}", path.display()));
                    read(path)?
                }
                None => empty_archive()?,
            };
            (&bytes, &initrd).hash(&mut hasher);
            doubts = late_doubts(&bytes, &modules);
            kernel = Some(held(&bytes, &initrd)?);
            append = ON_DISK.to_owned();
            if let Some(more) = &file.append {
                append += &format!(" {more}");
            }
        }
        let format = format_of(disk).map_err(PrepareError::read(disk))?;
        Ok(Self {
            name: name.to_owned(),
            driver: driver.to_owned(),
            known: BTreeMap::new(),
            is_series: false,
            made_of,
            doubts,
            digest: hasher.finish(),
            memory_mib: file.memory_mib.unwrap_or(ON_DISK_MIB),
            append,
            disk: Some(Installed {
                disk: disk.to_owned(),
                format: format.to_owned(),
                keeps: false,
                firmware: file.firmware.as_ref().map(|firmware| Firmware {
                    code: firmware.code.clone(),
                    variables: firmware.variables.clone(),
                }),
                tpm: None,
                cpu_flags: Vec::new(),
                hotplug: Hotplug::Native,
                viewer: false,
            }),
            modules: modules.into(),
            kernel,
            start,
        })
    }

    /// Whether the disk has the kernel.
    pub(super) fn boots_itself(&self) -> bool {
        self.kernel.is_none()
    }

    /// What QEMU is to be given, open, each with what it is in words.
    pub(super) fn files(&self) -> Vec<(io::Result<OwnedFd>, Inherited, &'static str)> {
        let Some((kernel, initrd)) = &self.kernel else {
            return Vec::new();
        };
        vec![
            (kernel.open(), Inherited::Kernel, "kernel"),
            (initrd.open(), Inherited::Initrd, "initrd"),
        ]
    }
}

/// Kernel and initial RAM disk in memory.
fn held(kernel: &[u8], initrd: &[u8]) -> Result<(Held, Held), PrepareError> {
    Ok((
        Held::memory("misfire-kernel", kernel)?,
        Held::memory("misfire-initrd", initrd)?,
    ))
}

/// The format of an image: by how it begins.
fn format_of(image: &Path) -> io::Result<&'static str> {
    let mut begin = Vec::new();
    let magic = QCOW2.len() as u64;
    File::open(image)?.take(magic).read_to_end(&mut begin)?;
    Ok(if begin == QCOW2 { "qcow2" } else { "raw" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_of_an_image_is_what_it_begins_with_whatever_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let of = |bytes: &[u8]| {
            let path = dir.path().join("image");
            fs::write(&path, bytes).unwrap();
            format_of(&path).unwrap()
        };
        assert_eq!(of(b"QFI\xfb\0\0\0\x03"), "qcow2");
        assert_eq!(of(b"\xeb\x3c\x90"), "raw");
        assert_eq!(of(b"QF"), "raw");
    }
}
