//! The console (5.3): each port sends back what it is told.

mod config;
mod control;

#[cfg(test)]
mod tests;

pub use config::{features, value};

use super::chain::{Chain, NoStatus};
use super::device::{Device, Look, Memory, Offer};
use super::lane::Lane;
use crate::shape::Shape;
use crate::spec::{ConsoleConfig, QueueRole};
use config::MULTIPORT;
use control::{Message, Ports};

/// Bytes of a port that are on their way back at the most.
const ECHO_BYTES: usize = 64 * 1024;
/// Bytes moved at a time.
const PIECE_BYTES: usize = 4096;
/// The queue of messages about the ports.
const CONTROL_RECEIVE: u16 = 2;

/// A console whose ports are loops.
pub struct Console {
    offer: Offer,
    /// What is on its way back, by port.
    echoes: Box<[Lane]>,
    ports: Ports,
    asked: Asked,
    piece: Box<[u8]>,
}

/// What the chain that was looked at last asks for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// To be filled with what a port was told.
    Receive { port: u16, bytes: u64 },
    /// To be taken.
    Transmit { port: u16, bytes: u64 },
    /// To be filled with a message about a port.
    Tell(Message),
    /// A message about a port.
    Told(Option<Message>),
}

impl Console {
    /// A console of this shape.
    pub fn new(shape: &Shape) -> Self {
        let ports = shape.console_ports();
        Self {
            offer: Offer::new(shape, 0),
            echoes: vec![Lane::new(ECHO_BYTES); usize::from(ports)].into_boxed_slice(),
            ports: Ports::new(ports),
            asked: Asked::Told(None),
            piece: vec![0; PIECE_BYTES].into_boxed_slice(),
        }
    }

    fn size(&self) -> (u16, u16) {
        let value = |field: ConsoleConfig| self.offer.configuration.get(field) as u16;
        (value(ConsoleConfig::Cols), value(ConsoleConfig::Rows))
    }

    fn role(&self, queue: u16) -> Option<QueueRole> {
        QueueRole::console(queue, self.offer.has(MULTIPORT))
    }

    /// The queue from which a port is told.
    fn receive_queue(port: u16) -> u16 {
        match port {
            0 => 0,
            port => 2 * port + 2,
        }
    }

    fn fill(&mut self, memory: &Memory, chain: &Chain, port: u16) -> u32 {
        let Some(echo) = self.echoes.get_mut(usize::from(port)) else {
            return 0;
        };
        let room = usize::try_from(chain.writable_bytes()).unwrap_or(usize::MAX);
        let length = echo.len().min(room);
        match echo.pop(memory, &mut chain.writer(), length) {
            Ok(()) => length as u32,
            Err(_) => 0,
        }
    }

    fn take(&mut self, memory: &Memory, chain: &Chain, port: u16) {
        let Some(echo) = self.echoes.get_mut(usize::from(port)) else {
            return;
        };
        let mut buffers = chain.reader();
        let mut left = chain.readable_bytes();
        while left > 0 {
            let length = usize::try_from(left).map_or(PIECE_BYTES, |n| n.min(PIECE_BYTES));
            let piece = &mut self.piece[..length];
            if buffers.read(memory, piece).is_err() {
                break;
            }
            echo.push(piece);
            left -= length as u64;
        }
        if !echo.is_empty() {
            self.offer.wake(Self::receive_queue(port));
        }
    }

    fn tell(&mut self, memory: &Memory, chain: &Chain, message: Message) -> u32 {
        let (bytes, length) = message.bytes(self.size());
        let room = usize::try_from(chain.writable_bytes()).unwrap_or(usize::MAX);
        let told = &bytes[..length.min(room)];
        self.ports.told(message);
        match chain.writer().write(memory, told) {
            Ok(()) => told.len() as u32,
            Err(_) => 0,
        }
    }
}

impl Device for Console {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn offer_mut(&mut self) -> &mut Offer {
        &mut self.offer
    }

    fn look(&mut self, memory: &Memory, queue: u16, chain: &Chain) -> Result<Look, NoStatus> {
        let asked = match self.role(queue) {
            Some(QueueRole::Receive(port)) => {
                let echo = self.echoes.get(usize::from(port));
                let bytes = chain.writable_bytes();
                let some = echo.is_some_and(|echo| !echo.is_empty()) && bytes > 0;
                some.then_some(Asked::Receive { port, bytes })
            }
            Some(QueueRole::Transmit(port)) => {
                let bytes = chain.readable_bytes();
                Some(Asked::Transmit { port, bytes })
            }
            Some(QueueRole::ControlReceive) => self.ports.next().map(Asked::Tell),
            Some(QueueRole::ControlTransmit) => Some(Asked::Told(Message::read(memory, chain))),
            Some(QueueRole::Request | QueueRole::Control | QueueRole::Event) | None => None,
        };
        Ok(match asked {
            Some(asked) => {
                self.asked = asked;
                Look::Take
            }
            None => Look::Wait,
        })
    }

    fn words(&self, _queue: u16) -> String {
        match self.asked {
            Asked::Receive { port, bytes } => format!("receive {port}, {bytes} bytes"),
            Asked::Transmit { port, bytes } => format!("transmit {port}, {bytes} bytes"),
            Asked::Tell(message) | Asked::Told(Some(message)) => message.to_string(),
            Asked::Told(None) => "malformed message".into(),
        }
    }

    fn serve(&mut self, memory: &Memory, _queue: u16, chain: &Chain) -> Result<u32, NoStatus> {
        Ok(match self.asked {
            Asked::Receive { port, .. } => self.fill(memory, chain, port),
            Asked::Transmit { port, .. } => {
                self.take(memory, chain, port);
                0
            }
            Asked::Tell(message) => self.tell(memory, chain, message),
            Asked::Told(message) => {
                if let Some(message) = message {
                    self.ports.hear(message);
                }
                if self.ports.next().is_some() {
                    self.offer.wake(CONTROL_RECEIVE);
                }
                0
            }
        })
    }

    fn begin(&mut self) {
        self.echoes.iter_mut().for_each(Lane::clear);
        self.ports.reset();
    }

    fn changed(&mut self, before: &super::Configuration) {
        let size = [ConsoleConfig::Cols, ConsoleConfig::Rows];
        let now = &self.offer.configuration;
        if size
            .iter()
            .any(|field| now.get(*field) != before.get(*field))
        {
            self.ports.resize();
            self.offer.wake(CONTROL_RECEIVE);
        }
    }
}
