//! How long a preparation may take.

use std::time::Duration;

use super::record::Stage;
use crate::machine::Accel;

/// How much time stages may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A minute of a stage's limit.
    pub minute: Duration,
    /// Time between two looks at the screen.
    pub look: Duration,
    /// A stage that may take no longer than this.
    pub most: Option<(Stage, Duration)>,
}

/// How many times longer software emulation takes than KVM.
const SLOWER: u32 = 10;

impl Pace {
    /// What a machine takes that runs so.
    pub fn of(accel: Accel) -> Self {
        Self::times(match accel {
            Accel::Kvm => 1,
            Accel::Tcg => SLOWER,
        })
    }

    /// `times` as long as a machine under KVM takes.
    pub fn times(times: u32) -> Self {
        Self {
            minute: Duration::from_secs(60) * times.max(1),
            look: Duration::from_secs(10),
            most: None,
        }
    }

    /// How long a stage may take.
    pub(super) fn limit(self, stage: Stage) -> Duration {
        let minutes = u32::try_from(stage.minutes()).unwrap_or(u32::MAX);
        let limit = self.minute.saturating_mul(minutes);
        match self.most {
            Some((of, most)) if of == stage => limit.min(most),
            _ => limit,
        }
    }
}
