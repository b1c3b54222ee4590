//! Our vfio-user server, whatever a VMM sends that keeps to the form of messages. The library takes
//! their lengths on trust (a peer that lies about them loses its connection).
#![no_main]

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::OnceLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use misfire_device::port::{Journal, Served, serve_on};
use misfire_device::shape::{Interface, Kind, Shape};
use misfire_fuzz::wire::{Sent, hear_out, send};

/// A message of a VMM.
#[derive(Debug, Arbitrary)]
enum Message {
    /// Memory comes.
    Map {
        flags: u8,
        offset: u16,
        address: u32,
        size: u32,
        shared: bool,
    },
    /// Memory goes.
    Unmap { flags: u8, address: u32, size: u32 },
    /// A register is read.
    Read { region: u8, offset: u16, count: u8 },
    /// A register is written.
    Write {
        region: u8,
        offset: u16,
        bytes: Vec<u8>,
    },
    /// Interrupts are wired.
    Irqs {
        flags: u8,
        index: u8,
        start: u16,
        count: u8,
        sent: u8,
    },
    /// What a region is.
    Info {
        command: u8,
        argsz: u16,
        flags: u8,
        index: u8,
    },
    /// The device is reset.
    Reset,
}

fn message(id: u16, command: u16, payload: &[u8]) -> Vec<u8> {
    let size = 16 + payload.len() as u32;
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend(command.to_le_bytes());
    for value in [size, 0, 0] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(payload);
    bytes
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

impl Message {
    fn bytes(&self, id: u16) -> (Vec<u8>, Vec<Sent>) {
        let plain = |command, payload: &[u8]| message(id, command, payload);
        match self {
            Self::Map {
                flags,
                offset,
                address,
                size,
                shared,
            } => {
                let first = 32 | u64::from(flags % 8) << 32;
                let payload = [
                    first,
                    u64::from(*offset),
                    u64::from(*address),
                    u64::from(*size),
                ];
                (
                    plain(2, &words(&payload)),
                    vec![Sent::Memory; usize::from(*shared)],
                )
            }
            Self::Unmap {
                flags,
                address,
                size,
            } => {
                let first = 24 | u64::from(flags % 4) << 32;
                (
                    plain(3, &words(&[first, u64::from(*address), u64::from(*size)])),
                    Vec::new(),
                )
            }
            Self::Read {
                region,
                offset,
                count,
            } => {
                let last = u64::from(region % 10) | u64::from(*count) << 32;
                (plain(9, &words(&[u64::from(*offset), last])), Vec::new())
            }
            Self::Write {
                region,
                offset,
                bytes,
            } => {
                let last = u64::from(region % 10) | (bytes.len() as u64) << 32;
                let mut payload = words(&[u64::from(*offset), last]);
                payload.extend(bytes);
                (plain(10, &payload), Vec::new())
            }
            Self::Irqs {
                flags,
                index,
                start,
                count,
                sent,
            } => {
                let mut payload = Vec::new();
                let values = [
                    20,
                    u32::from(*flags),
                    u32::from(index % 6),
                    u32::from(*start),
                    u32::from(*count),
                ];
                values.iter().for_each(|v| payload.extend(v.to_le_bytes()));
                (plain(8, &payload), vec![Sent::Event; usize::from(sent % 8)])
            }
            Self::Info {
                command,
                argsz,
                flags,
                index,
            } => {
                let (command, length) = [(4, 16), (5, 32), (7, 16)][usize::from(command % 3)];
                let first = u64::from(*argsz) | u64::from(*flags) << 32;
                let payload = words(&[first, u64::from(*index), 0, 0]);
                (plain(command, &payload[..length]), Vec::new())
            }
            Self::Reset => (plain(13, &[]), Vec::new()),
        }
    }
}

fn socket() -> &'static PathBuf {
    static SERVED: OnceLock<(tempfile::TempDir, Served, PathBuf)> = OnceLock::new();
    let (_, _, socket) = SERVED.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("function");
        let shape = Shape {
            queues: 2,
            msi: 4,
            virtio: Interface::Transitional,
            ..Shape::new(Kind::Block)
        };
        let journal = Journal::new(Box::new(|_| ()));
        let served = serve_on(0, &shape, Vec::new(), 0, &socket, journal).expect("a device");
        (dir, served, socket)
    });
    socket
}

/// Reads the answer to a message; whether it was one, and no error.
fn answered(mut stream: &UnixStream) -> bool {
    let mut header = [0; 16];
    if stream.read_exact(&mut header).is_err() {
        return false;
    }
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let mut rest = vec![0; (word(4) as usize).saturating_sub(16)];
    stream.read_exact(&mut rest).is_ok() && word(8) & 0x20 == 0
}

fuzz_target!(|messages: Vec<Message>| {
    let stream = UnixStream::connect(socket()).expect("it listens");
    let version = b"\0\0\x01\0{\"capabilities\":{\"max_msg_fds\":8}}\0";
    send(&stream, &message(0, 1, version), &[]);
    answered(&stream);
    for (id, one) in messages.iter().enumerate() {
        let (bytes, sent) = one.bytes(id as u16 + 1);
        // After an error the library may have left a part of the message in the socket.
        if !send(&stream, &bytes, &sent) || !answered(&stream) {
            break;
        }
    }
    hear_out(stream);
});
