//! The vhost-user socket, read along.
//!
//! The crates tell a backend little of what its frontend says, and keep the channel on which the
//! backend can speak first to themselves. So the messages pass through here: each is looked at,
//! and then goes on as it came, with its descriptors.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, send, sendmsg,
};
use vhost::vhost_user::message::{BackendReq, FrontendReq, MAX_ATTACHED_FD_ENTRIES, MAX_MSG_SIZE};

use crate::trace::Input;

/// Request, flags and payload size, four bytes each.
const HEADER_BYTES: usize = 12;
/// Version 1, no reply wanted.
const FLAGS: u32 = 1;

/// A message of the frontend.
pub struct Message {
    bytes: Vec<u8>,
    files: Vec<OwnedFd>,
}

impl Message {
    /// What it asks for, if that is in the specification.
    pub fn request(&self) -> Option<FrontendReq> {
        FrontendReq::try_from(word(&self.bytes, 0)).ok()
    }

    /// The first eight bytes of the payload: a number, or a queue's index in the lower and its
    /// number in the upper half.
    pub fn value(&self) -> u64 {
        let mut value = [0; 8];
        let payload = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
        let length = payload.len().min(value.len());
        value[..length].copy_from_slice(&payload[..length]);
        u64::from_le_bytes(value)
    }

    /// Makes the base of a packed ring whole, if this is the answer to GET_VRING_BASE: the lower half
    /// says where the next list is looked for, the upper one where the next used descriptor goes. The
    /// crates answer with the lower half; a ring whose lists are used in order has both in one place.
    pub fn complete_packed_base(&mut self) {
        const BASE: usize = HEADER_BYTES + 4;
        if self.request() == Some(FrontendReq::GET_VRING_BASE)
            && let Some([a, b, upper @ ..]) = self.bytes.get_mut(BASE..BASE + 4)
        {
            let lower = [*a, *b];
            upper.copy_from_slice(&lower);
        }
    }

    /// The descriptors that came with it.
    pub fn files(&self) -> &[OwnedFd] {
        &self.files
    }

    /// What it is to the backend, if it changes the backend's state.
    pub fn input(&self) -> Option<Input> {
        let request = self.request()?;
        changes_state(request).then(|| Input::Vhost {
            message: format!("{request:?}"),
            value: self.value(),
        })
    }

    /// Waits for the next message; `None` at the end of the stream.
    fn receive(from: &mut UnixStream) -> io::Result<Option<Self>> {
        let mut bytes = vec![0; HEADER_BYTES];
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_ATTACHED_FD_ENTRIES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &*from,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?
        .bytes;
        let mut files = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                files.extend(rights);
            }
        }
        if received == 0 {
            return Ok(None);
        }
        from.read_exact(&mut bytes[received..])?;
        let size = word(&bytes, 8) as usize;
        if size > MAX_MSG_SIZE {
            return Err(ErrorKind::InvalidData.into());
        }
        bytes.resize(HEADER_BYTES + size, 0);
        from.read_exact(&mut bytes[HEADER_BYTES..])?;
        Ok(Some(Self { bytes, files }))
    }

    fn send(&self, to: &mut UnixStream) -> io::Result<()> {
        let files: Vec<_> = self.files.iter().map(AsFd::as_fd).collect();
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_ATTACHED_FD_ENTRIES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(ErrorKind::InvalidData.into());
        }
        let sent = sendmsg(
            &*to,
            &[IoSlice::new(&self.bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        to.write_all(&self.bytes[sent..])
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn changes_state(request: FrontendReq) -> bool {
    matches!(
        request,
        FrontendReq::SET_FEATURES
            | FrontendReq::SET_OWNER
            | FrontendReq::RESET_OWNER
            | FrontendReq::SET_MEM_TABLE
            | FrontendReq::SET_VRING_NUM
            | FrontendReq::SET_VRING_ADDR
            | FrontendReq::SET_VRING_BASE
            | FrontendReq::GET_VRING_BASE
            | FrontendReq::SET_VRING_KICK
            | FrontendReq::SET_VRING_CALL
            | FrontendReq::SET_VRING_ERR
            | FrontendReq::SET_PROTOCOL_FEATURES
            | FrontendReq::SET_VRING_ENABLE
            | FrontendReq::SET_BACKEND_REQ_FD
            | FrontendReq::SET_CONFIG
            | FrontendReq::RESET_DEVICE
            | FrontendReq::ADD_MEM_REG
            | FrontendReq::REM_MEM_REG
            | FrontendReq::SET_STATUS
    )
}

/// Passes the frontend's messages on to the backend until one of them is gone; `look` sees each
/// before the backend does.
pub fn carry_messages(
    mut frontend: UnixStream,
    mut backend: UnixStream,
    mut look: impl FnMut(&Message),
) {
    while let Ok(Some(message)) = Message::receive(&mut frontend) {
        look(&message);
        if message.send(&mut backend).is_err() {
            break;
        }
    }
    close(&frontend, &backend);
}

/// Passes the backend's replies on to the frontend until one of them is gone; `change` may change
/// each before.
pub fn carry_replies(
    mut backend: UnixStream,
    mut frontend: UnixStream,
    mut change: impl FnMut(&mut Message),
) {
    while let Ok(Some(mut message)) = Message::receive(&mut backend) {
        change(&mut message);
        if message.send(&mut frontend).is_err() {
            break;
        }
    }
    close(&frontend, &backend);
}

fn close(one: &UnixStream, other: &UnixStream) {
    // Closed already is as good.
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}

/// Tells the frontend on its backend channel that the device configuration changed.
///
/// # Errors
/// When nobody reads the channel any more.
pub fn tell_config_change(channel: &UnixStream) -> io::Result<()> {
    let mut message = [0; HEADER_BYTES];
    message[..4].copy_from_slice(&u32::from(BackendReq::CONFIG_CHANGE_MSG).to_le_bytes());
    message[4..8].copy_from_slice(&FLAGS.to_le_bytes());
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match send(channel, &message, flags)? {
        HEADER_BYTES => Ok(()),
        _ => Err(ErrorKind::WriteZero.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn message(request: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [request, FLAGS, payload.len() as u32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_message_is_seen_and_goes_on_as_it_came_with_its_descriptor() {
        let (mut near, frontend) = UnixStream::pair().unwrap();
        let (backend, mut far) = UnixStream::pair().unwrap();
        let (tell, seen) = mpsc::channel();
        let carrier = std::thread::spawn(move || {
            carry_messages(frontend, backend, |m| tell.send(m.input()).unwrap());
        });
        let features = message(2, &(1u64 << 32 | 5).to_le_bytes());
        near.write_all(&features[..5]).unwrap();
        near.write_all(&features[5..]).unwrap();
        let kick = Message {
            bytes: message(12, &3u64.to_le_bytes()),
            files: vec![near.try_clone().unwrap().into()],
        };
        kick.send(&mut near).unwrap();
        let vhost = |message: &str, value| {
            Some(Input::Vhost {
                message: message.into(),
                value,
            })
        };
        assert_eq!(seen.recv().unwrap(), vhost("SET_FEATURES", 1 << 32 | 5));
        assert_eq!(seen.recv().unwrap(), vhost("SET_VRING_KICK", 3));
        let first = Message::receive(&mut far).unwrap().unwrap();
        assert_eq!((first.bytes, first.files.len()), (features, 0));
        let second = Message::receive(&mut far).unwrap().unwrap();
        assert_eq!((second.bytes, second.files.len()), (kick.bytes, 1));
        near.shutdown(Shutdown::Both).unwrap();
        carrier.join().unwrap();
        assert!(Message::receive(&mut far).unwrap().is_none());
    }

    #[test]
    fn a_question_changes_nothing_and_an_oversized_message_ends_the_connection() {
        let (mut near, frontend) = UnixStream::pair().unwrap();
        let (backend, mut far) = UnixStream::pair().unwrap();
        near.write_all(&message(1, &[])).unwrap();
        let mut oversized = message(2, &[]);
        oversized[8..].copy_from_slice(&u32::MAX.to_le_bytes());
        near.write_all(&oversized).unwrap();
        let mut seen = Vec::new();
        carry_messages(frontend, backend, |m| seen.push(m.input()));
        assert_eq!(seen, [None]);
        assert!(Message::receive(&mut far).unwrap().is_some());
        assert!(Message::receive(&mut far).unwrap().is_none());
    }

    #[test]
    fn a_config_change_is_one_header() {
        let (channel, mut frontend) = UnixStream::pair().unwrap();
        tell_config_change(&channel).unwrap();
        let told = Message::receive(&mut frontend).unwrap().unwrap();
        assert_eq!(told.bytes, message(2, &[]));
        drop(frontend);
        assert!(tell_config_change(&channel).is_err());
    }
}
