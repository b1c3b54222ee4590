//! What the host's commands mean in a Linux guest. The host puts this program into the guest before any scenario;
//! it reads commands from the console and answers with lines of the kernel's log, which can't be torn apart by what
//! the kernel says at the same time. What happens to slots comes through a pipe, to a process of its own.
//!
//! Each instruction that a guest executes for the first time is translated first, which takes longer than anything
//! else where instructions are emulated. So this is one small program that starts no other.
#![no_std]
#![no_main]
#![warn(missing_docs)]

mod bus;
mod console;
mod disk;
#[path = "../../shared/memory.rs"]
mod memory;
mod net;
mod sys;
#[path = "../../shared/text.rs"]
mod text;

use bus::Slot;
use sys::File;
use text::{Text, Words};

/// The most devices: what a digit can name.
const DEVICES: usize = 10;

/// What was known of each device's configuration at the last look. The process that sees to slots shares it.
type Shown = [Look; DEVICES];

/// What is known of a device's configuration.
#[derive(Clone, Copy)]
struct Look {
    /// What its driver shows.
    shows: Text,
    /// Interrupts that told of changes.
    told: u64,
}

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let shown: &mut Shown = sys::shared();
    bus::find_slot_control();
    (0..DEVICES).for_each(|dev| {
        Slot(dev).power(bus::ON);
        Slot(dev).enable();
    });
    // Both ends are held, so that it never ends and who writes never waits; and before the host is told that it may.
    let pipe = File::open(b"/run/slots\0", sys::READ_WRITE);
    // What happens to a slot does not wait for what is being done.
    let slots = sys::fork() == 0;
    let calls = if slots { pipe } else { console::lines() };
    let Some(calls) = calls else {
        say(&text!["error no way for calls"]);
        sys::exit(1);
    };
    if !slots {
        say(&text!["done ok commands"]);
    }
    let mut buffer = [0; 4096];
    loop {
        let length = calls.read(&mut buffer);
        let Ok(length @ 1..) = length else {
            sys::exit(1)
        };
        for line in buffer[..length].split(|byte| *byte == b'\n') {
            obey(line, shown);
        }
    }
}

/// Tells the host a line.
fn say(line: &Text) {
    log(&text!["<6>MISFIRE: ", line.bytes(), "\n"]);
}

/// A line for the kernel's log.
fn log(line: &Text) {
    if let Some(log) = File::open(b"/dev/kmsg\0", sys::WRITE) {
        let _ = log.write(line.bytes());
    }
}

/// `done ok VERB …`, or `done failed VERB reason=…`.
fn done(ok: bool, verb: &str, reason: &str, rest: &Text) {
    let rest = rest.bytes();
    if ok {
        say(&text!["done ok ", verb, rest]);
    } else {
        say(&text!["done failed ", verb, " reason=", reason, rest]);
    }
}

fn obey(line: &[u8], shown: &mut Shown) {
    let mut words = Words(line);
    let verb = words.next();
    let of_dev = |dev: usize, op: &str, what: &str, count: u64| {
        text![" op=", op, " dev=", dev as u64, " ", what, "=", count]
    };
    match verb {
        b"" => {}
        b"say" => say(&text![words.0]),
        b"start" => {
            let (dev, queues) = (words.device(), words.number());
            start(dev, queues, shown);
        }
        b"disk" => {
            let kind = disk::Kind::of(words.next());
            let dev = words.device();
            let load = disk::Load {
                blocks: words.number(),
                size: words.number() as usize,
                first: words.number(),
                depth: words.number(),
                queue: words.0.first().map(|_| words.number()),
            };
            let ok = Slot(dev)
                .virtio()
                .is_some_and(|virtio| disk::load(&virtio, kind, &load));
            done(
                ok,
                "load",
                "io",
                &of_dev(dev, kind.name(), "blocks", load.blocks),
            );
        }
        b"entropy" => {
            let (dev, bytes, size) = (words.device(), words.number(), words.number() as usize);
            done(
                disk::entropy(bytes, size),
                "load",
                "io",
                &of_dev(dev, "entropy", "bytes", bytes),
            );
        }
        b"frames" => {
            let (dev, frames, size) = (words.device(), words.number(), words.number() as usize);
            let processor = words.0.first().map(|_| words.number());
            let net = net::Net::of(dev);
            let ok = net.is_some_and(|net| net.frames(frames, size, processor));
            shown[dev].shows = config(dev);
            done(ok, "load", "io", &of_dev(dev, "frames", "frames", frames));
        }
        b"control" => {
            let (dev, commands) = (words.device(), words.number());
            let net = net::Net::of(dev);
            let ok = net.is_some_and(|net| net.control(commands));
            shown[dev].shows = config(dev);
            done(
                ok,
                "load",
                "io",
                &of_dev(dev, "control", "commands", commands),
            );
        }
        b"echo" => {
            let (dev, lines, size) = (words.device(), words.number(), words.number() as usize);
            let ok = console::echo(lines, size);
            done(ok, "load", "io", &of_dev(dev, "echo", "lines", lines));
        }
        b"device" => {
            let (what, dev, queues) = (words.next(), words.device(), words.number());
            let slot = Slot(dev);
            let ok = match what {
                b"stop" => slot.unbind(),
                b"start" => slot.bind() && start(dev, queues, shown),
                b"restart" => slot.unbind() && slot.bind() && start(dev, queues, shown),
                _ => false,
            };
            done(
                ok,
                "device",
                "refused",
                &text![" op=", what, " dev=", dev as u64],
            );
        }
        b"wait-config" => {
            let dev = words.device();
            if Slot(dev).found(0).is_none() {
                return say(&text!["done failed wait-config reason=no-device"]);
            }
            let before = shown[dev];
            // A driver that was told looks a moment later. What else an interrupt can tell, such as that a disk comes
            // or goes, takes longer.
            let (_, own) = Slot(dev).changes();
            let host = |virtio: Text| bus::first(&virtio, "host").is_some();
            let scsi = Slot(dev).virtio().is_some_and(host);
            let mut moment = if scsi && !own { 100 } else { 5 };
            let now = loop {
                let now = Look {
                    shows: config(dev),
                    told: Slot(dev).changes().0,
                };
                let differs = now.shows.bytes() != before.shows.bytes();
                if differs && !now.shows.bytes().is_empty() || moment == 0 {
                    break now;
                }
                moment -= i32::from(now.told > before.told);
                // Of interrupts, which are counted here, nothing in /proc or /sys tells.
                sys::sleep(1_000);
            };
            let shows = now.shows.bytes();
            say(&text![
                "done ok wait-config dev=",
                dev as u64,
                " shows=",
                shows
            ]);
            shown[dev] = now;
        }
        b"settle" => settle(),
        b"idle" => {
            sys::sleep(words.number());
            say(&text!["done ok idle"]);
        }
        b"let-go" => {
            let slot = Slot(words.device());
            let kept = words.next() == b"kept";
            if let Some(surprise) = slot.let_go(if kept { bus::KEPT } else { bus::OFF }) {
                let how = if surprise { "surprise" } else { "orderly" };
                say(&text!["dev ", slot.0 as u64, " removed ", how]);
            }
        }
        b"put-in" => {
            let (dev, queues) = (words.device(), words.number());
            Slot(dev).power(bus::ON);
            start(dev, queues, shown);
        }
        b"leave" => {
            for dev in 0..(words.number() as usize).min(DEVICES) {
                Slot(dev).count_interrupts();
                Slot(dev).unbind();
            }
            say(&text!["done ok exit"]);
            // The host ends the machine.
            say(&text!["exit"]);
        }
        _ => say(&text!["done failed ", verb, " reason=unknown"]),
    }
}

/// How much memory is left alone, in KiB.
const SPARED: u64 = 6 << 10;
/// How long what was begun has to end, in microseconds: processes that are gone, timers, what waits for all processors.
const CALM: u64 = 2_000_000;

/// Leaves nothing in memory that need not be kept, and nothing to do.
fn settle() {
    for file in [&b"/run/hand\0"[..], b"/run/commands.sh\0"] {
        sys::unlink(file);
    }
    sys::put(b"/proc/sys/vm/drop_caches\0", b"3");
    sys::touch((sys::free_memory() << 10).saturating_sub(SPARED << 10) as usize);
    sys::put(b"/proc/sys/vm/drop_caches\0", b"3");
    // What the kernel has left to do has no end that it tells of.
    sys::sleep(CALM);
    say(&text!["done ok settle"]);
}

/// Looks into the slot of a device, and says what a driver did of what is there.
fn start(dev: usize, queues: u64, shown: &mut Shown) -> bool {
    let slot = Slot(dev);
    if slot.function().is_none() {
        slot.look();
    }
    let (Some(function), Some(found)) = (slot.function(), slot.found(queues)) else {
        let taken = slot
            .function()
            .is_some_and(|f| sys::exists(text![f.bytes(), "/driver"].path()));
        let why = if taken {
            "0x2 probe-failed"
        } else {
            "0x1 no-driver"
        };
        say(&text!["dev ", dev as u64, " failed status=", why]);
        return false;
    };
    if let Some(net) = net::Net::of(dev) {
        net.up();
    }
    // The disks of a SCSI host are looked for when it has started.
    if let Some(host) = slot
        .virtio()
        .filter(|virtio| bus::first(virtio, "host").is_some())
    {
        let _ = disk::of(&host, 500);
    }
    shown[dev] = Look {
        shows: config(dev),
        told: 0,
    };
    let name = text::last_part(function.bytes());
    let ids = [found.vendor.bytes(), found.device.bytes()];
    let driver = found.driver.bytes();
    say(&text![
        "dev ", dev as u64, " ", name, " ", ids[0], ":", ids[1], " ", driver
    ]);
    say(&text![
        "dev ",
        dev as u64,
        " started mode=",
        found.mode,
        " granted=",
        found.granted,
        " used=",
        found.used,
        " queues=",
        found.queues
    ]);
    true
}

/// What the driver shows of a device's configuration.
fn config(dev: usize) -> Text {
    let Some(virtio) = Slot(dev).virtio() else {
        return Text::new();
    };
    if let Some(disk) = disk::of(&virtio, 1) {
        return text![disk.sectors];
    }
    if bus::first(&virtio, "host").is_some() {
        return text!["no disk"];
    }
    match net::Net::at(&virtio, dev) {
        Some(net) => net.shows(),
        None => console::size(Slot(dev).has_feature(console::SIZE)),
    }
}
