//! Mistakes about the device configuration: what breaks VIO-CFG.

use super::{Mistake, list};

list! {
    GENERATION_NOT_READ = "generation-not-read", "VIO-CFG-001",
        "reads the configuration without its generation";
    GENERATION_NOT_COMPARED = "generation-not-compared", "VIO-CFG-002",
        "reads the configuration's generation and does not compare it";
    OPTIONAL_CONFIG_UNCHECKED = "optional-config-unchecked", "VIO-CFG-003",
        "reads fields of the configuration whose feature is not offered";
    CONFIG_SERVED_ONCE = "config-served-once", "VIO-CFG-004",
        "serves the first change of the configuration, and no other";
    CONFIG_WRITTEN = "config-written", "VIO-CFG-005",
        "writes read-only fields of the configuration";
    RESETS_ON_CONFIG_CHANGE = "resets-on-config-change", "VIO-CFG-007",
        "resets the device at each change of the configuration";
    CONFIG_INTERRUPT_FATAL = "config-interrupt-fatal", "VIO-CFG-007",
        "takes a configuration interrupt with nothing changed for impossible";
}
