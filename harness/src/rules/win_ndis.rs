//! WIN-NDIS: what Windows asks of the driver of a network adapter.

use misfire_device::shape::Kind;
use misfire_device::spec::Status;
use misfire_device::trace::Input;

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};

/// The rules.
pub const RULES: &[Rule] = &[Rule {
    id: "WIN-NDIS-001",
    level: Level::Vendor,
    sentence: "A network adapter that stands still is reset, and frames go through it again.",
    source: "network/ MiniportCheckForHangEx and MiniportResetEx; B31",
    breaks: "the device asks for a reset, and it is not reset, or frames do not go through it afterwards",
    proof: "By order: DEVICE_NEEDS_RESET, a reset, DRIVER_OK, a load that is done.",
    follows: &["VIO-NR-001", "VIO-NR-003"],
    watch: Watch::with::<Back>(),
    ..Rule::BASE
}];

#[derive(Default)]
struct Back {
    /// The device asked for a reset.
    since: Option<u64>,
    /// It was set up again.
    back: bool,
}

impl Machine for Back {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if now.s.dev.shape.kind != Kind::Net {
            return say.not_applicable("it is about network adapters");
        }
        let asks = now.step().is_some_and(|step| {
            let heard = step.heard.as_ref();
            heard.map_or(step.input == Input::Broken, |h| h.contains(&Input::Broken))
        });
        if asks && now.s.dev.status.has(Status::DRIVER_OK) {
            self.since.get_or_insert(now.seq);
        }
        let Some(since) = self.since else { return };
        self.back |= now.sets(Status::DRIVER_OK);
        if self.back && now.s.live() && now.success() {
            *self = Self::default();
            say.held(Object::Device);
        } else if now.failure() || matches!(now.at, At::End) && !self.back {
            *self = Self::default();
            say.broken(
                Object::Device,
                &[since, now.seq],
                "the device asked for a reset, and no frame goes through it any more",
            );
        }
    }
}
