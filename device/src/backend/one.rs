//! For tests: one chain at a time, given to a device.

use super::guest::*;
use super::{Chain, Device, Look, NoStatus, peek};

/// What became of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// It was used: with so many bytes, of which these are there to be read.
    Used(u32, Vec<u8>),
    /// It waits.
    Waits,
    /// The queue is broken.
    Broken,
}

impl Became {
    /// The bytes that the driver got.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Used(_, bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }
}

/// Gives `device` a chain of these bytes and a buffer of `room` bytes on `queue`.
pub fn give(device: &mut dyn Device, queue: u16, sent: &[u8], room: u32) -> Became {
    give_parts(device, queue, &[sent], &[room])
}

/// The same with several buffers.
pub fn give_parts(device: &mut dyn Device, queue: u16, sent: &[&[u8]], rooms: &[u32]) -> Became {
    const IN: u64 = DATA + 0x40000;
    let mut guest = Guest::new();
    let mut all = Vec::new();
    let mut at = DATA;
    for part in sent.iter().filter(|part| !part.is_empty()) {
        guest.put(at, part);
        all.push((at, part.len() as u32, NEXT, all.len() as u16 + 1));
        at += part.len() as u64;
    }
    at = IN;
    for room in rooms.iter().filter(|room| **room > 0) {
        all.push((at, *room, NEXT | WRITE, all.len() as u16 + 1));
        at += u64::from(*room);
    }
    if let Some(last) = all.last_mut() {
        last.2 &= !NEXT;
    }
    guest.descriptors(DESC, &all);
    guest.offer(0);
    let mut chain = Chain::default();
    match peek(&mut guest.queue, &guest.memory, &mut chain) {
        Ok(true) => {}
        _ => return Became::Broken,
    }
    let served = device.look(&guest.memory, queue, &chain).and_then(|look| {
        assert!(!device.words(queue).is_empty());
        match look {
            Look::Take => device.serve(&guest.memory, queue, &chain).map(Some),
            Look::Wait => Ok(None),
        }
    });
    match served {
        Ok(Some(len)) => {
            device.used(queue, chain.head());
            assert!(u64::from(len) <= chain.writable_bytes());
            Became::Used(len, guest.get(IN, len as usize))
        }
        Ok(None) => Became::Waits,
        Err(NoStatus) => Became::Broken,
    }
}
