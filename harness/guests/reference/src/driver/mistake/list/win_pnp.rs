//! Mistakes about Plug and Play and power on Windows: what breaks WIN-PNP.

use super::{Mistake, list};

list! {
    RESETS_AFTER_REMOVAL = "resets-after-removal", "WIN-PNP-001",
        "resets a device that was pulled out, and waits for that without an end";
    TRUSTS_DEVICE_AFTER_D3 = "trusts-device-after-d3", "WIN-PNP-002",
        "does not reset the device before D3, and takes it to be as it was after it";
}
