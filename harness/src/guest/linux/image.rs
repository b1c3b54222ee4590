//! What of Linux is booted, and how.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::file::LinuxFile;
use crate::guest::direct::memory_file;
use crate::prepare::{Own, OwnParts, PrepareError, Prepared, Store};

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
    kernel: Held,
    initrd: Held,
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
            kernel: Held::At(guest.kernel()),
            initrd: Held::At(guest.initrd()),
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
            kernel: Held::memory("misfire-kernel", &own.kernel)?,
            initrd: Held::memory("misfire-initrd", &own.initrd)?,
            start,
        })
    }

    /// The kernel, open.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(super) fn kernel(&self) -> io::Result<OwnedFd> {
        self.kernel.open()
    }

    /// The initial RAM disk, open.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(super) fn initrd(&self) -> io::Result<OwnedFd> {
        self.initrd.open()
    }
}
