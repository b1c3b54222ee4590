//! Mistakes about feature negotiation: what breaks VIO-FEAT.

use super::{Mistake, list};

list! {
    ACCEPTS_UNOFFERED_FEATURE = "accepts-unoffered-feature", "VIO-FEAT-001",
        "accepts a feature that was not offered";
    FEATURE_WITHOUT_PREREQUISITE = "feature-without-prerequisite", "VIO-FEAT-002",
        "accepts features without those that they require";
    ACCEPTS_UNKNOWN_FEATURES = "accepts-unknown-features", "VIO-FEAT-003",
        "accepts features that mean nothing to it";
    UNKNOWN_FEATURE_REFUSED = "unknown-feature-refused", "VIO-FEAT-004",
        "gives up because of a feature that it does not know";
    VERSION1_NOT_ACCEPTED = "version-1-not-accepted", "VIO-FEAT-005",
        "does not accept VERSION_1";
    PLATFORM_NOT_ACCEPTED = "platform-not-accepted", "VIO-FEAT-006",
        "does not accept ACCESS_PLATFORM";
    ACCEPTS_SR_IOV = "accepts-sr-iov", "VIO-FEAT-008",
        "accepts SR_IOV without a look for the capability";
}
