//! Memory of an adapter that several processors write: what is written is to be guarded by a lock that all who write it
//! hold.
//!
//! The pages can be read and not written. Each write by the image is a page fault: it is noted with the locks that its
//! processor holds, then the instruction is let through alone. What one processor alone writes needs no lock. From the
//! second processor on, the locks that all writes had in common are kept; when none is left, and nothing else puts two
//! writes in order (`clocks`), they may meet, and one of them is lost. It is told by the address that a write begins
//! at: neighbours in one word may have different locks. Writes that the processors themselves put in order (`lock`,
//! `xchg`) count for nothing, and nothing is lost where a store finds what it stores there already: a flag may be set
//! by anybody, as often as they like.
//!
//! Source: `HW_BUILDIO`, which runs without a lock; `HW_MESSAGE_SIGNALED_INTERRUPT_ROUTINE`, of routines that run at
//! the same time; "Synchronized Access within Unsynchronized Miniport Driver Routines". The way to tell it is that of
//! Eraser (Savage and others, 1997).

use super::checks::{self, Check};
use super::clocks::{self, Way};
use super::image;
use super::storport::{self, Bits};
use crate::hal::idt::Frame;
use crate::hal::processor::{self, Own};
use crate::hal::vm::{self, PAGE, Rights};
use crate::hal::{Local, exclusive};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// Most places that are known.
const MOST: usize = 8192;
/// Of the flags: an exception after each instruction; interrupts on.
const STEP: u64 = 1 << 8;
const INTERRUPTS: u64 = 1 << 9;

/// Who wrote.
#[derive(Clone, Copy)]
struct Write {
    processor: usize,
    rip: u64,
    /// What its processor held, and the moment that it was at.
    locks: Bits,
    moment: u32,
}

struct Known {
    last: Write,
    /// The locks that all writes had since there was a second processor.
    common: Option<Bits>,
    told: bool,
}

struct Watched {
    device: usize,
    pages: Vec<(u64, u64)>,
    known: BTreeMap<u64, Known>,
    /// Pages that may be written until the next call.
    open: Vec<u64>,
    on: bool,
}

static WATCHED: Local<Vec<Watched>> = Local::new(Vec::new());

/// A store by the image, which counts if it changes something.
#[derive(Clone, Copy)]
struct Store {
    device: usize,
    place: u64,
    bytes: u64,
    before: u64,
    write: Write,
}

impl Store {
    /// What there is.
    fn value(place: u64, bytes: u64) -> u64 {
        (0..bytes).fold(0, |value, n| {
            // SAFETY: the processor writes there, in one page.
            value | u64::from(unsafe { ((place + n) as *const u8).read_volatile() }) << (8 * n)
        })
    }
}

/// What a processor lets through.
#[derive(Clone, Copy)]
struct Stepped {
    page: u64,
    /// They were on.
    interrupts: bool,
    store: Option<Store>,
    /// A word that it changes atomically.
    word: Option<u64>,
    /// What is written, and a number for the rest of the page.
    place: u64,
    rest: u64,
}

/// A number for what a page holds but for the words around `place`, which one instruction writes.
fn rest_of(page: u64, place: u64) -> u64 {
    const WORD: u64 = 8;
    const MOST: u64 = 16;
    let words = (page..page + PAGE).step_by(WORD as usize);
    let others = words.filter(|at| at + WORD <= place || *at >= place + MOST);
    others.fold(0, |sum: u64, at| {
        // SAFETY: the page is there, and holds numbers, whoever writes them.
        let word = unsafe { (at as *const u64).read_volatile() };
        (sum ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(29)
    })
}

static STEPPED: Own<Option<Stepped>> = Own::new(None);

/// Watches memory of a device, in place of what was watched. Nothing where there is one processor.
pub fn begin(device: usize, ranges: &[(u64, u64)]) {
    end(device);
    if !processor::are_several() {
        return;
    }
    let first = |at: u64| at / PAGE * PAGE;
    let pages = ranges
        .iter()
        .filter(|(at, length)| *at != 0 && *length != 0);
    let pages = pages.flat_map(|(at, length)| (first(*at)..at + length).step_by(PAGE as usize));
    let pages: Vec<_> = pages
        .filter_map(|page| Some((page, vm::physical(page)?)))
        .collect();
    exclusive(|| {
        for (page, physical) in &pages {
            vm::protect(*page, *physical);
        }
        WATCHED.with(|all| {
            all.push(Watched {
                device,
                pages,
                known: BTreeMap::new(),
                open: Vec::new(),
                on: true,
            });
        });
    });
}

/// Watches nothing of a device any more.
pub fn end(device: usize) {
    let was = WATCHED.with(|all| {
        let at = all.iter().position(|watched| watched.device == device)?;
        Some(all.swap_remove(at))
    });
    for (page, physical) in was.into_iter().flat_map(|watched| watched.pages) {
        vm::map_page(page, physical, Rights::Write);
    }
}

/// A routine of the device's miniport is about to be called: what was let be written is watched again.
pub fn again(device: usize) {
    if !processor::are_several() {
        return;
    }
    WATCHED.with(|all| {
        if let Some(watched) = all.iter_mut().find(|watched| watched.device == device) {
            if !watched.open.is_empty() {
                clocks::lose_track();
            }
            for page in core::mem::take(&mut watched.open) {
                if let Some((_, physical)) = watched.pages.iter().find(|known| known.0 == page) {
                    vm::protect(page, *physical);
                }
            }
        }
    });
}

/// What an instruction is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// The processors put it in order.
    Atomic,
    /// It writes more than a word.
    Repeated,
}

fn kind(code: &[u8]) -> Kind {
    let mut kind = Kind::Plain;
    for byte in code {
        match byte {
            0xf0 => return Kind::Atomic,
            0xf2 | 0xf3 => kind = Kind::Repeated,
            0x66 | 0x67 | 0x2e | 0x36 | 0x3e | 0x26 | 0x64 | 0x65 | 0x40..=0x4f => {}
            0x86 | 0x87 => return Kind::Atomic,
            _ => break,
        }
    }
    kind
}

/// How many bytes an instruction stores that does nothing else; `None` for another.
fn stored(code: &[u8]) -> Option<u64> {
    let (mut bytes, mut rex) = (4, 0);
    for byte in code {
        match byte {
            0x66 => bytes = 2,
            0x40..=0x4f => rex = *byte,
            0x88 | 0xc6 => return Some(1),
            0x89 | 0xc7 if rex & 8 != 0 => return Some(8),
            0x89 | 0xc7 => return Some(bytes),
            _ => break,
        }
    }
    None
}

/// A write to a page that may not be written. Whether it is watched, so that the instruction can go on.
pub fn written(address: u64, frame: &mut Frame) -> bool {
    exclusive(|| note(address, frame))
}

fn note(address: u64, frame: &mut Frame) -> bool {
    let page = address / PAGE * PAGE;
    let found = WATCHED.with(|all| {
        let mut all = all.iter().filter(|watched| watched.on);
        all.find_map(|watched| {
            let known = watched.pages.iter().find(|known| known.0 == page)?;
            Some((watched.device, known.1))
        })
    });
    let Some((device, physical)) = found else {
        return false;
    };
    // An instruction has fewer bytes in front of what it is, and may be the last of its page.
    let code = core::array::from_fn::<u8, 6, _>(|n| {
        let at = frame.rip + n as u64;
        let is_there = at / PAGE == frame.rip / PAGE || vm::physical(at).is_some();
        // SAFETY: the processor has just read the instruction there, and what is behind it is mapped.
        if is_there {
            unsafe { (at as *const u8).read() }
        } else {
            0x90
        }
    });
    let kind = kind(&code);
    if kind == Kind::Repeated {
        WATCHED.with(|all| {
            let mut all = all.iter_mut();
            if let Some(watched) = all.find(|watched| watched.device == device) {
                watched.open.push(page);
            }
        });
        return vm::map_page(page, physical, Rights::Write);
    }
    // What its processor knows it hands on before it takes effect, and learns what others know when it has.
    let word = (kind == Kind::Atomic && image::contains(frame.rip)).then_some(address);
    if let Some(word) = word {
        clocks::hand_on(Way::Word(word));
    }
    // What the model writes for the driver, it writes under locks of its own.
    let mut store = None;
    if kind == Kind::Plain && image::contains(frame.rip) {
        let write = Write {
            processor: processor::number(),
            rip: frame.rip,
            locks: storport::held_locks(device),
            moment: clocks::now(),
        };
        match stored(&code).filter(|bytes| address % PAGE + bytes <= PAGE) {
            Some(bytes) => {
                store = Some(Store {
                    device,
                    place: address,
                    bytes,
                    before: Store::value(address, bytes),
                    write,
                });
            }
            None => guarded(device, address, write),
        }
    }
    STEPPED.with(|stepped| {
        *stepped = Some(Stepped {
            page,
            interrupts: frame.rflags & INTERRUPTS != 0,
            store,
            word,
            place: address,
            rest: rest_of(page, address),
        });
    });
    frame.rflags = frame.rflags & !INTERRUPTS | STEP;
    vm::map_page(page, physical, Rights::Write)
}

/// The instruction that was let through is over. Whether there was one.
pub fn stepped(frame: &mut Frame) -> bool {
    let Some(Stepped {
        page,
        interrupts,
        store,
        word,
        place,
        rest,
    }) = STEPPED.with(Option::take)
    else {
        return false;
    };
    frame.rflags &= !STEP;
    if interrupts {
        frame.rflags |= INTERRUPTS;
    }
    exclusive(|| {
        // Meanwhile others could write to the page and nobody saw it.
        if rest_of(page, place) != rest {
            clocks::lose_track();
        }
        if let Some(word) = word {
            clocks::learn(Way::Word(word));
        }
        let changing = store.filter(|s| Store::value(s.place, s.bytes) != s.before);
        if let Some(store) = changing {
            guarded(store.device, store.place, store.write);
        }
        // Nobody watches any more: then it stays as it is.
        let physical = WATCHED.with(|all| {
            let mut pages = all.iter().flat_map(|watched| &watched.pages);
            pages.find(|known| known.0 == page).map(|known| known.1)
        });
        if let Some(physical) = physical {
            vm::protect(page, physical);
        }
    });
    true
}

fn guarded(device: usize, place: u64, write: Write) {
    let broken = WATCHED.with(|all| {
        let watched = all.iter_mut().find(|watched| watched.device == device)?;
        let room = watched.known.len() < MOST;
        let Some(known) = watched.known.get_mut(&place) else {
            if room {
                let known = Known {
                    last: write,
                    common: None,
                    told: false,
                };
                watched.known.insert(place, known);
            }
            return None;
        };
        let before = core::mem::replace(&mut known.last, write);
        let changed_hands = before.processor != write.processor;
        // What the first processor did before there was a second may be over by then: once, memory is handed on.
        let Some(common) = known.common else {
            known.common = changed_hands.then_some(write.locks);
            return None;
        };
        let common = common.and(write.locks);
        known.common = Some(common);
        if !common.is_empty() {
            checks::kept(device, Check::Race);
            return None;
        }
        // Without a lock, and one after the other: memory is handed on in many ways.
        let is_blind = !watched.open.is_empty();
        let met = changed_hands && !is_blind && !clocks::has_seen(before.processor, before.moment);
        (met && !core::mem::replace(&mut known.told, true)).then_some(before)
    });
    let Some(other) = broken else { return };
    let image = image::image();
    let place = |rip: u64| {
        let place = image.as_ref().and_then(|image| image.place(rip));
        place.unwrap_or_else(|| String::from("?"))
    };
    let routine = storport::current_routine();
    checks::broken(
        device,
        Check::Race,
        format_args!(
            "processors write the same memory, and no lock is held each time: here {routine} at {}; before at {}",
            place(write.rip),
            place(other.rip)
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_processors_put_in_order_is_told_from_what_they_do_not() {
        assert_eq!(kind(&[0xff, 0x01]), Kind::Plain);
        assert_eq!(kind(&[0x66, 0x89, 0x01]), Kind::Plain);
        assert_eq!(kind(&[0xf0, 0x48, 0x0f, 0xb1, 0x11]), Kind::Atomic);
        assert_eq!(kind(&[0x48, 0x87, 0x01]), Kind::Atomic);
        assert_eq!(kind(&[0xf3, 0xaa]), Kind::Repeated);
    }

    #[test]
    fn a_store_is_told_from_what_reads_before_it_writes() {
        assert_eq!(stored(&[0x89, 0x01]), Some(4));
        assert_eq!(stored(&[0x66, 0x41, 0x89, 0x01]), Some(2));
        assert_eq!(stored(&[0x48, 0xc7, 0x01, 0, 0, 0]), Some(8));
        assert_eq!(stored(&[0xc6, 0x41, 0x10, 1]), Some(1));
        assert_eq!(stored(&[0xff, 0x01]), None);
        assert_eq!(stored(&[0x09, 0x01]), None);
    }
}
