//! Mistakes about the legacy interface: what breaks VIO-LEG.

use super::{Mistake, list};

list! {
    LEGACY_LAYOUT_FIXED = "legacy-layout-fixed", "VIO-LEG-001",
        "takes the device configuration to begin at byte 20 of the legacy ports, also with MSI-X";
    LEGACY_VECTORS_WITHOUT_MSIX = "legacy-vectors-without-msix", "VIO-LEG-001",
        "writes no vector to legacy ports that are none without MSI-X, and takes what it reads back for a refusal";
    LEGACY_FEATURES_OK = "legacy-features-ok", "VIO-LEG-002",
        "sets FEATURES_OK by the legacy interface";
    LEGACY_VERSION_1 = "legacy-version-1", "VIO-LEG-003",
        "accepts VERSION_1 by the structures, and does everything else by the legacy interface";
    LEGACY_VECTOR_NOT_READ_BACK = "legacy-vector-not-read-back", "VIO-LEG-004",
        "does not read a vector back after writing it to the legacy ports";
    CONFIG_READ_ONCE = "config-read-once", "VIO-LEG-005",
        "reads the device configuration once by the legacy interface, which has no generation";
}
