//! Our vhost-user backend, whatever a frontend sends.
#![no_main]

use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use misfire_device::port::vhost_user::Backend;
use misfire_device::shape::{Kind, Shape};
use misfire_fuzz::wire::{MEMORY, Sent, hear_out, send};

/// A message of a frontend.
#[derive(Debug, Arbitrary)]
enum Message {
    /// A request with any payload; `size` is what its header says, if that is not the truth.
    Any {
        request: u8,
        reply: bool,
        size: Option<u32>,
        payload: Vec<u8>,
        sent: Vec<Sent>,
    },
    /// A request whose payload is one number.
    Number { request: u8, value: u64 },
    /// A request about a ring.
    Ring { request: u8, index: u8, number: u16 },
    /// The descriptor of a ring: kick, call or error.
    Event { request: u8, index: u8, none: bool },
    /// Where a ring is.
    Addresses {
        index: u8,
        desc: u16,
        used: u16,
        avail: u16,
    },
    /// One region of memory.
    Memory { guest: u16, size: u32, offset: u16 },
    /// Bytes that are no message.
    Noise(Vec<u8>),
}

const SET_MEM_TABLE: u32 = 5;
const SET_VRING_ADDR: u32 = 9;
const USER: u64 = 0x7000_0000;

fn header(request: u32, reply: bool, size: u32) -> Vec<u8> {
    let flags = 1u32 | u32::from(reply) << 3;
    [request, flags, size]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect()
}

impl Message {
    fn bytes(&self) -> (Vec<u8>, Vec<Sent>) {
        let whole = |request: u32, payload: &[u8]| {
            let mut bytes = header(request, true, payload.len() as u32);
            bytes.extend(payload);
            bytes
        };
        match self {
            Self::Any {
                request,
                reply,
                size,
                payload,
                sent,
            } => {
                let size = size.unwrap_or(payload.len() as u32);
                let mut bytes = header(u32::from(*request), *reply, size);
                bytes.extend(payload);
                (bytes, sent.clone())
            }
            Self::Number { request, value } => (
                whole(u32::from(request % 48), &value.to_le_bytes()),
                Vec::new(),
            ),
            Self::Ring {
                request,
                index,
                number,
            } => {
                let request = [8, 10, 11, 18][usize::from(request % 4)];
                let mut payload = u32::from(*index).to_le_bytes().to_vec();
                payload.extend(u32::from(*number).to_le_bytes());
                (whole(request, &payload), Vec::new())
            }
            Self::Event {
                request,
                index,
                none,
            } => {
                let value = u64::from(*index) | u64::from(*none) << 8;
                let request = 12 + u32::from(request % 3);
                (
                    whole(request, &value.to_le_bytes()),
                    vec![Sent::Event; usize::from(!none)],
                )
            }
            Self::Addresses {
                index,
                desc,
                used,
                avail,
            } => {
                let mut payload = u32::from(*index).to_le_bytes().to_vec();
                payload.extend(0u32.to_le_bytes());
                for place in [*desc, *used, *avail, 0] {
                    payload.extend((USER + u64::from(place)).to_le_bytes());
                }
                (whole(SET_VRING_ADDR, &payload), Vec::new())
            }
            Self::Memory {
                guest,
                size,
                offset,
            } => {
                let size = u64::from(size % (2 * MEMORY as u32));
                let mut payload = 1u64.to_le_bytes().to_vec();
                for value in [u64::from(*guest), size, USER, u64::from(*offset)] {
                    payload.extend(value.to_le_bytes());
                }
                (whole(SET_MEM_TABLE, &payload), vec![Sent::Memory])
            }
            Self::Noise(bytes) => (bytes.clone(), Vec::new()),
        }
    }
}

fn backend() -> &'static Backend {
    static BACKEND: OnceLock<(tempfile::TempDir, Backend)> = OnceLock::new();
    let (_, backend) = BACKEND.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let shape = Shape {
            queues: 2,
            ..Shape::new(Kind::Block)
        };
        let backend = Backend::start(&shape, &dir.path().join("backend"), None);
        (dir, backend.expect("a backend"))
    });
    backend
}

fuzz_target!(|messages: Vec<Message>| {
    let stream = UnixStream::connect(backend().socket()).expect("it listens");
    for message in &messages {
        let (bytes, sent) = message.bytes();
        if !send(&stream, &bytes, &sent) {
            break;
        }
    }
    hear_out(stream);
});
