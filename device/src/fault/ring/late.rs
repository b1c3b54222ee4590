//! `late.completion`

use crate::endpoint::Nanos;
use crate::fault::act::Act;
use crate::fault::bench::{Bench, Held, MAX_HELD, Scene};
use crate::fault::catalogue::{Arg, BOTH, Needs, VIRTIO, Verb};
use crate::fault::trigger::Occasion;
use crate::trace::{Device, Effect, Legality};

/// Completions from before a reset.
pub static VERB: Verb = Verb {
    name: "late.completion",
    summary: "Chains that a reset overtook become used after it, in the ring where they were.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A device that was reset touches no ring of before.",
    section: "2.4, 2.7.13",
    args: &[
        Arg {
            name: "n",
            kind: "number from 1 to 1024",
            default: Some("1"),
            words: "how many of them",
        },
        Arg {
            name: "after",
            kind: "time",
            default: Some("0s"),
            words: "how long after the firing",
        },
    ],
    needs: Needs::Anything,
    attachments: BOTH,
    kinds: VIRTIO,
    example: r#"
on = "reset.end"
nth = 2
do = "late.completion"
args = { n = 1, after = "5ms" }
"#,
    build: |args, _| {
        Ok(Box::new(Late {
            most: args.integer("n", 1..=1024)?.unwrap_or(1) as usize,
            after: args.time("after")?.unwrap_or(0),
        }))
    },
};

#[derive(Clone, Debug)]
struct Late {
    most: usize,
    after: Nanos,
}

impl Act for Late {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "device".to_owned()
    }

    fn applies(&self, _occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        !scene.state.rings.orphans.is_empty()
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let most = self.most.min(bench.state.rings.orphans.len());
        let late: Vec<Effect> = bench.state.rings.orphans.drain(..most).collect();
        for effect in late {
            if self.after > 0 && bench.state.held.len() < MAX_HELD {
                bench.state.held.push(Held {
                    at: bench.now.saturating_add(self.after),
                    effect,
                    times: 1,
                    gap: 0,
                    waits: false,
                    by: None,
                    kept: None,
                });
            } else {
                bench.emit(effect, 1, 0);
            }
        }
    }
}
