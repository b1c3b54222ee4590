//! Consoles: those of devices, and the one that the host's commands come from.

use super::sys::{self, File};
use super::text;
use super::text::Text;

const LONGEST: usize = 256;
const GET_ATTRIBUTES: usize = 0x5401;
const SET_ATTRIBUTES: usize = 0x5402;
const GET_SIZE: usize = 0x5413;
/// A read gets a whole line.
const LINES: u32 = 0o2;
/// How long a line may take to come back, in milliseconds.
const LIMIT: usize = 3_000;

/// The console that there is: of those that a driver had for a while others are left.
fn open() -> Option<File> {
    let how = sys::READ_WRITE | sys::NO_TTY | sys::NON_BLOCKING;
    (0..8).find_map(|n| File::open(text!["/dev/hvc", n as u64].path(), how))
}

/// The feature of a device that tells its console's size.
pub const SIZE: usize = 0;

/// Its size as its driver shows it, when somebody uses it. Of a console that `has_size` the driver learns it when the
/// console is opened, and shows it later.
pub fn size(has_size: bool) -> Text {
    let Some(console) = open() else {
        return Text::new();
    };
    let deadline = sys::now() + LIMIT as u64;
    let mut size = [0; 8];
    loop {
        console.control(GET_SIZE, &mut size);
        if !has_size || size[..4] != [0; 4] || sys::now() > deadline {
            break;
        }
        // The signal of a new size goes to whoever has the terminal as its own, which this program is not.
        sys::sleep(500);
    }
    let number = |at: usize| u64::from(u16::from_le_bytes([size[at], size[at + 1]]));
    text![number(2), "x", number(0)]
}

/// The console that the kernel speaks on, as a stream of lines that are not sent back.
pub fn lines() -> Option<File> {
    let console = File::open(b"/dev/console\0", sys::READ_WRITE | sys::NO_TTY)?;
    set(&console, LINES);
    Some(console)
}

/// Takes everything as it comes and goes, with these local flags: struct termios is four words of flags, the
/// discipline, and characters, of which the seventh is how many bytes a read waits for.
fn set(console: &File, local: u32) {
    let mut attributes = [0; 36];
    console.control(GET_ATTRIBUTES, &mut attributes);
    // The line's speed stays.
    attributes[..8].fill(0);
    attributes[12..].fill(0);
    attributes[12..16].copy_from_slice(&local.to_le_bytes());
    attributes[17 + 6] = 1;
    console.control(SET_ATTRIBUTES, &mut attributes);
}

/// Sends lines; whether each came back as it was sent.
pub fn echo(lines: u64, size: usize) -> bool {
    go(lines, size.clamp(2, LONGEST)).is_some()
}

fn go(lines: u64, size: usize) -> Option<()> {
    let console = open()?;
    set(&console, 0);
    let mut line = [b'\n'; LONGEST];
    let mut back = [0; LONGEST];
    for n in 0..lines {
        for (at, byte) in line[..size - 1].iter_mut().enumerate() {
            *byte = b'a' + ((at as u64 + n) % 26) as u8;
        }
        let mut sent = 0;
        while sent < size {
            match console.write(&line[sent..size]) {
                Ok(length) => sent += length,
                Err(_) => return None,
            }
        }
        let mut read = 0;
        while read < size {
            if !console.ready(LIMIT) {
                return None;
            }
            match console.read(&mut back[read..size]) {
                Ok(length @ 1..) => read += length,
                _ => return None,
            }
        }
        if back[..size] != line[..size] {
            return None;
        }
    }
    Some(())
}
