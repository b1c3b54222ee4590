//! Mistakes about storage on Windows: what breaks WIN-STOR.

use super::{Mistake, list};

list! {
    REMOVAL_KEEPS_REQUESTS = "removal-keeps-requests", "WIN-STOR-001",
        "does not end the requests in flight when the device is pulled out";
}
