//! Product keys for who has none: those that Microsoft publishes for every edition under a volume licence ("Key Management
//! Services (KMS) client activation and product keys"). With one a system is installed, and not activated.
//!
//! Setup asks for a key where an answer file has none, but on evaluation media, which take no other than their own.

use super::{Image, Release};

const CLIENTS: &[(&str, &str)] = &[
    ("Professional", "W269N-WFGWX-YVC9B-4J6C9-T83GX"),
    ("ProfessionalN", "MH37W-N47XK-V7XM9-C7227-GCQG9"),
    ("ProfessionalWorkstation", "NRG8B-VKK3Q-CXVCJ-9G2XF-6Q84J"),
    ("Education", "NW6C2-QMPVW-D7KKK-3GKT6-VCFB2"),
    ("Enterprise", "NPPR9-FWDCX-D2C8J-H872K-2YT43"),
    ("EnterpriseN", "DPH2V-TTNVB-4X9Q3-TJR4H-KHJW4"),
];
const SERVERS: &[(Release, &str, &str)] = &[
    (
        Release::Server2016,
        "WC2BQ-8NRM3-FDDYY-2BFGV-KHKQY",
        "CB7KF-BWN84-R7R2Y-793K2-8XDDG",
    ),
    (
        Release::Server2019,
        "N69G4-B89J2-4G8F4-WWYCC-J464C",
        "WMDGN-G9PQG-XVVXX-R3X43-63DFG",
    ),
    (
        Release::Server2022,
        "VDYBN-27WPP-V4HQT-9VMD4-VMK7H",
        "WX4NM-KYWYW-QJJR4-XV3QB-6VM33",
    ),
    (
        Release::Server2025,
        "TVRH6-WHNXV-R9WG3-9XRFY-MY832",
        "D764K-2NDRG-47T6Q-P8T8W-YP6DF",
    ),
];

/// The key of an edition, if one is published and Setup wants one.
pub(super) fn published(release: Release, image: &Image) -> Option<&'static str> {
    let edition = image.edition.as_str();
    if matches!(release, Release::Ten | Release::Eleven) {
        let found = CLIENTS.iter().find(|(name, _)| *name == edition);
        return found.map(|(_, key)| *key);
    }
    let (_, standard, datacenter) = SERVERS.iter().find(|(of, ..)| *of == release)?;
    match edition.trim_end_matches("Core") {
        "ServerStandard" => Some(standard),
        "ServerDatacenter" => Some(datacenter),
        _ => None,
    }
}
