//! The releases of Windows that can be installed.

use std::fmt;

use super::{Firmware, Image, WindowsError};

/// A release of Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// Windows 7 SP1 and Server 2008 R2 SP1.
    Seven,
    /// Windows 10.
    Ten,
    /// Windows 11.
    Eleven,
    /// Windows Server 2016.
    Server2016,
    /// Windows Server 2019.
    Server2019,
    /// Windows Server 2022.
    Server2022,
    /// Windows Server 2025.
    Server2025,
}

impl Release {
    /// Every release.
    pub const ALL: [Self; 7] = [
        Self::Seven,
        Self::Ten,
        Self::Eleven,
        Self::Server2016,
        Self::Server2019,
        Self::Server2022,
        Self::Server2025,
    ];

    /// The release of an image, by its build.
    ///
    /// # Errors
    /// When it is none that answers are known for.
    pub fn of(image: &Image) -> Result<Self, WindowsError> {
        let not = |why: String| WindowsError::Release {
            name: image.name.clone(),
            why,
        };
        if image.architecture == "arm64" {
            return Err(not("it is for ARM64, and machines here are x86".into()));
        }
        let server = image.kind.starts_with("Server");
        Ok(match (server, image.build) {
            (_, 7601) => Self::Seven,
            (_, 7600) => return Err(not("it is without Service Pack 1".into())),
            (false, 10_240..=19_999) => Self::Ten,
            (false, 22_000..) => Self::Eleven,
            (true, 14_300..=16_999) => Self::Server2016,
            (true, 17_000..=19_999) => Self::Server2019,
            (true, 20_000..=25_999) => Self::Server2022,
            (true, 26_000..) => Self::Server2025,
            (_, build) => {
                return Err(not(format!(
                    "build {build} is none of Windows 7 SP1, 10, 11, Server 2016, 2019, 2022 and 2025"
                )));
            }
        })
    }

    /// How a machine for it starts, when nobody says otherwise.
    pub fn firmware(self) -> Firmware {
        match self {
            Self::Seven => Firmware::Bios,
            _ => Firmware::Uefi,
        }
    }

    /// Whether Setup asks for a TPM and Secure Boot, and is told not to.
    pub fn wants_tpm(self) -> bool {
        self == Self::Eleven
    }

    /// The least memory that it is given, MiB.
    pub fn memory(self) -> u32 {
        match self {
            Self::Seven => 2048,
            _ => 4096,
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Seven => "Windows 7 SP1",
            Self::Ten => "Windows 10",
            Self::Eleven => "Windows 11",
            Self::Server2016 => "Windows Server 2016",
            Self::Server2019 => "Windows Server 2019",
            Self::Server2022 => "Windows Server 2022",
            Self::Server2025 => "Windows Server 2025",
        })
    }
}
