//! `[firmware]` of a guest file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::guest::file::{Place, Section, UefiFile};

/// A firmware with a driver of its own, which boots a boot sector from the device, or runs an application that uses it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FirmwareFile {
    /// Its image, as QEMU's `-bios` takes it; default: QEMU's SeaBIOS.
    pub file: Option<PathBuf>,
    /// A UEFI firmware.
    pub uefi: Option<UefiFile>,
    /// What it prints on the debug port when it has found nothing to boot; default: SeaBIOS's words.
    pub nothing_to_boot: Option<String>,
}

/// An image ends where the first 4 GiB or the first MiB end, and QEMU maps whole pieces of this many bytes.
const PIECE: u64 = 0x1_0000;

impl Section for FirmwareFile {
    fn check(&mut self, place: &mut Place<'_>) {
        if let Some(uefi) = &mut self.uefi {
            place.uefi("uefi", uefi);
            if self.file.is_some() || self.nothing_to_boot.is_some() {
                let message = "a UEFI firmware has neither `file` nor `nothing-to-boot`";
                place.problem("uefi", message);
            }
        }
        if let Some(file) = &mut self.file {
            place.file("file", file);
            let bytes = std::fs::metadata(&*file).map_or(0, |found| found.len());
            if !bytes.is_multiple_of(PIECE) {
                let name = file.display();
                let message = format!(
                    "{name} has {bytes} bytes: a firmware's image has a multiple of {PIECE}"
                );
                place.problem("file", message);
            }
        }
        if self
            .nothing_to_boot
            .as_deref()
            .is_some_and(|text| text.trim().is_empty())
        {
            place.problem(
                "nothing-to-boot",
                "no text: every line would mean that there is nothing to boot",
            );
        }
    }
}
