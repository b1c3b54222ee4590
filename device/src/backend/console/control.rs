//! Messages about the ports of a console (5.3.6.2).

use std::fmt;

use super::super::chain::Chain;
use super::super::device::Memory;

/// `struct virtio_console_control`: port, event, value.
const MESSAGE_BYTES: usize = 8;
/// The longest message: one with a name.
const MOST_BYTES: usize = MESSAGE_BYTES + 16;

/// Events of messages.
mod event {
    pub const DEVICE_READY: u16 = 0;
    pub const DEVICE_ADD: u16 = 1;
    pub const PORT_READY: u16 = 3;
    pub const CONSOLE_PORT: u16 = 4;
    pub const RESIZE: u16 = 5;
    pub const PORT_OPEN: u16 = 6;
    pub const PORT_NAME: u16 = 7;
}

/// The order in which a port's messages are sent.
const ORDER: [u16; 5] = [
    event::DEVICE_ADD,
    event::CONSOLE_PORT,
    event::RESIZE,
    event::PORT_NAME,
    event::PORT_OPEN,
];

/// A message about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    port: u32,
    event: u16,
    value: u16,
}

impl Message {
    /// Reads the driver's message; `None`: it is too short.
    pub fn read(memory: &Memory, chain: &Chain) -> Option<Self> {
        let mut bytes = [0; MESSAGE_BYTES];
        chain.reader().read(memory, &mut bytes).ok()?;
        let [p0, p1, p2, p3, e0, e1, v0, v1] = bytes;
        Some(Self {
            port: u32::from_le_bytes([p0, p1, p2, p3]),
            event: u16::from_le_bytes([e0, e1]),
            value: u16::from_le_bytes([v0, v1]),
        })
    }

    /// The message as it is sent to the driver of a console of this size.
    pub fn bytes(&self, (cols, rows): (u16, u16)) -> ([u8; MOST_BYTES], usize) {
        let mut bytes = [0; MOST_BYTES];
        bytes[..4].copy_from_slice(&self.port.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.event.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.value.to_le_bytes());
        let more = match self.event {
            event::RESIZE => {
                bytes[8..10].copy_from_slice(&cols.to_le_bytes());
                bytes[10..12].copy_from_slice(&rows.to_le_bytes());
                4
            }
            event::PORT_NAME => {
                let digits = [
                    b'0' + (self.port / 10 % 10) as u8,
                    b'0' + (self.port % 10) as u8,
                ];
                bytes[8..16].copy_from_slice(b"misfire.");
                bytes[16..18].copy_from_slice(&digits);
                10
            }
            _ => 0,
        };
        (bytes, MESSAGE_BYTES + more)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, event, value } = self;
        match *event {
            event::DEVICE_READY => write!(f, "device ready {value}"),
            event::DEVICE_ADD => write!(f, "add port {port}"),
            event::PORT_READY => write!(f, "port {port} ready {value}"),
            event::CONSOLE_PORT => write!(f, "port {port} is a console"),
            event::RESIZE => write!(f, "port {port} has a new size"),
            event::PORT_OPEN => write!(f, "port {port} open {value}"),
            event::PORT_NAME => write!(f, "name of port {port}"),
            other => write!(f, "unknown message {other} of port {port}"),
        }
    }
}

/// What the driver was told of each port, and what it is still to be told.
#[derive(Clone, Debug)]
pub struct Ports(Box<[Port]>);

#[derive(Clone, Copy, Debug, Default)]
struct Port {
    /// The driver was told that the port is there.
    added: bool,
    /// The driver uses it.
    ready: bool,
    /// Messages to be sent, one bit for each event.
    owed: u16,
}

impl Ports {
    pub fn new(ports: u16) -> Self {
        Self(vec![Port::default(); usize::from(ports)].into_boxed_slice())
    }

    /// Nothing was said yet.
    pub fn reset(&mut self) {
        self.0.fill(Port::default());
    }

    /// The first message that the driver is still to be told.
    pub fn next(&self) -> Option<Message> {
        let mut owed = self.0.iter().enumerate().filter(|(_, port)| port.owed != 0);
        let (port, state) = owed.next()?;
        let event = ORDER
            .into_iter()
            .find(|event| state.owed >> event & 1 != 0)?;
        let has_value = matches!(event, event::CONSOLE_PORT | event::PORT_OPEN);
        Some(Message {
            port: port as u32,
            event,
            value: has_value.into(),
        })
    }

    /// The driver was told.
    pub fn told(&mut self, message: Message) {
        if let Some(port) = self.0.get_mut(message.port as usize) {
            port.owed &= !(1 << message.event);
            port.added |= message.event == event::DEVICE_ADD;
        }
    }

    /// The driver says something.
    pub fn hear(&mut self, message: Message) {
        match (message.event, message.value) {
            (event::DEVICE_READY, 1) => {
                for port in self.0.iter_mut().filter(|port| !port.added) {
                    port.owed |= 1 << event::DEVICE_ADD;
                }
            }
            (event::PORT_READY, 1) => {
                let console = message.port == 0;
                let port = self.0.get_mut(message.port as usize);
                if let Some(port) = port.filter(|port| port.added && !port.ready) {
                    port.ready = true;
                    port.owed |= 1 << event::PORT_OPEN;
                    port.owed |= if console {
                        1 << event::CONSOLE_PORT | 1 << event::RESIZE
                    } else {
                        1 << event::PORT_NAME
                    };
                }
            }
            _ => {}
        }
    }

    /// The console has another size.
    pub fn resize(&mut self) {
        if let Some(port) = self.0.first_mut().filter(|port| port.ready) {
            port.owed |= 1 << event::RESIZE;
        }
    }
}
