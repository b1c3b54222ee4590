//! `needs_reset`

use crate::fault::act::Act;
use crate::fault::bench::{Bench, Hear};
use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::trigger::Occasion;
use crate::trace::{Device, Input, Legality};

/// The device can't go on.
pub static VERB: Verb = Verb {
    name: "needs_reset",
    summary: "The device meets an error: NEEDS_RESET is set, and a configuration interrupt tells the driver.",
    classes: &[
        (Legality::Legal, "irq = true"),
        (Legality::Illegal, "irq = false: nobody is told"),
    ],
    sentence: "A device that can go on only after a reset sets DEVICE_NEEDS_RESET and, if DRIVER_OK is set, sends a configuration change notification.",
    section: "2.1.2",
    args: &[Arg {
        name: "irq",
        kind: "true or false",
        default: Some("true"),
        words: "whether the driver is told",
    }],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "chain[q0]"
nth = 100
do = "needs_reset"
args = { irq = true }
"#,
    build: |args, _| {
        let irq = args.flag("irq")?.unwrap_or(true);
        Ok(Box::new(NeedsReset { irq }))
    },
};

#[derive(Clone, Debug)]
struct NeedsReset {
    irq: bool,
}

impl Act for NeedsReset {
    fn class(&self, _world: &Device) -> Legality {
        if self.irq {
            Legality::Legal
        } else {
            Legality::Illegal
        }
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        if self.irq { "device" } else { "cfg" }.to_owned()
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        bench.hear(Hear {
            muted: !self.irq,
            ..Hear::plain(Input::Broken)
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::CommonCfg;
    use crate::trace::{Cause, Effect, Input};

    fn chain() -> Input {
        Input::Chain {
            queue: 0,
            head: 0,
            request: String::new(),
        }
    }

    #[test]
    fn the_device_breaks_and_tells() {
        let mut rig = Rig::block(&["on = 'chain[q0]'\ndo = 'needs_reset'"]);
        rig.bring_up();
        let outcome = rig.input(chain());
        assert_eq!(outcome.heard, Some(vec![Input::Broken, chain()]));
        assert!(
            matches!(outcome.shown.as_slice(), [Effect::Message(m)] if m.cause == Cause::Config)
        );
        assert_eq!(outcome.meant, None);
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0x4f);
    }

    #[test]
    fn the_device_breaks_and_tells_nobody() {
        let mut rig = Rig::block(&["on = 'chain[q0]'\ndo = 'needs_reset'\nargs = { irq = false }"]);
        rig.bring_up();
        let outcome = rig.input(chain());
        assert!(outcome.shown.is_empty());
        assert_eq!(outcome.meant.map(|m| m.len()), Some(1));
        assert_eq!(rig.read(cc(CommonCfg::DeviceStatus)), 0x4f);
    }

    #[test]
    fn without_msix_the_line_stays_down_until_the_next_interrupt() {
        let mut rig = Rig::block(&["on = 'chain[q0]'\ndo = 'needs_reset'\nargs = { irq = false }"]);
        rig.bring_up_intx();
        assert!(rig.input(chain()).shown.is_empty());
        let outcome = rig.input(Input::Used { queue: 0 });
        assert_eq!(outcome.shown.as_slice(), [Effect::Pin(true)]);
        assert_eq!(rig.read(crate::spec::Field::Isr), 3);
    }
}
