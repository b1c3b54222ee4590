//! The same kernel in the place of a Windows: it speaks to a kernel debugger on COM1 and answers
//! QEMU's guest agent on COM2, so that what the harness does with a Windows can be tried without one.
//! What it says there is canned. **It is not Windows**, and nothing that is tried with it has been
//! tried with Windows.
//!
//! Its lines for the harness do not leave it: the agent's programs answer with them, as those of a
//! Windows would.

mod acpi;
mod agent;
mod json;
mod kd;
mod memory;
mod prompt;
mod serial;

use crate::hal::{Local, console, cpu, time};
use acpi::Acpi;
use agent::Agent;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use kd::Target;
use memory::Given;
use prompt::Prompt;
use serial::Serial;

const COM1: u16 = 0x3f8;
const COM2: u16 = 0x2f8;
/// The command line of a stand-in: `standin key=value… -- parameters of the kernel`.
const WORD: &str = "standin ";
const END: &str = " -- ";
/// Where the driver says that it is.
const DRIVER: u64 = 0xffff_f805_5000_0000;
const DRIVER_BYTES: u32 = 0x2_0000;
/// The port of the pvpanic device, and what is written to it.
const PANIC_PORT: u16 = 0x505;
const PANICKED: u8 = 1;
const CRASH_LOADED: u8 = 2;
/// The reset port of the chipset.
const RESET_PORT: u16 = 0xcf9;
const RESET: u8 = 0x06;
/// The register by which a system sleeps, and what puts this machine to sleep in memory.
const PM1_CONTROL: u16 = 0x604;
const SLEEP: u16 = 0x2400;

/// What it is to do, as the host says it.
#[derive(Default)]
pub struct Canned(Vec<(String, String)>);

impl Canned {
    fn parse(text: &str) -> Self {
        let pairs = text
            .split_ascii_whitespace()
            .filter_map(|w| w.split_once('='));
        Self(pairs.map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    fn get(&self, key: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(k, _)| k == key)?;
        Some(&pair.1)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Nothing,
    Crash,
    Hang,
    Sleep,
    Reboot,
}

/// What happens to a slot, as the agent's program says it: the kernel does not look by itself then, and
/// leaves the slot's power to whoever told.
#[derive(Clone, Copy, PartialEq)]
pub enum Slot {
    /// Nothing.
    Quiet,
    /// Its device is to be let go, or is not there any more.
    Out,
    /// There is one again.
    In,
    /// The same where nothing of it is in the slot's status, as with ACPI.
    Came,
}

/// Slots that the agent can tell of.
const MOST_SLOTS: usize = 16;

/// `None` while the kernel is itself.
static TARGET: Local<Option<Target>> = Local::new(None);
static AGENT: Local<Option<Agent>> = Local::new(None);
/// What QEMU was given to write the memory of a crash down with.
static MEMORY: Local<Option<Given>> = Local::new(None);
/// Where its devices come and go as ACPI has it.
static ACPI: Local<Option<Acpi>> = Local::new(None);
static CANNED: Local<Canned> = Local::new(Canned(Vec::new()));
static ASKED: Local<Asked> = Local::new(Asked::Nothing);
/// What the agent was told of slots, by device, and was not looked at yet.
static SLOTS: Local<[Slot; MOST_SLOTS]> = Local::new([Slot::Quiet; MOST_SLOTS]);

/// Takes its part of a command line; what is left is the kernel's.
pub fn parameters(line: &str) -> (&str, Option<&str>) {
    match line.strip_prefix(WORD) {
        Some(rest) => match rest.split_once(END) {
            Some((canned, params)) => (params, Some(canned)),
            None => ("", Some(rest)),
        },
        None => (line, None),
    }
}

/// From here on the kernel is a stand-in.
pub fn install(canned: &str) {
    time::install();
    let canned = Canned::parse(canned);
    if canned.get("boot") == Some("silent") {
        cpu::halt()
    }
    let mut target = Target::new(Serial::install(COM1));
    if let Some(lines) = canned.get("chatter").and_then(|n| n.parse().ok()) {
        target.chatter(lines, canned.get("waits").is_some());
        cpu::halt()
    }
    target.boot();
    TARGET.with(|place| *place = Some(target));
    let mut agent = Agent::new(Serial::install(COM2));
    agent.begins_as(match canned.get("agent") {
        Some("prompt") => Some(Prompt::new(false)),
        Some("console") => Some(Prompt::new(true)),
        _ => None,
    });
    if canned.get("agent") != Some("silent") {
        AGENT.with(|place| *place = Some(agent));
    }
    if canned.get("dump") == Some("windows") {
        MEMORY.with(|memory| *memory = Given::new());
    }
    if canned.get("hotplug") == Some("acpi") {
        ACPI.with(|acpi| *acpi = Some(Acpi::default()));
    }
    let crashes = canned.get("boot") == Some("crash");
    CANNED.with(|place| *place = canned);
    console::redirect(print);
    if crashes {
        crash(0x7b, [DRIVER, 0xc000_0034, 0, 1]);
    }
}

/// Does what the host has asked for. Nothing, when the kernel is itself.
pub fn turn() {
    TARGET.with(|target| {
        if let Some(target) = target {
            target.poll();
        }
    });
    AGENT.with(|agent| {
        if let Some(agent) = agent {
            CANNED.with(|canned| agent.turn(canned));
        }
    });
    match ASKED.with(|asked| core::mem::replace(asked, Asked::Nothing)) {
        Asked::Nothing => {}
        Asked::Crash => crash(0xd1, [0x28, 2, 0, DRIVER + 0x1a4]),
        Asked::Hang => hang(),
        Asked::Sleep => sleep(),
        Asked::Reboot => reboot(),
    }
}

/// The driver's line about the vector of a queue, in words that nobody knows: `dut: q1 asked for 2, has
/// 0x2`. One that lies has another than it has.
fn in_own_words(line: &str, lies: bool) -> Option<String> {
    let words = line.trim_end().strip_prefix("VIRTIO: queue ")?;
    let (queue, words) = words.split_once(" vector written ")?;
    let (wrote, read) = words.split_once(" read back ")?;
    let read: u32 = read.parse().ok()?;
    let read = read + u32::from(lies);
    Some(alloc::format!(
        "dut: q{queue} asked for {wrote}, has {read:#x}\n"
    ))
}

/// What is printed: a line for the harness is for the agent, all else is for the debugger.
fn print(bytes: &[u8]) {
    let line = core::str::from_utf8(bytes).unwrap_or_default();
    let Some(line) = line.strip_prefix("MISFIRE: ") else {
        let own = CANNED.with(|canned| match canned.get("log") {
            Some("own") => in_own_words(line, false),
            Some("lies") => in_own_words(line, true),
            _ => None,
        });
        return TARGET.with(|target| {
            if let Some(target) = target {
                target.print(own.as_ref().map_or(bytes, String::as_bytes));
            }
        });
    };
    let line = line.trim_end();
    if is_found(line) {
        TARGET.with(|target| {
            if let Some(target) = target {
                let path = "\\SystemRoot\\System32\\drivers\\standin.sys";
                target.load(path, DRIVER, DRIVER_BYTES);
            }
        });
    }
    AGENT.with(|agent| {
        if let Some(agent) = agent {
            agent.hear(line);
        }
    });
}

/// `dev 0 01:00.0 1af4:1042 block`: a device for which there is a driver.
fn is_found(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let place = words.nth(2).unwrap_or_default();
    line.starts_with("dev ") && place.contains(':') && !line.ends_with("unknown")
}

/// A command for the console, as if it had been typed.
fn give(line: &str) {
    console::give(line);
}

/// The agent was told what happens to a slot.
fn slot_of(dev: usize, happens: Slot) {
    SLOTS.with(|slots| {
        if let Some(slot) = slots.get_mut(dev) {
            *slot = happens;
        }
    });
}

/// What the agent, or ACPI, tells of the slot of a device, once. `is_new`: whether it is there and was not found yet.
pub fn take_slot(dev: usize, is_new: impl FnOnce() -> bool) -> Slot {
    let quiet = |slots: &mut [Slot; MOST_SLOTS]| {
        let slot = slots.get_mut(dev)?;
        Some(core::mem::replace(slot, Slot::Quiet))
    };
    let told = SLOTS.with(quiet).unwrap_or(Slot::Quiet);
    ACPI.with(|acpi| {
        let Some(acpi) = acpi else {
            return told;
        };
        if told == Slot::Quiet && acpi.is_asked(dev) {
            Slot::Out
        } else if is_new() && (acpi.takes_what_came(dev) || told == Slot::In) {
            Slot::Came
        } else {
            told
        }
    })
}

/// A device is let go: ACPI is told, if it is what asked for that.
pub fn let_go(dev: usize) {
    ACPI.with(|acpi| {
        if let Some(acpi) = acpi {
            acpi.let_go(dev);
        }
    });
}

fn ask_for_crash() {
    ASKED.with(|asked| *asked = Asked::Crash);
}

fn ask_for_hang() {
    ASKED.with(|asked| *asked = Asked::Hang);
}

fn ask_for_sleep() {
    ASKED.with(|asked| *asked = Asked::Sleep);
}

fn ask_for_reboot() {
    ASKED.with(|asked| *asked = Asked::Reboot);
}

/// The processor takes no interrupt any more and looks at nothing.
fn hang() -> ! {
    cpu::disable_interrupts();
    loop {
        core::hint::spin_loop();
    }
}

/// As the tables of a machine like this one have it: to memory.
fn sleep() {
    cpu::out16(PM1_CONTROL, SLEEP);
}

fn reboot() -> ! {
    TARGET.with(|target| {
        if let Some(target) = target {
            target.reboots();
        }
    });
    reset()
}

/// Resets the machine.
fn reset() -> ! {
    cpu::out8(RESET_PORT, RESET);
    cpu::halt()
}

/// Crashes as a Windows does under a debugger. Returns when the kernel is itself.
pub fn crash(code: u32, parameters: [u64; 4]) {
    let panic = CANNED.with(|canned| canned.get("panic").map(str::to_string));
    let panic = panic.as_deref().unwrap_or_default();
    // Not told to the debugger, as when nothing comes over its line any more.
    let is_alone = panic.starts_with("alone");
    MEMORY.with(|memory| {
        if let Some(given) = memory {
            given.stops(code, parameters);
        }
    });
    let is_one = TARGET.with(|target| {
        if let Some(target) = target.as_mut().filter(|_| !is_alone) {
            target.crash(code, parameters);
        }
        target.is_some()
    });
    if !is_one {
        return;
    }
    match panic {
        "loaded" | "alone-loaded" => cpu::out8(PANIC_PORT, CRASH_LOADED),
        "none" => {}
        _ => cpu::out8(PANIC_PORT, PANICKED),
    }
    match is_alone {
        true => reset(),
        false => reboot(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_has_a_part_for_the_stand_in_and_one_for_the_kernel() {
        let line = "standin pnputil=259 load=crash -- grant=one";
        assert_eq!(
            parameters(line),
            ("grant=one", Some("pnputil=259 load=crash"))
        );
        assert_eq!(parameters("grant=one"), ("grant=one", None));
        let canned = Canned::parse("pnputil=259 load=crash");
        assert_eq!(canned.get("pnputil"), Some("259"));
        assert_eq!(canned.get("node"), None);
    }

    #[test]
    fn a_driver_says_of_a_vector_what_is_so_or_not_in_words_of_its_own() {
        let line = "VIRTIO: queue 1 vector written 2 read back 2\n";
        let said = |lies| in_own_words(line, lies);
        assert_eq!(
            said(false).as_deref(),
            Some("dut: q1 asked for 2, has 0x2\n")
        );
        assert_eq!(
            said(true).as_deref(),
            Some("dut: q1 asked for 2, has 0x3\n")
        );
        assert_eq!(in_own_words("VIRTIO: status 0xf\n", true), None);
    }

    #[test]
    fn a_driver_is_loaded_for_a_device_that_it_knows() {
        assert!(is_found("dev 0 01:00.0 1af4:1042 block"));
        assert!(!is_found("dev 0 01:00.0 1af4:1099 unknown"));
        assert!(!is_found(
            "dev 0 started mode=msix granted=3 used=3 queues=2"
        ));
    }
}
