//! Running the rules over a trace.

use std::borrow::Cow;
use std::collections::BTreeMap;

use misfire_device::shape::{Attach, Interface};
use misfire_device::spec::{Field, PciHeader};
use misfire_device::trace::{Event, Input, What};
use serde::Serialize;

use super::machine::{At, Machine, Now, Say, Tally, Watch};
use super::registry::{Level, Rule, Sight, Way, rules};
use super::state::State;
use crate::log::{MachineLine, Said, Speech};

/// The phase of the mark that names the firmware.
pub const FIRMWARE: &str = "firmware";
/// The phase of the mark that names the guest, where it is not one of ours.
pub const GUEST: &str = "guest";
/// The phase of the mark before the guest is told to end.
pub const LEAVE: &str = "leave";
/// No firmware, so none that drives a device.
pub const IDLE_FIRMWARE: &str = "none";

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was put to the test and kept.
    Held,
    /// It was broken.
    Broken,
    /// Nothing in the trace put it to the test.
    Unseen,
    /// It is not about this device, or the device itself broke the specification first.
    NotApplicable,
    /// What would decide it is not in the trace.
    Inconclusive,
}

/// How bad a breach is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// The specification advises against it, or it does no harm with this device.
    Warn,
    /// The driver is wrong.
    Fail,
}

/// What a trace says about one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The rule.
    pub id: &'static str,
    /// How binding it is.
    pub level: Level,
    /// What became of it.
    pub outcome: Outcome,
    /// How bad the breach is; none unless it was broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The events that prove it, by sequence number.
    pub evidence: Vec<u64>,
    /// In words.
    pub text: Cow<'static, str>,
}

impl Judgement {
    /// Whether the driver is wrong by this rule.
    pub fn fails(&self) -> bool {
        self.severity == Some(Severity::Fail)
    }
}

/// What the trace itself does not tell.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The first event of the driver under test. `None`: it is told from the trace. What firmware did
    /// to a device before the guest began to speak is not judged.
    pub from: Option<u64>,
}

/// Judges a trace by every rule, in the order of the registry.
pub fn judge(events: &[Event], context: &Context) -> Vec<Judgement> {
    let speech = Speech::of(events);
    let mut devices: BTreeMap<u8, Vec<Tally>> = BTreeMap::new();
    for event in events {
        if let What::Hello(hello) = &event.what {
            devices
                .entry(hello.dev)
                .or_insert_with(|| judge_device(hello.dev, events, &speech, context));
        }
    }
    let other = other_system(events);
    rules()
        .enumerate()
        .map(|(index, rule)| {
            if let Some(system) = other
                && rule.id.starts_with("WIN-")
            {
                return Judgement {
                    id: rule.id,
                    level: rule.level,
                    outcome: Outcome::NotApplicable,
                    severity: None,
                    evidence: Vec::new(),
                    text: format!("it is about Windows, and the guest is a {system}").into(),
                };
            }
            let each = devices
                .iter()
                .map(|(dev, tallies)| (*dev, settle(rule, &tallies[index])));
            merge(rule, each.collect())
        })
        .collect()
}

/// What the guest is, if it is no Windows and no model of one.
fn other_system(events: &[Event]) -> Option<&'static str> {
    let named = |name: &str| match name {
        "linux" => Some("Linux"),
        "firmware" => Some("firmware"),
        _ => None,
    };
    events.iter().find_map(|event| match &event.what {
        What::Mark {
            step: None,
            phase,
            text,
        } if phase == GUEST => named(text),
        What::Log { line } => match MachineLine::parse(line) {
            Some(MachineLine::Guest { name, .. }) => named(&name),
            _ => None,
        },
        _ => None,
    })
}

/// Every rule's tally for one device.
fn judge_device(dev: u8, events: &[Event], speech: &Speech, context: &Context) -> Vec<Tally> {
    let from = context.from.unwrap_or_else(|| tenure(dev, events));
    let ends = machine_ends(dev, events);
    let mut machines: Vec<Armed> = Vec::new();
    let mut state: Option<State> = None;
    for event in events {
        if let What::Hello(hello) = &event.what {
            if hello.dev == dev && state.is_none() {
                machines = rules().map(|rule| armed(rule, &hello.shape)).collect();
                state = Some(State::new(hello));
            }
            continue;
        }
        let Some(state) = &mut state else { continue };
        if event.seq == from {
            state.begin_tenure();
        }
        if Some(event.seq) == ends {
            continue;
        }
        if let Some(at) = about(dev, event, speech) {
            if event.seq >= from || matches!(at, At::Fault(_)) {
                show(
                    &Now {
                        seq: event.seq,
                        at,
                        s: state,
                    },
                    &mut machines,
                );
            }
            state.apply(event.seq, at);
        }
    }
    if let Some(state) = &state {
        let seq = events.last().map_or(0, |e| e.seq);
        show(
            &Now {
                seq,
                at: At::End,
                s: state,
            },
            &mut machines,
        );
    }
    machines.into_iter().map(|(_, _, tally)| tally).collect()
}

/// The reset of the function by a machine that goes away, if there is one: nobody accesses the device
/// afterwards. It is not the driver's doing, and hides how the driver left the device.
fn machine_ends(dev: u8, events: &[Event]) -> Option<u64> {
    events
        .iter()
        .rev()
        .filter_map(|e| match &e.what {
            What::Step(step) if step.dev == dev => Some((e.seq, &step.input)),
            _ => None,
        })
        .take_while(|(_, input)| !matches!(input, Input::Access(_)))
        .find(|(_, input)| **input == Input::FunctionReset)
        .map(|(seq, _)| seq)
}

type Armed = (&'static Rule, Option<Box<dyn Machine>>, Tally);

/// A rule's machine for a device of this shape; none if it can't be judged there.
fn armed(rule: &'static Rule, shape: &misfire_device::shape::Shape) -> Armed {
    let mut tally = Tally::default();
    if let Some(why) = rule.unobservable {
        tally.not_applicable = Some(format!("it can't be observed: {why}"));
    } else if rule.virtio && !shape.kind.is_virtio() {
        tally.not_applicable = Some("a port-card is not a virtio device".into());
    } else if rule.way == Way::Legacy && shape.virtio == Interface::Modern {
        tally.not_applicable = Some("the device has no legacy interface".into());
    } else if rule.way == Way::Modern && shape.virtio == Interface::Legacy {
        tally.not_applicable = Some("the device has the legacy interface alone".into());
    } else if rule.sight == Sight::Registers && shape.attach == Attach::VhostUser {
        tally.inconclusive = Some((
            Vec::new(),
            "with attach = \"vhost-user\" no register access reaches us".into(),
        ));
    } else {
        let machine: Box<dyn Machine> = match rule.watch {
            Watch::Each(see) => Box::new(see),
            Watch::With(make) => make(),
        };
        return (rule, Some(machine), tally);
    }
    (rule, None, tally)
}

fn show(now: &Now<'_>, machines: &mut [Armed]) {
    let legacy = now.is_legacy();
    for (rule, machine, tally) in machines {
        let concerned = match rule.way {
            Way::Either => true,
            Way::Modern => !legacy,
            Way::Legacy => legacy,
        };
        if let Some(machine) = machine.as_mut().filter(|_| concerned) {
            machine.see(now, &mut Say { rule, now, tally });
        }
    }
}

/// The event as a machine of device `dev` sees it; `None` if it is another device's.
fn about<'a>(dev: u8, event: &'a Event, speech: &'a Speech) -> Option<At<'a>> {
    match &event.what {
        What::Step(step) if step.dev == dev => Some(At::Step(step)),
        What::Fault(fired) if fired.dev == dev => Some(At::Fault(fired)),
        What::Ring(sample) if sample.dev == dev => Some(At::Ring(sample)),
        What::Packed(sample) if sample.dev == dev => Some(At::Packed(sample)),
        What::Chain(chain) if chain.dev == dev => Some(At::Chain(chain)),
        What::Altered(altered) if altered.dev == dev => Some(At::Altered(altered)),
        What::Dirty(dirty) if dirty.dev == dev => Some(At::Dirty(dirty)),
        What::MsixTable { dev: of, entries } if *of == dev => Some(At::Table(entries)),
        What::Log { .. } => speech.said(event.seq, dev).map(At::Said),
        What::Mark { phase, text, .. } if tells(phase, text) => Some(At::Told),
        What::Mark { phase, .. } => Some(At::Mark(phase)),
        _ => None,
    }
}

/// Whether a mark says that somebody is told to do something.
fn tells(phase: &str, text: &str) -> bool {
    let commands = text.starts_with("guest ") || text.starts_with("host ");
    phase == LEAVE || phase == "begin" && commands
}

/// The first event of the driver under test for device `dev`: firmware may have driven the device
/// before the guest.
///
/// The console lags behind the registers, so the guest's greeting alone does not tell: the driver may
/// be at work when it is recorded. A guest looks for devices before it drives them, which is seen as
/// a read of the vendor id. If the device was driven before the last of these that precedes the
/// greeting, somebody else did it.
///
/// Where the harness says that the firmware drives no device, everything is the guest's.
pub fn tenure(dev: u8, events: &[Event]) -> u64 {
    let is_idle = |e: &Event| matches!(&e.what, What::Mark { step: None, phase, text } if phase == FIRMWARE && text == IDLE_FIRMWARE);
    if events.iter().any(is_idle) {
        return 0;
    }
    let greeting = events.iter().position(|e| {
        matches!(&e.what, What::Log { line }
            if matches!(Said::of(line), Some(Said::Machine(MachineLine::Guest { .. }))))
    });
    let Some(greeting) = greeting else { return 0 };
    events[..greeting]
        .iter()
        .rfind(|e| match &e.what {
            What::Step(step) if step.dev == dev => {
                step.read(Field::Pci(PciHeader::VendorId)).is_some()
            }
            _ => false,
        })
        .map_or(0, |e| e.seq)
}

/// What one device's tally comes to.
fn settle(rule: &Rule, tally: &Tally) -> Judgement {
    let judgement = |outcome, evidence: &[u64], text: Cow<'static, str>| Judgement {
        id: rule.id,
        level: rule.level,
        outcome,
        severity: None,
        evidence: evidence.to_vec(),
        text,
    };
    if let Some(worst) = tally.findings.iter().map(|f| f.severity).max() {
        let worst_first = || {
            let (bad, rest): (Vec<_>, Vec<_>) =
                tally.findings.iter().partition(|f| f.severity == worst);
            bad.into_iter().chain(rest)
        };
        let mut evidence: Vec<u64> = worst_first().flat_map(|f| f.evidence.clone()).collect();
        evidence.sort_unstable();
        evidence.dedup();
        let texts: Vec<_> = worst_first().map(|f| f.text.as_str()).collect();
        return Judgement {
            severity: Some(worst),
            ..judgement(Outcome::Broken, &evidence, texts.join("; ").into())
        };
    }
    if let Some((evidence, text)) = &tally.inconclusive {
        judgement(Outcome::Inconclusive, evidence, text.clone().into())
    } else if !tally.held.is_empty() {
        let text = tally
            .note
            .clone()
            .map_or("put to the test and kept".into(), Cow::from);
        judgement(Outcome::Held, &tally.held, text)
    } else if let Some((seq, text)) = &tally.spared {
        judgement(Outcome::NotApplicable, &[*seq], text.clone().into())
    } else if let Some(text) = &tally.not_applicable {
        judgement(Outcome::NotApplicable, &[], text.clone().into())
    } else {
        judgement(
            Outcome::Unseen,
            &[],
            "nothing in the trace put it to the test".into(),
        )
    }
}

/// Several devices' judgements in one: the worst wins, and its text names the device.
fn merge(rule: &Rule, mut each: Vec<(u8, Judgement)>) -> Judgement {
    let several = each.len() > 1;
    let weight = |j: &Judgement| match j.outcome {
        Outcome::Broken => 4 + j.severity.map_or(0, |s| s as u8),
        Outcome::Inconclusive => 3,
        Outcome::Held => 2,
        Outcome::Unseen => 1,
        Outcome::NotApplicable => 0,
    };
    let Some(worst) = each.iter().map(|(_, j)| weight(j)).max() else {
        return settle(rule, &Tally::default());
    };
    each.retain(|(_, j)| weight(j) == worst);
    let (first, mut merged) = each.remove(0);
    if several {
        merged.text = format!("device {first}: {}", merged.text).into();
    }
    for (dev, other) in each {
        merged.evidence.extend(other.evidence);
        merged.text = format!("{}; device {dev}: {}", merged.text, other.text).into();
    }
    merged
}
