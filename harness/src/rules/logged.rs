//! LOG: what the driver says against what the device saw.

use std::collections::BTreeMap;

use misfire_device::spec::{NO_VECTOR, Status};
use misfire_device::trace::Mode;

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use crate::log::Said;

/// The rules.
pub const RULES: &[Rule] = &[Rule {
    id: "LOG-001",
    level: Level::Derived,
    sentence: "A vector that the driver's log gives as written, read back or in use is the one that the device saw, gave and holds.",
    source: "S19 (what is read back tells, what was written does not)",
    breaks: "the driver logs a vector, and the device holds another or none for that event",
    proof: "Console and registers have no common order: the lines about an event are compared with its accesses one by one, in the order of each.",
    follows: &[
        "VIO-MSIX-001",
        "VIO-MSIX-002",
        "VIO-MSIX-003",
        "VIO-MSIX-005",
    ],
    watch: Watch::with::<Compare>(),
    ..Rule::BASE
}];

/// Lines and accesses about one event, each in its own order.
#[derive(Default)]
struct Account {
    /// Lines about writes: when, the value, the value read back.
    said_written: Vec<(u64, u16, Option<u16>)>,
    /// Writes, with the value that the driver then read.
    written: Vec<(u64, u16, Option<u16>)>,
    /// Lines about the vector in use.
    said_used: Vec<(u64, u16)>,
    /// What the device held at DRIVER_OK, where the driver had written the register.
    held: Vec<(u64, u16)>,
}

#[derive(Default)]
struct Compare {
    accounts: BTreeMap<Object, Account>,
}

impl Machine for Compare {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let Some(said) = now.said() {
            self.hear(now.seq, said);
        }
        if let Some((object, vector)) = now.maps() {
            let account = self.accounts.entry(object).or_default();
            account.written.push((now.seq, vector, None));
        } else if let Some((object, got)) = now.reads_vector() {
            if let Some((_, _, read)) = self
                .accounts
                .get_mut(&object)
                .and_then(|a| a.written.last_mut())
            {
                read.get_or_insert(got);
            }
        } else if now.sets(Status::DRIVER_OK) && now.s.mode() == Mode::Msix {
            for object in now.s.events() {
                let wrote = now
                    .s
                    .epoch
                    .mapping(object)
                    .is_some_and(|m| m.wrote.is_some());
                if wrote {
                    let account = self.accounts.entry(object).or_default();
                    account.held.push((now.seq, now.s.vector(object)));
                }
            }
        }
        if matches!(now.at, At::End) {
            for (object, account) in &self.accounts {
                account.written(*object, say);
                account.used(*object, say);
            }
        }
    }
}

impl Compare {
    fn hear(&mut self, seq: u64, said: &Said) {
        if let Said::Selftest(test) = said {
            let uses = [
                (Object::Config, test.config_vector),
                (Object::Queue(0), test.queue_vector),
            ];
            for (object, vector) in uses {
                let said_used = |vector| (seq, vector);
                let account = self.accounts.entry(object).or_default();
                account.said_used.extend(vector.map(said_used));
            }
            return;
        }
        let (object, line) = match said {
            Said::ConfigWritten { wrote, read } => (Object::Config, Some((*wrote, *read))),
            Said::QueueWritten { queue, wrote, read } => {
                (Object::Queue(*queue), Some((*wrote, *read)))
            }
            Said::ConfigUses { .. } => (Object::Config, None),
            Said::QueueUses { queue, .. } => (Object::Queue(*queue), None),
            _ => return,
        };
        let account = self.accounts.entry(object).or_default();
        match (line, said) {
            (Some((wrote, read)), _) => account.said_written.push((seq, wrote, read)),
            (None, Said::ConfigUses { vector } | Said::QueueUses { vector, .. }) => {
                account.said_used.push((seq, *vector));
            }
            _ => {}
        }
    }
}

fn vector(v: u16) -> String {
    match v {
        NO_VECTOR => "no vector (0xffff)".to_owned(),
        v => format!("vector {v}"),
    }
}

fn name(object: Object) -> String {
    match object {
        Object::Queue(q) => format!("queue {q}"),
        _ => "config".to_owned(),
    }
}

impl Account {
    fn written(&self, object: Object, say: &mut Say<'_>) {
        for ((line, wrote, read), (access, value, got)) in
            self.said_written.iter().zip(&self.written)
        {
            if wrote != value {
                say.broken(
                    object,
                    &[*line, *access],
                    format!(
                        "the driver says it wrote {} for {}, and the device saw {}",
                        vector(*wrote),
                        name(object),
                        vector(*value)
                    ),
                );
            } else if let (Some(read), Some(got)) = (read, got)
                && read != got
            {
                say.broken(
                    object,
                    &[*line, *access],
                    format!(
                        "the driver says it read back {} for {}, and the device gave {}",
                        vector(*read),
                        name(object),
                        vector(*got)
                    ),
                );
            } else {
                say.held(object);
            }
        }
    }

    fn used(&self, object: Object, say: &mut Say<'_>) {
        let paired = self.said_used.len() == self.held.len();
        for (n, (line, says)) in self.said_used.iter().enumerate() {
            let holds = match self.held.get(n).filter(|_| paired) {
                Some(held) => Some(held),
                // Not each start has its line, or not each line its start: any start will do.
                None => self
                    .held
                    .iter()
                    .find(|(_, v)| v == says)
                    .or(self.held.last()),
            };
            match holds {
                Some((_, held)) if held == says => say.held(object),
                Some((live, held)) => say.broken(
                    object,
                    &[*line, *live],
                    format!(
                        "the driver says that {} uses {}; the device holds {}",
                        name(object),
                        vector(*says),
                        vector(*held)
                    ),
                ),
                None => {}
            }
        }
    }
}
