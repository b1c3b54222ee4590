//! The answer file: templates of `harness/guests/windows/setup/`, filled.

use super::{Firmware, Image, Release};

const WHOLE: &str = include_str!("../../../guests/windows/setup/autounattend.xml");
const UEFI: &str = include_str!("../../../guests/windows/setup/disk-uefi.xml");
const BIOS: &str = include_str!("../../../guests/windows/setup/disk-bios.xml");
const OOBE_7: &str = include_str!("../../../guests/windows/setup/oobe-7.xml");
const OOBE_10: &str = include_str!("../../../guests/windows/setup/oobe-10.xml");

/// The password of the Administrator that logs on by itself. It keeps nothing secret: who has the image has it.
pub const PASSWORD: &str = "Misfire-1";

/// What Setup of Windows 11 is told not to ask for (`HKLM\SYSTEM\Setup\LabConfig`).
const CHECKS: &[&str] = &["TPM", "SecureBoot", "RAM", "CPU", "Storage"];

/// What is answered.
#[derive(Clone, Debug)]
pub(super) struct Answers<'a> {
    pub image: &'a Image,
    pub release: Release,
    pub firmware: Firmware,
    /// A software TPM is there: Setup may look for it.
    pub tpm: bool,
    pub key: Option<&'a str>,
}

impl Answers<'_> {
    /// The answer file.
    pub fn text(&self) -> String {
        let (disk, partition) = match self.firmware {
            Firmware::Uefi => (UEFI, "3"),
            Firmware::Bios => (BIOS, "1"),
        };
        let oobe = match self.release {
            Release::Seven => OOBE_7,
            _ => OOBE_10,
        };
        let mut checks = String::new();
        if self.release.wants_tpm() {
            let asked = CHECKS
                .iter()
                .filter(|check| !(self.tpm && **check == "TPM"));
            for (n, check) in asked.enumerate() {
                checks += &format!(
                    "        <RunSynchronousCommand wcm:action=\"add\">\n          <Order>{}</Order>\n          \
                     <Path>reg add HKLM\\SYSTEM\\Setup\\LabConfig /v Bypass{check}Check /t REG_DWORD /d 1 /f</Path>\n        \
                     </RunSynchronousCommand>\n",
                    n + 2
                );
            }
        }
        // An empty element is none that Setup takes.
        let key = self.key.map(|key| format!("          <Key>{key}</Key>\n"));
        // Pieces first: what they hold is filled with the rest.
        let mut text = WHOLE.to_owned();
        for (name, piece) in [
            ("LABCONFIG", checks.as_str()),
            ("DISK", disk),
            ("OOBE", oobe),
            ("KEY", key.as_deref().unwrap_or_default()),
        ] {
            text = text.replace(&format!("@{name}@"), piece);
        }
        for (name, value) in [
            ("ARCHITECTURE", self.image.architecture),
            ("LANGUAGE", &self.image.language),
            ("INDEX", &self.image.index.to_string()),
            ("PARTITION", partition),
            ("PASSWORD", PASSWORD),
        ] {
            text = text.replace(&format!("@{name}@"), value);
        }
        text
    }
}
