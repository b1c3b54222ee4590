//! `[linux]` of a guest file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::guest::file::{Place, Section, UefiFile};
use crate::prepare::OwnParts;

/// The least and the most memory in MiB: a kernel with its initial RAM disk needs some.
const MEMORY: std::ops::RangeInclusive<u32> = 64..=65536;

/// What of a Linux is the user's own; the rest is that of a guest of `misfire prepare linux`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LinuxFile {
    /// The prepared guest that gives what is not named here; default: the newest.
    pub base: Option<String>,
    /// A kernel that QEMU can start: a bzImage, or an ELF file with a PVH entry.
    pub kernel: Option<PathBuf>,
    /// The folder lib/modules/RELEASE of that kernel. Without it what the drivers need is built into it.
    pub modules_dir: Option<PathBuf>,
    /// Modules, which are loaded instead of the kernel's of the same name; with an image when that has booted.
    #[serde(default)]
    pub modules: Vec<PathBuf>,
    /// An initial RAM disk of its own, which loads its modules itself.
    pub initrd: Option<PathBuf>,
    /// The image of a disk with a whole system, which is never written to: qcow2 or raw. It boots itself, or is the
    /// disk of `kernel`.
    pub image: Option<PathBuf>,
    /// A UEFI firmware that boots the image; default: SeaBIOS.
    pub firmware: Option<UefiFile>,
    /// What the kernel's command line has more.
    pub append: Option<String>,
    /// Guest memory in MiB.
    pub memory_mib: Option<u32>,
}

impl Section for LinuxFile {
    fn check(&mut self, place: &mut Place<'_>) {
        if let Some(kernel) = &mut self.kernel {
            place.file("kernel", kernel);
        }
        if let Some(dir) = &mut self.modules_dir {
            place.folder("modules-dir", dir);
        }
        place.files("modules", &mut self.modules);
        if let Some(initrd) = &mut self.initrd {
            place.file("initrd", initrd);
        }
        if self.modules_dir.is_some() && self.kernel.is_none() {
            place.problem(
                "modules-dir",
                "modules-dir needs the kernel that they are of",
            );
        }
        // A system's own modules are put into it when it has booted.
        if self.initrd.is_some() && self.image.is_none() {
            for (key, is_there) in [
                ("modules-dir", self.modules_dir.is_some()),
                ("modules", !self.modules.is_empty()),
            ] {
                if is_there {
                    let message = format!(
                        "an initrd of your own loads its modules itself: {key} means nothing there"
                    );
                    place.problem(key, message);
                }
            }
        }
        if let Some(image) = &mut self.image {
            place.file("image", image);
        }
        if let Some(firmware) = &mut self.firmware {
            place.uefi("firmware", firmware);
        }
        self.check_disk(place);
        if let Some(mib) = self.memory_mib.filter(|mib| !MEMORY.contains(mib)) {
            let (least, most) = MEMORY.into_inner();
            place.problem(
                "memory-mib",
                format!("memory-mib = {mib}: expected {least} to {most}"),
            );
        }
    }
}

impl LinuxFile {
    /// What means nothing with an image, or without one.
    fn check_disk(&self, place: &mut Place<'_>) {
        if self.image.is_none() {
            if self.firmware.is_some() {
                place.problem("firmware", "firmware needs the image that it boots");
            }
            return;
        }
        for (key, is_there) in [
            ("base", self.base.is_some()),
            ("modules-dir", self.modules_dir.is_some()),
        ] {
            if is_there {
                let message = format!("an image brings its own modules: {key} means nothing there");
                place.problem(key, message);
            }
        }
        if self.kernel.is_some() && self.firmware.is_some() {
            let message = "a kernel of your own is started without the image's firmware";
            place.problem("firmware", message);
        }
        for (key, is_there) in [
            ("initrd", self.initrd.is_some()),
            ("append", self.append.is_some()),
        ] {
            if is_there && self.kernel.is_none() {
                let message =
                    format!("an image that boots itself brings its own: {key} needs kernel");
                place.problem(key, message);
            }
        }
    }

    /// What is put in the place of the prepared guest's.
    pub(crate) fn parts(&self) -> OwnParts {
        OwnParts {
            kernel: self.kernel.clone(),
            modules_dir: self.modules_dir.clone(),
            modules: self.modules.clone(),
            initrd: self.initrd.clone(),
        }
    }
}
