//! Mistakes about the search for capabilities: what breaks VIO-CAP.

use super::{Mistake, list};

list! {
    LAST_CAPABILITY = "last-capability", "VIO-CAP-001",
        "uses the last of several structures of a type";
    RESERVED_TYPE_REFUSED = "reserved-type-refused", "VIO-CAP-002",
        "does not start when a capability has a reserved cfg_type";
    RESERVED_BAR_USED = "reserved-bar-used", "VIO-CAP-003",
        "takes a capability with a reserved bar for the structure";
    EXACT_CAP_LEN = "exact-cap-len", "VIO-CAP-004",
        "does not take a capability that is longer than needed";
    LARGE_STRUCTURE_REFUSED = "large-structure-refused", "VIO-CAP-005",
        "refuses a structure of more than a page";
    EXACT_REVISION = "exact-revision", "VIO-CAP-006",
        "refuses a revision other than 1";
    EXACT_CONFIG_LENGTH = "exact-config-length", "VIO-CAP-007",
        "refuses a device configuration of another length than usual";
    CAPABILITIES_ASSUMED = "capabilities-assumed", "VIO-CAP-008",
        "uses structures that it has not found";
    CONFIG_REQUIRED = "config-required", "VIO-CAP-009",
        "refuses a device without configuration, though its type has none";
}
