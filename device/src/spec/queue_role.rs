//! What the virtqueues of each device are for.

use std::fmt;

/// What a virtqueue is for (5.1.2, 5.2.2, 5.3.2, 5.4.2, 5.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueRole {
    /// Requests of the driver.
    Request,
    /// Buffers for what comes in: of a pair of network queues, or of a port of a console, from 0.
    Receive(u16),
    /// What goes out, likewise.
    Transmit(u16),
    /// Commands to a network device or a SCSI host.
    Control,
    /// Events of a SCSI host.
    Event,
    /// Messages of a console about its ports.
    ControlReceive,
    /// Messages to a console about its ports.
    ControlTransmit,
}

impl QueueRole {
    /// Of a network device with so many pairs in use: those of MQ or RSS when it was agreed on, else
    /// one. Beyond the control queue there is nothing.
    pub const fn net(queue: u16, pairs: u16) -> Option<Self> {
        if queue == 2 * pairs {
            Some(Self::Control)
        } else if queue > 2 * pairs {
            None
        } else {
            Some(Self::pair(queue))
        }
    }

    /// Of a console; without MULTIPORT there are only those of port 0.
    pub const fn console(queue: u16, multiport: bool) -> Option<Self> {
        match queue {
            0 => Some(Self::Receive(0)),
            1 => Some(Self::Transmit(0)),
            _ if !multiport => None,
            2 => Some(Self::ControlReceive),
            3 => Some(Self::ControlTransmit),
            _ => Some(Self::pair(queue - 2)),
        }
    }

    /// Of a SCSI host.
    pub const fn scsi(queue: u16) -> Self {
        match queue {
            0 => Self::Control,
            1 => Self::Event,
            _ => Self::Request,
        }
    }

    const fn pair(queue: u16) -> Self {
        if queue.is_multiple_of(2) {
            Self::Receive(queue / 2)
        } else {
            Self::Transmit(queue / 2)
        }
    }
}

impl fmt::Display for QueueRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str("request"),
            Self::Receive(n) => write!(f, "receive {n}"),
            Self::Transmit(n) => write!(f, "transmit {n}"),
            Self::Control => f.write_str("control"),
            Self::Event => f.write_str("event"),
            Self::ControlReceive => f.write_str("control receive"),
            Self::ControlTransmit => f.write_str("control transmit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_queue_of_a_network_device_follows_the_pairs_in_use() {
        let roles: Vec<_> = (0..6).map(|q| QueueRole::net(q, 2)).collect();
        use QueueRole::*;
        assert_eq!(
            roles,
            [
                Some(Receive(0)),
                Some(Transmit(0)),
                Some(Receive(1)),
                Some(Transmit(1)),
                Some(Control),
                None
            ]
        );
        assert_eq!(QueueRole::net(2, 1), Some(Control));
    }

    #[test]
    fn the_second_port_of_a_console_comes_after_the_control_queues() {
        use QueueRole::*;
        let roles: Vec<_> = (0..6).map(|q| QueueRole::console(q, true)).collect();
        assert_eq!(
            roles,
            [
                Some(Receive(0)),
                Some(Transmit(0)),
                Some(ControlReceive),
                Some(ControlTransmit),
                Some(Receive(1)),
                Some(Transmit(1))
            ]
        );
        assert_eq!(QueueRole::console(2, false), None);
    }
}
