//! `reset.partial`

use toml::Value;

use crate::fault::act::{Act, Firing};
use crate::fault::bench::{Bench, Scene};
use crate::fault::catalogue::{Arg, Needs, OURS, VIRTIO, Verb};
use crate::fault::error::nearest;
use crate::fault::trigger::{Occasion, writes_status};
use crate::spec::{CommonCfg as C, NO_VECTOR};
use crate::trace::{Access, Device, Legality, Queue};

/// A reset leaves something behind.
pub static VERB: Verb = Verb {
    name: "reset.partial",
    summary: "After a reset that the driver wrote, the device still has part of what the driver had set up: its vectors, its queues, the features, or the selected queue.",
    classes: &[(Legality::Illegal, "")],
    sentence: "A reset puts back all that the driver has set up: no queue is enabled, no event has a vector.",
    section: "2.4.1, 4.1.4.3.1, 4.1.5.1.2.1",
    args: &[Arg {
        name: "keep",
        kind: "\"vectors\", \"queues\", \"features\", \"select\", or a list of them",
        default: None,
        words: "what is still there after the reset",
    }],
    needs: Needs::ResetEnd,
    attachments: OURS,
    kinds: VIRTIO,
    example: r#"
on = "reset.end"
nth = "2.."
do = "reset.partial"
args = { keep = ["vectors", "queues"] }
"#,
    build: |args, _| {
        let value = args.value("keep").ok_or_else(|| args.missing("keep"))?;
        let one = std::slice::from_ref(value);
        let list = value.as_array().map_or(one, Vec::as_slice);
        let mut keep = Keep::default();
        for entry in list {
            let word = entry.as_str().unwrap_or_default();
            match word {
                "vectors" => keep.vectors = true,
                "queues" => keep.queues = true,
                "features" => keep.features = true,
                "select" => keep.select = true,
                _ => {
                    const KNOWN: [&str; 4] = ["vectors", "queues", "features", "select"];
                    let message = format!("{entry}: expected {}", KNOWN.join(", "));
                    return Err(args.error("keep", message).help(nearest(word, KNOWN)));
                }
            }
        }
        if matches!(value, Value::Array(list) if list.is_empty()) {
            return Err(args.error("keep", "keep = []: then nothing is left behind"));
        }
        Ok(Box::new(Partial {
            keep,
            before: Before::default(),
        }))
    },
};

#[derive(Clone, Copy, Debug, Default)]
struct Keep {
    vectors: bool,
    queues: bool,
    features: bool,
    select: bool,
}

/// What the driver had set up before the last reset.
#[derive(Clone, Debug)]
struct Before {
    config_vector: u16,
    queues: Vec<Queue>,
    features: u128,
    select: u16,
}

impl Default for Before {
    fn default() -> Self {
        Self {
            config_vector: NO_VECTOR,
            queues: Vec::new(),
            features: 0,
            select: 0,
        }
    }
}

#[derive(Clone, Debug)]
struct Partial {
    keep: Keep,
    before: Before,
}

impl Partial {
    fn is_empty(&self) -> bool {
        let (keep, before) = (self.keep, &self.before);
        let vectors = before.config_vector != NO_VECTOR
            || before.queues.iter().any(|q| q.vector != NO_VECTOR);
        !(keep.vectors && vectors
            || keep.queues && before.queues.iter().any(|q| q.enabled)
            || keep.features && before.features != 0
            || keep.select && before.select != 0)
    }

    fn restore_queue(&self, bench: &mut Bench<'_>, q: u16, queue: &Queue) {
        bench.write_common(C::QueueSelect, q, None);
        if self.keep.vectors {
            bench.write_common(C::QueueMsixVector, queue.vector, Some(q));
        }
        if self.keep.queues && queue.enabled {
            if queue.size != 0 {
                bench.write_common(C::QueueSize, queue.size, Some(q));
            }
            for (low, high, address) in [
                (C::QueueDescLo, C::QueueDescHi, queue.desc),
                (C::QueueDriverLo, C::QueueDriverHi, queue.driver),
                (C::QueueDeviceLo, C::QueueDeviceHi, queue.device),
            ] {
                bench.write_common(low, address & 0xffff_ffff, Some(q));
                bench.write_common(high, address >> 32, Some(q));
            }
            bench.write_common(C::QueueEnable, 1_u16, Some(q));
        }
    }
}

impl Act for Partial {
    fn class(&self, _world: &Device) -> Legality {
        Legality::Illegal
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "device".to_owned()
    }

    fn applies(&self, _occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        scene.state.template.is_some() && !self.is_empty()
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        if self.keep.features {
            for n in 0..4_u32 {
                let word = (self.before.features >> (32 * n)) as u32;
                bench.write_common(C::DriverFeatureSelect, n, None);
                bench.write_common(C::DriverFeature, word, None);
            }
            bench.write_common(C::DriverFeatureSelect, 0_u32, None);
        }
        if self.keep.vectors {
            bench.write_common(C::ConfigMsixVector, self.before.config_vector, None);
        }
        let queues = std::mem::take(&mut self.before.queues);
        if self.keep.vectors || self.keep.queues {
            for (q, queue) in (0_u16..).zip(&queues) {
                self.restore_queue(bench, q, queue);
            }
        }
        let select = if self.keep.select {
            self.before.select
        } else {
            0
        };
        bench.write_common(C::QueueSelect, select, None);
        self.before = Before::default();
    }

    fn rewrite(&mut self, access: &mut Access, _firing: Firing, world: &Device) -> bool {
        if writes_status(access) == Some(0) {
            self.before = Before {
                config_vector: world.config_vector,
                queues: world.queues.clone(),
                features: world.accepted,
                select: world.queue_select,
            };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{Rig, cc};
    use crate::spec::{CommonCfg as C, NO_VECTOR};

    fn after_reset(keep: &str) -> Rig {
        let fault = format!("on = 'reset.end'\ndo = 'reset.partial'\nargs = {{ keep = {keep} }}");
        let mut rig = Rig::block(&[&fault]);
        rig.bring_up();
        rig.write(cc(C::DeviceStatus), 0);
        rig
    }

    #[test]
    fn what_is_kept_is_there_after_the_reset_and_the_rest_is_not() {
        let mut rig = after_reset("'vectors'");
        assert_eq!(rig.read(cc(C::DeviceStatus)), 0);
        assert_eq!(rig.read(cc(C::ConfigMsixVector)), 0);
        assert_eq!(rig.read(cc(C::QueueMsixVector)), 1);
        assert_eq!(rig.read(cc(C::QueueEnable)), 0);
        let mut rig = after_reset("['queues', 'features']");
        assert_eq!(rig.read(cc(C::QueueMsixVector)), u64::from(NO_VECTOR));
        assert_eq!(rig.read(cc(C::QueueEnable)), 1);
        rig.write(cc(C::DriverFeatureSelect), 1);
        assert_eq!(rig.read(cc(C::DriverFeature)), 1);
    }

    #[test]
    fn a_reset_of_a_device_that_nobody_set_up_is_complete() {
        let mut rig =
            Rig::block(&["on = 'reset.end'\ndo = 'reset.partial'\nargs = { keep = 'queues' }"]);
        assert!(rig.write(cc(C::DeviceStatus), 0).fired.is_empty());
    }

    #[test]
    fn what_can_not_be_kept_is_refused() {
        let error =
            Rig::refused("on = 'reset.end'\ndo = 'reset.partial'\nargs = { keep = 'queue' }");
        assert_eq!(error.help.as_deref(), Some("did you mean `queues`?"));
    }
}
