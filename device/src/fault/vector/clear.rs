//! `vector.clear`

use crate::fault::act::Act;
use crate::fault::bench::{Bench, Scene};
use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::trigger::Occasion;
use crate::spec::{CommonCfg, NO_VECTOR};
use crate::trace::{Cause, Device, Legality};

/// The device loses mappings on its own.
pub static VERB: Verb = Verb {
    name: "vector.clear",
    summary: "The device silently loses mappings that the driver made: the events have no vector from then on.",
    classes: &[(Legality::Illegal, "")],
    sentence: "Events lose their vectors at a reset, and when the driver unmaps them; at no other time.",
    section: "4.1.5.1.2.1",
    args: &[
        Arg {
            name: "q",
            kind: "queue",
            default: Some(""),
            words: "the queue whose mapping is lost",
        },
        Arg {
            name: "cfg",
            kind: "true or false",
            default: Some("false"),
            words: "whether the mapping of the configuration event is lost",
        },
        Arg {
            name: "all",
            kind: "true or false",
            default: Some("false"),
            words: "whether every mapping is lost",
        },
    ],
    needs: Needs::Anything,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "live+200ms"
do = "vector.clear"
args = { q = 0 }
"#,
    build: |args, shape| {
        let queues = u64::from(shape.queues);
        let q = args.integer("q", 0..=queues.saturating_sub(1))?;
        let all = args.flag("all")?.unwrap_or(false);
        let cfg = args.flag("cfg")?.unwrap_or(false);
        if q.is_none() && !all && !cfg {
            return Err(args.error(
                "q",
                "`vector.clear` needs `q = <queue>`, `cfg = true` or `all = true`",
            ));
        }
        Ok(Box::new(Clear {
            q: q.map(|q| q as u16),
            cfg: cfg || all,
            all,
        }))
    },
};

#[derive(Clone, Debug)]
struct Clear {
    q: Option<u16>,
    cfg: bool,
    all: bool,
}

impl Clear {
    fn mapped<'a>(&'a self, world: &'a Device) -> impl Iterator<Item = u16> + 'a {
        (0_u16..)
            .zip(&world.queues)
            .filter(|(i, queue)| (self.all || self.q == Some(*i)) && queue.vector != NO_VECTOR)
            .map(|(i, _)| i)
    }

    fn clears_config(&self, world: &Device) -> bool {
        self.cfg && world.config_vector != NO_VECTOR
    }
}

impl Act for Clear {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        match (self.q, self.cfg, self.all) {
            (Some(q), false, false) => Cause::Queue(q).to_string(),
            (None, true, false) => Cause::Config.to_string(),
            _ => "device".to_owned(),
        }
    }

    fn applies(&self, _occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        scene.state.template.is_some()
            && (self.clears_config(scene.world) || self.mapped(scene.world).next().is_some())
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let selected = bench.world.queue_select;
        let queues: Vec<u16> = self.mapped(bench.world).collect();
        if self.clears_config(bench.world) {
            bench.write_common(CommonCfg::ConfigMsixVector, NO_VECTOR, None);
        }
        for queue in &queues {
            bench.write_common(CommonCfg::QueueSelect, *queue, None);
            bench.write_common(CommonCfg::QueueMsixVector, NO_VECTOR, Some(*queue));
        }
        if !queues.is_empty() {
            bench.write_common(CommonCfg::QueueSelect, selected, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{MS, Rig, cc};
    use crate::spec::{CommonCfg, NO_VECTOR};
    use crate::trace::{Effect, Input};

    #[test]
    fn a_mapping_is_lost_and_the_selected_queue_stays() {
        let mut rig = Rig::block(&[super::VERB.example]);
        rig.bring_up();
        rig.write(cc(CommonCfg::QueueSelect), 1);
        assert!(rig.injector.deadline().is_some());
        let outcome = rig.at(rig.now + 200 * MS, Input::Time);
        assert_eq!(outcome.fired[0].object, "q0");
        assert_eq!(rig.injector.world().queues[0].vector, NO_VECTOR);
        assert_eq!(rig.injector.world().queues[0].asked, Some(1));
        assert_eq!(rig.read(cc(CommonCfg::QueueMsixVector)), 2);
        let outcome = rig.input(Input::Used { queue: 0 });
        assert!(matches!(
            outcome.shown.as_slice(),
            [Effect::Unmapped { .. }]
        ));
    }

    #[test]
    fn everything_can_be_lost_at_once() {
        let mut rig = Rig::block(&["on = 'host:now'\ndo = 'vector.clear'\nargs = { all = true }"]);
        rig.bring_up();
        rig.host("now");
        let world = rig.injector.world();
        assert_eq!(world.config_vector, NO_VECTOR);
        assert!(world.queues.iter().all(|q| q.vector == NO_VECTOR));
    }

    #[test]
    fn nothing_is_lost_where_nothing_is_mapped() {
        let mut rig = Rig::block(&["on = 'host:now'\ndo = 'vector.clear'\nargs = { q = 0 }"]);
        assert!(rig.host("now").fired.is_empty());
    }

    #[test]
    fn it_has_to_be_said_what_is_lost() {
        let error = Rig::refused("on = 'live'\ndo = 'vector.clear'");
        assert_eq!(
            error.message,
            "`vector.clear` needs `q = <queue>`, `cfg = true` or `all = true`"
        );
        assert!(
            Rig::refused("on = 'live'\ndo = 'vector.clear'\nargs = { q = 2 }")
                .message
                .starts_with("q = 2: expected")
        );
    }
}
