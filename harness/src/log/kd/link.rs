//! The debugger's end of the line: ids, acknowledgements, what is sent again. Bytes and times go in,
//! bytes and payloads come out; nothing here opens, waits or reads a clock.

use std::collections::VecDeque;
use std::time::Duration;

use super::frame::{BREAK_IN, Control, Found, Frame, INITIAL_ID, SYNC, Scanner};
use super::packet::Payload;

/// A frame that is not whole after this time has lost a byte.
const FRAME_LIMIT: Duration = Duration::from_millis(100);
/// A payload that nobody acknowledged in this time is sent again.
const ACK_LIMIT: Duration = Duration::from_millis(300);
/// A reset that nobody answered in this time is sent again.
const RESET_LIMIT: Duration = Duration::from_millis(100);
/// The most payloads that wait to be sent. The target asks one thing at a time.
const MAX_WAITING: usize = 64;

/// Time on any clock that does not go back, from any beginning.
pub type Time = Duration;

/// What a link tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The target booted: nothing that was under way is any more.
    Boot,
    /// Both sides began again; the target repeats what it wanted.
    Reset,
    /// A payload that was not heard before.
    Payload(u16, Vec<u8>),
}

/// One end of the line.
#[derive(Debug)]
pub struct Link {
    scanner: Scanner,
    out: Vec<u8>,
    heard: VecDeque<Heard>,
    /// The id of the next frame that is no repetition; none: whatever comes.
    expected: Option<u32>,
    /// The id of our next frame.
    ours: u32,
    /// Whether the target takes our ids.
    synced: bool,
    pending: Option<(Payload, Time)>,
    waiting: VecDeque<Payload>,
    /// When the last reset was sent that was not answered.
    resetting: Option<Time>,
    /// When the last byte came.
    last: Time,
    resent: u64,
    /// What was heard last.
    last_payload: Option<Payload>,
}

impl Link {
    /// A line whose other end has not been switched on yet, or (`late`) runs already.
    pub fn new(late: bool) -> Self {
        Self {
            scanner: Scanner::default(),
            out: Vec::new(),
            heard: VecDeque::new(),
            expected: None,
            ours: INITIAL_ID,
            synced: !late,
            pending: None,
            waiting: VecDeque::new(),
            resetting: None,
            last: Time::ZERO,
            resent: 0,
            last_payload: None,
        }
    }

    /// The machine was reset, restored or connected anew: what it said last is of no use.
    pub fn forget(&mut self) {
        let last = self.last;
        *self = Self {
            last,
            ..Self::new(true)
        };
    }

    /// Takes what arrived.
    pub fn receive(&mut self, now: Time, bytes: &[u8]) {
        self.last = now;
        self.scanner.feed(bytes);
        while let Some(found) = self.scanner.find() {
            match found {
                Found::Damaged => self.control(Control::Resend, 0),
                Found::Frame(Frame::Control { control, id }) => self.controlled(now, control, id),
                Found::Frame(Frame::Data { kind, id, payload }) => {
                    self.data(now, kind, id, payload)
                }
            }
        }
        self.pump(now);
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Time) {
        if self.scanner.waits() && now >= self.last + FRAME_LIMIT {
            self.scanner.skip();
            self.control(Control::Resend, 0);
            self.receive(now, &[]);
        }
        if let Some((_, sent)) = &self.pending
            && now >= *sent + ACK_LIMIT
        {
            self.send_again(now);
        }
        if let Some(sent) = self.resetting
            && now >= sent + RESET_LIMIT
        {
            self.reset(now);
        }
        self.pump(now);
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn deadline(&self) -> Option<Time> {
        let frame = self.scanner.waits().then(|| self.last + FRAME_LIMIT);
        let ack = self.pending.as_ref().map(|(_, sent)| *sent + ACK_LIMIT);
        let reset = self.resetting.map(|sent| sent + RESET_LIMIT);
        [frame, ack, reset].into_iter().flatten().min()
    }

    /// What is to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// What was heard, in order.
    pub fn next_heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    /// Sends a payload to a target that waits for one.
    ///
    /// If the target may not take our ids it is asked to begin again, and repeats what it wanted: then
    /// it is answered. Returns whether the payload goes out.
    pub fn send(&mut self, now: Time, payload: Payload) -> bool {
        if !self.synced {
            self.expected = None;
            self.reset(now);
            return false;
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(payload);
        }
        self.pump(now);
        true
    }

    /// Begins again with a target that is stopped and makes no progress.
    pub fn begin_again(&mut self, now: Time) {
        self.synced = false;
        self.expected = None;
        self.pending = None;
        self.waiting.clear();
        self.reset(now);
    }

    /// Asks a running target to stop.
    pub fn break_in(&mut self) {
        self.out.push(BREAK_IN);
    }

    /// How many payloads were sent more than once.
    pub fn resent(&self) -> u64 {
        self.resent
    }

    fn reset(&mut self, now: Time) {
        self.resetting = Some(now);
        self.control(Control::Reset, 0);
    }

    fn control(&mut self, control: Control, id: u32) {
        self.out.extend(Frame::Control { control, id }.bytes());
    }

    fn controlled(&mut self, now: Time, control: Control, id: u32) {
        match control {
            Control::Ack if id == self.ours && self.pending.is_some() => self.arrived(),
            Control::Ack => {}
            Control::Resend => self.send_again(now),
            Control::Reset => {
                self.ours = INITIAL_ID;
                self.expected = Some(INITIAL_ID);
                self.synced = true;
                self.resetting = None;
                self.pending = None;
                self.waiting.clear();
                self.heard.push_back(Heard::Reset);
            }
        }
    }

    fn data(&mut self, now: Time, kind: u16, id: u32, payload: Vec<u8>) {
        let mut id = id;
        if id & SYNC != 0 {
            id &= !SYNC;
            self.expected = Some(id);
            self.ours = INITIAL_ID;
            self.synced = true;
            self.resetting = None;
            self.pending = None;
            self.waiting.clear();
            self.heard.push_back(Heard::Boot);
        }
        self.control(Control::Ack, id);
        if self.expected.is_some_and(|expected| expected != id) {
            // It has not heard our acknowledgement, and perhaps not our answer.
            self.send_again(now);
            return;
        }
        if self.pending.is_some() {
            if self
                .last_payload
                .as_ref()
                .is_some_and(|(k, p)| *k == kind && *p == payload)
            {
                // It repeats what our frame answers, under another id: whether it took the frame, and
                // which id it takes next, can't be told.
                self.begin_again(now);
                return;
            }
            // It would not speak of something else if it still waited for our frame.
            self.arrived();
        }
        self.expected = Some(id ^ 1);
        self.last_payload = Some((kind, payload.clone()));
        self.heard.push_back(Heard::Payload(kind, payload));
    }

    /// Our frame was taken.
    fn arrived(&mut self) {
        self.pending = None;
        self.ours ^= 1;
    }

    fn send_again(&mut self, now: Time) {
        if let Some((payload, sent)) = &mut self.pending {
            *sent = now;
            self.resent += 1;
            let (kind, payload) = payload.clone();
            self.out.extend(
                Frame::Data {
                    kind,
                    id: self.ours,
                    payload,
                }
                .bytes(),
            );
        }
    }

    fn pump(&mut self, now: Time) {
        if self.pending.is_none()
            && let Some((kind, payload)) = self.waiting.pop_front()
        {
            let frame = Frame::Data {
                kind,
                id: self.ours,
                payload: payload.clone(),
            };
            self.out.extend(frame.bytes());
            self.pending = Some(((kind, payload), now));
        }
    }
}
