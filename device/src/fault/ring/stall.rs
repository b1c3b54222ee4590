//! `queue.stall`

use crate::endpoint::Nanos;
use crate::fault::act::Act;
use crate::fault::bench::{Bench, Stall};
use crate::fault::catalogue::{Arg, BOTH, Needs, VIRTIO, Verb};
use crate::fault::trigger::Occasion;
use crate::trace::{Device, Legality};

/// So long a queue may stand still without anybody wondering.
const LONG: Nanos = 30_000_000_000;

/// A queue that stands still.
pub static VERB: Verb = Verb {
    name: "queue.stall",
    summary: "Completions do not come: for a time, until a command of the host, or until the next reset. Then they come in their order.",
    classes: &[
        (
            Legality::Legal,
            "for less than 30 s, or until the host says",
        ),
        (Legality::Grey, "for longer, or for good"),
    ],
    sentence: "A device finishes chains in its own time; nothing limits it.",
    section: "2.7.13",
    args: &[
        Arg {
            name: "q",
            kind: "number",
            default: None,
            words: "the queue; every one if nothing is said",
        },
        Arg {
            name: "for",
            kind: "time",
            default: None,
            words: "how long",
        },
        Arg {
            name: "host",
            kind: "text",
            default: None,
            words: "the command of the host that lets it go on",
        },
    ],
    needs: Needs::Anything,
    attachments: BOTH,
    kinds: VIRTIO,
    example: r#"
on = "chain[q0]"
nth = 3
do = "queue.stall"
args = { q = 0, for = "50ms" }
"#,
    build: |args, shape| {
        let queue = args.integer("q", 0..=u64::from(shape.queues.saturating_sub(1)))?;
        Ok(Box::new(Still {
            queue: queue.map(|q| q as u16),
            time: args.time("for")?,
            host: args.word("host")?.map(str::to_owned),
        }))
    },
};

#[derive(Clone, Debug)]
struct Still {
    queue: Option<u16>,
    time: Option<Nanos>,
    host: Option<String>,
}

impl Act for Still {
    fn class(&self, _world: &Device) -> Legality {
        if self.host.is_some() || self.time.is_some_and(|time| time < LONG) {
            Legality::Legal
        } else {
            Legality::Grey
        }
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        self.queue.map_or("device".to_owned(), |q| format!("q{q}"))
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        const MOST: usize = 64;
        let stalls = &mut bench.state.rings.stalls;
        if stalls.len() < MOST {
            stalls.push(Stall {
                queue: self.queue,
                until: self.time.map(|time| bench.now.saturating_add(time)),
                host: self.host.clone(),
            });
        }
    }
}
