//! What a UEFI firmware is given to run: an application that uses our device through the firmware's protocols
//! alone, so that each request is the firmware's driver's.
//!
//! It prints on the debug port, and takes commands, a line each, from a serial port that the firmware does not know.
#![no_std]
#![no_main]
#![warn(missing_docs)]

mod disk;
mod efi;
#[path = "../shared/memory.rs"]
mod memory;
mod net;
mod port;
#[path = "../shared/text.rs"]
#[allow(dead_code, reason = "another guest uses what this one does not")]
mod text;

use efi::{Boot, Handle, SystemTable};
use text::{Text, Words, number};

/// The most devices.
const DEVICES: usize = 1;
/// The slot on bus 0 of the device under test, as the harness places it.
const SLOT: usize = 0x10;
/// Bytes of a request when nothing is said.
const SIZE: u64 = 4096;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    port::say(&text!["error the program in the guest is wrong"]);
    port::leave()
}

#[unsafe(no_mangle)]
extern "efiapi" fn efi_main(_image: Handle, system: *const SystemTable) -> usize {
    port::hush();
    // SAFETY: the firmware passes its table, which stays.
    let boot = unsafe { Boot::of(system) };
    boot.stay();
    port::say(&text!["guest firmware 1"]);
    let mut guest = Guest {
        boot,
        net: None,
        buffers: boot.pages(2 * disk::MOST).unwrap_or_default(),
    };
    let mut buffer = [0; 256];
    loop {
        let line = port::line(&mut buffer);
        guest.obey(line);
    }
}

/// What is known of the device.
struct Guest {
    boot: Boot,
    net: Option<net::Net>,
    /// What requests write and read.
    buffers: &'static mut [u8],
}

impl Guest {
    fn obey(&mut self, line: &[u8]) {
        let mut words = Words(line);
        match words.next() {
            b"" => {}
            b"look" => {
                self.look();
                port::say(&text!["ready"]);
            }
            b"load" => self.load(words),
            verb @ (b"idle" | b"state") => port::say(&text!["done ok ", verb]),
            b"exit" => {
                port::say(&text!["exit"]);
                port::leave();
            }
            verb => port::say(&text!["done failed ", verb, " reason=unknown"]),
        }
    }

    /// Has the firmware's drivers look at the device, and says what came of it.
    fn look(&mut self) {
        let Some(device) = self.boot.function(SLOT) else {
            port::say(&text!["dev 0 failed status=0x0 no-function"]);
            return;
        };
        let is_net = self.boot.is_network(device);
        self.boot.connect(device, !is_net);
        let queues = match () {
            () if is_net => {
                self.net = net::Net::open(&self.boot);
                self.net.as_ref().map(|_| 2)
            }
            () if self.boot.random().is_some() => Some(1_u64),
            () => disk::Disk::find(&self.boot).map(|_| 1),
        };
        match queues {
            Some(queues) => port::say(&text![
                "dev 0 started mode=polled granted=0 used=0 queues=",
                queues
            ]),
            None => port::say(&text!["dev 0 failed status=0x0 no-driver"]),
        }
    }

    fn load(&mut self, mut words: Words<'_>) {
        let op = words.next();
        let rest = words.0;
        let value = |key: &[u8], default: u64| value(rest, key).map_or(default, number);
        let (count_key, ok) = match op {
            b"entropy" => {
                let (bytes, size) = (value(b"bytes", 64), value(b"size", 64));
                ("bytes", self.boot.entropy(bytes, size))
            }
            b"frames" => {
                let (frames, size) = (value(b"frames", 1), value(b"size", 64));
                let net = self.net.as_ref();
                ("frames", net.is_some_and(|net| net.frames(frames, size)))
            }
            _ => {
                let load = disk::Load {
                    count: value(b"blocks", 1),
                    first: value(b"lba", 0),
                    size: value(b"size", SIZE),
                };
                let disk = disk::Disk::find(&self.boot);
                ("blocks", disk.is_some_and(|disk| disk.load(op, &load, self.buffers)))
            }
        };
        let count = value(count_key.as_bytes(), 1);
        done(
            ok,
            "load",
            "io",
            &text![" op=", op, " dev=0 ", count_key, "=", count],
        );
    }
}

/// `done ok VERB …`, or `done failed VERB reason=…`.
fn done(ok: bool, verb: &str, reason: &str, rest: &Text) {
    let rest = rest.bytes();
    if ok {
        port::say(&text!["done ok ", verb, rest]);
    } else {
        port::say(&text!["done failed ", verb, " reason=", reason, rest]);
    }
}

/// The value of `KEY=VALUE` among words.
fn value<'a>(words: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut each = words.split(|byte| *byte == b' ');
    each.find_map(|word| word.strip_prefix(key)?.strip_prefix(b"="))
}
