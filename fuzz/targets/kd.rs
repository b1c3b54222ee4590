//! The kernel debugger, whatever a kernel sends.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use misfire::log::kd::frame::{Control, Frame, INITIAL_ID, MAX_PAYLOAD};
use misfire::log::kd::{Client, OnBugcheck};

#[derive(Debug, Arbitrary)]
enum Sent {
    /// A whole frame with this payload after its first word.
    Data {
        kind: u8,
        id: u8,
        first: u16,
        payload: Vec<u8>,
    },
    /// A state change or an answer, whose fixed part is long.
    Long {
        kind: u8,
        id: u8,
        first: u16,
        fields: Vec<(u8, u8)>,
        tail: Vec<u8>,
    },
    Control {
        which: u8,
        id: u8,
    },
    Noise(Vec<u8>),
    Wait(u16),
    Probe,
    GoOn,
    Forget,
}

fn id(bits: u8) -> u32 {
    INITIAL_ID | u32::from(bits & 1) | u32::from(bits & 2) << 10
}

fuzz_target!(|case: (bool, bool, Vec<Sent>)| {
    let (late, stops, all) = case;
    let policy = match stops {
        true => OnBugcheck::Stop,
        false => OnBugcheck::GoOn,
    };
    let mut client = Client::new(late, policy);
    let mut now = Duration::ZERO;
    for one in all {
        let data = |kind: u8, bits: u8, first: u16, rest: &[u8]| {
            let mut payload = u32::from(first).to_le_bytes().to_vec();
            payload.extend(rest);
            payload.truncate(MAX_PAYLOAD);
            let kind = u16::from(kind % 11) + 1;
            Frame::Data {
                kind,
                id: id(bits),
                payload,
            }
            .bytes()
        };
        let bytes = match one {
            Sent::Data {
                kind,
                id,
                first,
                payload,
            } => data(kind, id, first, &payload),
            Sent::Long {
                kind,
                id,
                first,
                fields,
                tail,
            } => {
                let mut fixed = [0; 236];
                for (at, value) in fields {
                    fixed[usize::from(at) % 236] = value;
                }
                data(kind, id, first, &[&fixed[..], &tail].concat())
            }
            Sent::Control { which, id: bits } => {
                let control = match which % 3 {
                    0 => Control::Ack,
                    1 => Control::Resend,
                    _ => Control::Reset,
                };
                let id = id(bits);
                Frame::Control { control, id }.bytes()
            }
            Sent::Noise(bytes) => bytes,
            Sent::Wait(ms) => {
                now += Duration::from_millis(ms.into());
                client.tick(now);
                Vec::new()
            }
            Sent::Probe => {
                client.probe();
                Vec::new()
            }
            Sent::GoOn => {
                client.go_on(now);
                Vec::new()
            }
            Sent::Forget => {
                client.forget();
                Vec::new()
            }
        };
        let before = bytes.len();
        client.receive(now, &bytes);
        // A frame is answered with an acknowledgement and a request; what is damaged, with a word.
        assert!(client.take_output().len() <= 64 * before + 4096);
        while let Some(event) = client.next_event() {
            let _ = event.to_string();
        }
    }
});
