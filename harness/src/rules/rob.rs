//! ROB: what a driver survives when the device misbehaves. Judged under every fault.

use misfire_device::spec::CommonCfg as C;

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use crate::log::Said;

/// The rules.
pub const RULES: &[Rule] = &[Rule {
    id: "ROB-006",
    level: Level::Derived,
    sentence: "A device whose status never reads 0 after a reset does not hang the driver: it gives up, and reports the device as failed.",
    source: "B26, P12",
    breaks: "the driver still polls device_status when the trace or the step's time ends",
    proof: "The driver is seen to give up when the guest says that the device or the request failed, or when it does something else with the device.",
    robust: true,
    watch: Watch::with::<Endless>(),
    ..Rule::BASE
}];

/// Waits for a reset that takes long, or for ever.
#[derive(Default)]
pub struct Endless {
    polls: Option<(u64, u64)>,
}

impl Machine for Endless {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let epoch = &now.s.epoch;
        let waiting = epoch.began.is_some() && !epoch.zero_read && epoch.written == 0;
        if let Some(status) = now.read(C::DeviceStatus).filter(|_| waiting) {
            match self.polls {
                Some(_) if status == 0 => {
                    self.polls = None;
                    say.held(Object::Status);
                }
                Some((first, _)) => self.polls = Some((first, now.seq)),
                None if status != 0 => self.polls = Some((now.seq, now.seq)),
                None => {}
            }
            return;
        }
        let Some((first, last)) = self.polls else {
            return;
        };
        if now.said().is_some_and(Said::is_crash) {
            self.polls = None;
            say.broken(
                Object::Status,
                &[first, last, now.seq],
                "the guest crashes while the device does not come back from a reset",
            );
        } else if matches!(now.at, At::End | At::Mark("timeout")) {
            self.polls = None;
            say.broken(
                Object::Status,
                &[first, last],
                "device_status never reads 0 after the reset, and the driver polls it without an end",
            );
        } else if now.written().is_some()
            || now
                .said()
                .is_some_and(|s| s.is_start_failure() || s.done().is_some() || s.is_exit())
        {
            self.polls = None;
            say.held(Object::Status);
        }
    }
}
