//! The steady text of a run, which snapshots hold.
//!
//! The same scenario gives the same text every time. Each source keeps its own order: the driver's
//! log, and for each device the accesses that set it up. What may come in any order (notifications,
//! interrupts, reads of the ISR byte) is listed once, sorted, without a count. Times are left out;
//! addresses and interrupt vectors get stable names; repeats are folded.

mod names;
mod order;
mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use misfire_device::shape::Attach;
use misfire_device::spec::{Field, PciHeader, PortCard};
use misfire_device::trace::{
    Access, Effect, Event, Fired, Hello, Input, Op, Space, TableEntry, What,
};

use names::Names;
use order::Order;
pub use row::row;

/// The transcript of a run.
pub fn transcript(events: &[Event]) -> String {
    let mut names = Names::learn(events);
    let mut out = String::new();
    steps(&mut out, events);
    log(&mut out, events, &mut names);
    for event in events {
        if let What::Hello(hello) = &event.what {
            device(&mut out, hello, events, &mut names);
        }
    }
    out
}

fn steps(out: &mut String, events: &[Event]) {
    let marks: Vec<String> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Mark {
                step: Some(step),
                phase,
                text,
            } if phase != "begin" => Some(format!("{step} {text}: {phase}")),
            _ => None,
        })
        .collect();
    section(out, "steps", marks);
}

fn log(out: &mut String, events: &[Event], names: &mut Names) {
    let lines: Vec<&str> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Log { line } => Some(line.as_str()),
            _ => None,
        })
        .collect();
    let start = lines
        .iter()
        .position(|l| l.starts_with(GUEST_STARTS))
        .unwrap_or(0);
    section(
        out,
        "driver log",
        lines[start..]
            .iter()
            .filter(|line| !OF_THE_BUS.iter().any(|begin| line.starts_with(begin)))
            .map(|line| names.line(line))
            .collect(),
    );
}

/// How lines of a Linux kernel begin that are not about the driver, or have counts in them.
const OF_THE_BUS: &[&str] = &[
    "pci ",
    "pcieport ",
    "random: ",
    "interrupts: ",
    "clocksource: ",
    "hrtimer: ",
];

/// What a driver reads to learn why the line is up.
const STATUS_OF_LINE: [Field; 2] = [Field::Isr, Field::Port(PortCard::IntStatus)];

/// What a guest of ours prints first; the firmware's output comes before it.
const GUEST_STARTS: &str = "MISFIRE: guest";

const FUNCTION_RESET: &str = "function reset";

fn device(out: &mut String, hello: &Hello, events: &[Event], names: &mut Names) {
    let dev = hello.dev;
    let mut setup = Vec::new();
    let mut live = BTreeSet::new();
    let mut interrupts = BTreeSet::new();
    let mut faults = BTreeSet::new();
    let mut table = None;
    let mut order = Order::default();
    let seen = &events[driver_starts(events, dev)..];
    for event in seen {
        match &event.what {
            What::Step(step) if step.dev == dev => {
                order.see(step);
                interrupts.extend(step.shown.iter().filter_map(interrupt));
                match &step.input {
                    Input::Access(access) if left_out(access) => {}
                    // How long the line is seen up after the last event differs.
                    _ if step.meant.is_none()
                        && STATUS_OF_LINE.iter().any(|f| step.read(*f) == Some(0)) => {}
                    Input::Access(access) => {
                        let line = names.access(step, access, hello);
                        if in_any_order(access) {
                            live.insert(line);
                        } else {
                            setup.push(line);
                        }
                    }
                    Input::FunctionReset => setup.push(FUNCTION_RESET.into()),
                    Input::Kick { queue } if hello.shape.attach == Attach::VhostUser => {
                        live.insert(format!("kick q{queue}"));
                    }
                    _ => {}
                }
            }
            What::Fault(fired) if fired.dev == dev => {
                faults.insert(fault(fired));
            }
            What::MsixTable { dev: of, entries } if *of == dev => table = Some(entries),
            _ => {}
        }
    }
    // QEMU's own, as it goes.
    while setup.last().is_some_and(|line| line == FUNCTION_RESET) {
        setup.pop();
    }
    section(out, &format!("device {dev}: set up"), setup);
    section(
        out,
        &format!("device {dev}: in any order"),
        live.into_iter().collect(),
    );
    section(out, &format!("device {dev}: rings"), order.lines());
    section(
        out,
        &format!("device {dev}: interrupts"),
        interrupts.into_iter().collect(),
    );
    section(
        out,
        &format!("device {dev}: MSI-X table"),
        table.map_or_else(Vec::new, |t| table_lines(t)),
    );
    section(
        out,
        &format!("device {dev}: faults"),
        faults.into_iter().collect(),
    );
}

/// The longest group of lines whose repeats are folded.
const LONGEST_GROUP: usize = 8;

/// Leaves one of each run of equal lines, and of equal groups of lines: how often something is
/// polled, or a change is looked at, depends on the time.
fn fold(lines: &mut Vec<String>) {
    for length in 1..=LONGEST_GROUP {
        let mut at = 0;
        while at + 2 * length <= lines.len() {
            if lines[at..at + length] == lines[at + length..at + 2 * length] {
                lines.drain(at..at + length);
            } else {
                at += 1;
            }
        }
    }
}

/// Writes a section, repeats folded. A section without lines is left out.
fn section(out: &mut String, title: &str, mut lines: Vec<String>) {
    fold(&mut lines);
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "{}## {title}", if out.is_empty() { "" } else { "\n" });
    for line in lines {
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// Where the guest's part of a device's events begins: at the last reset of the function before
/// somebody accessed a base address register, or a guest of ours spoke. What comes before is QEMU's
/// own doing.
fn driver_starts(events: &[Event], dev: u8) -> usize {
    let steps = || {
        events
            .iter()
            .enumerate()
            .filter_map(|(n, event)| match &event.what {
                What::Step(step) if step.dev == dev => Some((n, &step.input)),
                _ => None,
            })
    };
    let greeting = events.iter().position(
        |event| matches!(&event.what, What::Log { line } if line.starts_with(GUEST_STARTS)),
    );
    let first = steps()
        .find(|(_, input)| matches!(input, Input::Access(a) if a.space != Space::Config))
        .map_or(events.len(), |(n, _)| n)
        .min(greeting.unwrap_or(events.len()));
    let reset = steps()
        .take_while(|(n, _)| *n < first)
        .filter(|(_, input)| matches!(input, Input::FunctionReset))
        .last();
    reset.map_or(0, |(n, _)| n + 1)
}

/// Configuration space belongs to firmware, guest and QEMU alike, and depends on their versions. What
/// decides how the function interrupts does not.
fn left_out(access: &Access) -> bool {
    access.space == Space::Config
        && (access.op == Op::Read
            || !matches!(
                access.field,
                Some(
                    Field::MsixControl
                        | Field::MsiControl
                        | Field::PowerControl
                        | Field::Window
                        | Field::VirtioCapability
                        | Field::Pci(PciHeader::Command)
                )
            ))
}

/// Accesses that interrupt handlers and threads make at the same time.
fn in_any_order(access: &Access) -> bool {
    match access.register() {
        Some(Field::Notify | Field::Isr | Field::PortEvents(_)) => true,
        Some(Field::Port(register)) => matches!(register, PortCard::IntStatus | PortCard::Doorbell),
        _ => false,
    }
}

fn interrupt(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Message(m) => Some(format!(
            "{} {} for {}",
            format!("{:?}", m.kind).to_lowercase(),
            m.entry,
            m.cause
        )),
        Effect::Unmapped { cause } => Some(format!("none for {cause}: it has no vector")),
        Effect::Pin(true) => Some("intx asserted".into()),
        _ => None,
    }
}

fn fault(fired: &Fired) -> String {
    format!(
        "{} ({}, {}) on {}",
        fired.id,
        fired.fault,
        format!("{:?}", fired.class).to_lowercase(),
        fired.object
    )
}

/// Which entries share a message, and how many messages there are.
fn table_lines(entries: &[TableEntry]) -> Vec<String> {
    let mut owners: BTreeMap<(u64, u32), Vec<usize>> = BTreeMap::new();
    let mut empty = 0;
    for (n, entry) in entries.iter().enumerate() {
        if entry.addr == 0 {
            empty += 1;
        } else {
            owners.entry((entry.addr, entry.data)).or_default().push(n);
        }
    }
    let mut groups: Vec<Vec<usize>> = owners.into_values().collect();
    groups.sort();
    let mut lines: Vec<String> = groups
        .iter()
        .enumerate()
        .map(|(message, group)| format!("message {message}: entry {}", ranges(group)))
        .collect();
    if empty > 0 {
        lines.push(format!("{empty} entries not programmed"));
    }
    lines
}

/// `0, 2-7` of 0, 2, 3, … 7.
fn ranges(numbers: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for n in numbers {
        match parts.last_mut() {
            Some((_, end)) if *end + 1 == *n => *end = *n,
            _ => parts.push((*n, *n)),
        }
    }
    let parts: Vec<String> = parts
        .iter()
        .map(|(a, b)| {
            if a == b {
                a.to_string()
            } else {
                format!("{a}-{b}")
            }
        })
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests;
