//! Whether chains become used in the order in which the device fetched them.

use std::collections::{BTreeMap, BTreeSet};

use misfire_device::spec::{CommonCfg, Field};
use misfire_device::trace::{Effect, Input, Op, Step};

/// What is known of one device's queues.
#[derive(Default)]
pub struct Order {
    /// Chains of each queue that are not used yet, and whether a later one was used before.
    fetched: BTreeMap<u16, Vec<(u32, bool)>>,
    turned: BTreeSet<u16>,
}

impl Order {
    /// Sees a step of the device.
    pub fn see(&mut self, step: &Step) {
        match &step.input {
            Input::Chain { queue, head, .. } => {
                let chains = self.fetched.entry(*queue).or_default();
                chains.push(((*head).into(), false));
            }
            Input::FunctionReset => self.fetched.clear(),
            Input::Access(access) if access.op == Op::Write => match (access.field, access.val) {
                (Some(Field::Common(CommonCfg::DeviceStatus)), Some(0)) => self.fetched.clear(),
                (Some(Field::Common(CommonCfg::QueueReset)), _) => {
                    self.fetched.remove(&access.q.unwrap_or_default());
                }
                _ => {}
            },
            _ => {}
        }
        for effect in &step.shown {
            if let Effect::Complete { queue, id, .. } = effect {
                self.used(*queue, *id);
            }
        }
    }

    fn used(&mut self, queue: u16, id: u32) {
        let Some(chains) = self.fetched.get_mut(&queue) else {
            return;
        };
        let Some(place) = chains.iter().position(|(head, _)| *head == id) else {
            return;
        };
        let (_, overtaken) = chains.remove(place);
        chains[..place].iter_mut().for_each(|chain| chain.1 = true);
        if overtaken {
            self.turned.insert(queue);
        }
    }

    /// A line for each queue whose chains came back in another order.
    pub fn lines(self) -> Vec<String> {
        let line = |queue| format!("q{queue}: chains become used in another order");
        self.turned.into_iter().map(line).collect()
    }
}
