//! What is done with a target that is stopped: it is told to go on as soon as everything is known.

use super::bugcheck::Bugcheck;
use super::client::{Client, Event, OnBugcheck};
use super::link::Time;
use super::packet::{
    self, ASSERTION, Answer, BREAKPOINT, CONTINUE, Exception, Machine, NOT_HANDLED, SINGLE_STEP,
};

/// `DBG_STATUS_BUGCHECK_FIRST`, `DBG_STATUS_BUGCHECK_SECOND`: why the kernel broke in.
const BUGCHECK_FIRST: u64 = 3;
const BUGCHECK_SECOND: u64 = 4;

/// What a request was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Version,
    /// Why the kernel broke in.
    Reason,
    /// The pointer to the debugger's data block.
    DataList,
    /// The block.
    Block,
    /// The stop code and its parameters.
    Fatal,
    /// Leave to write the context.
    Context,
    /// The instruction pointer moved.
    Moved,
}

/// A stopped target.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub(super) cpu: u16,
    pub(super) exception: Option<Exception>,
    pub(super) asked: Option<Question>,
    /// Waits for the host.
    pub(super) held: bool,
    /// Whether the reason was told.
    pub(super) told: bool,
}

impl Client {
    pub(super) fn stopped(&mut self, now: Time, cpu: u16, exception: Option<Exception>) {
        // One that repeats itself has told its reason.
        let told = self
            .stop
            .as_ref()
            .is_some_and(|stop| stop.exception == exception && stop.told);
        self.stop = Some(Stop {
            cpu,
            exception,
            asked: None,
            held: false,
            told,
        });
        self.resume(now);
    }

    /// Does the next thing that a stopped target needs.
    fn resume(&mut self, now: Time) {
        let Some(stop) = &self.stop else { return };
        let cpu = stop.cpu;
        if self.version.is_none() {
            return self.ask(now, Question::Version, packet::get_version(cpu));
        }
        let Some(exception) = stop.exception.clone() else {
            return self.leave(now, CONTINUE);
        };
        if stop.told {
            return self.step_over(now);
        }
        match exception.code {
            BREAKPOINT => match self.fatal.take() {
                Some(bugcheck) => self.crashed(now, bugcheck),
                None if self.probing => {
                    self.probing = false;
                    self.tell(Event::Alive);
                    self.step_over(now);
                }
                None => {
                    let (offset, length) = self.machine.break_status();
                    self.ask(
                        now,
                        Question::Reason,
                        packet::get_context(cpu, offset, length),
                    );
                }
            },
            _ => {
                self.exception(exception);
                self.step_over(now);
            }
        }
    }

    fn tell(&mut self, event: Event) {
        if let Some(stop) = &mut self.stop {
            stop.told = true;
        }
        self.events.push_back(event);
    }

    fn exception(&mut self, exception: Exception) {
        let place = self.modules.place(exception.address);
        if exception.code == ASSERTION {
            let at = place.unwrap_or_else(|| format!("{:#x}", exception.address));
            let (cpu, text) = (exception.cpu, format!("NT_ASSERT at {at}"));
            return self.tell(Event::Assertion { cpu, text });
        }
        self.tell(Event::Exception { exception, place });
    }

    fn crashed(&mut self, now: Time, mut bugcheck: Bugcheck) {
        self.flush();
        bugcheck.name_places(&self.modules);
        self.tell(Event::Bugcheck(bugcheck));
        match self.on_bugcheck {
            OnBugcheck::GoOn => self.step_over(now),
            OnBugcheck::Stop => {
                if let Some(stop) = &mut self.stop {
                    stop.held = true;
                }
                self.events.push_back(Event::Stopped);
            }
        }
    }

    fn ask(&mut self, now: Time, question: Question, payload: packet::Payload) {
        let goes = self.link.send(now, payload);
        if let Some(stop) = &mut self.stop {
            stop.asked = goes.then_some(question);
        }
    }

    fn leave(&mut self, now: Time, status: u32) {
        let cpu = self.stop.as_ref().map_or(0, |stop| stop.cpu);
        if self
            .link
            .send(now, packet::go_on(self.machine, cpu, status))
        {
            self.stop = None;
        }
    }

    /// Lets the target go on behind the instruction that stopped it.
    pub(super) fn step_over(&mut self, now: Time) {
        let Some(stop) = &self.stop else { return };
        let status = match stop.exception.as_ref().map(|e| e.code) {
            None | Some(SINGLE_STEP) => CONTINUE,
            Some(BREAKPOINT | ASSERTION) if self.skipped() > 0 => {
                let (offset, length) = self.machine.instruction_pointer();
                let question = packet::get_context(stop.cpu, offset, length);
                return self.ask(now, Question::Context, question);
            }
            Some(BREAKPOINT | ASSERTION) => CONTINUE,
            Some(_) => NOT_HANDLED,
        };
        self.leave(now, status);
    }

    /// How many bytes the instruction has that stopped the target; 0 if it is none that would stop it
    /// again.
    fn skipped(&self) -> u64 {
        let exception = self.stop.as_ref().and_then(|stop| stop.exception.as_ref());
        let code = exception.map(|e| match self.machine {
            Machine::Amd64 => &e.code_bytes,
            Machine::X86 => &e.code_bytes_x86,
        });
        match code.map(Vec::as_slice) {
            Some([0xcc, ..]) => 1,
            Some([0xcd, 0x2c, ..]) => 2,
            _ => 0,
        }
    }

    pub(super) fn answered(&mut self, now: Time, answer: &Answer) {
        let Some(stop) = &mut self.stop else { return };
        let Some(question) = stop.asked.take() else {
            return;
        };
        let cpu = stop.cpu;
        let good = answer.status == 0;
        match question {
            Question::Version => {
                let version = answer.version();
                self.version = Some(version.map_or(0, |v| v.data_list));
                if let Some(version) = version {
                    self.machine = version.machine.unwrap_or_default();
                    let (build, base) = (version.build, version.base);
                    self.events.push_back(Event::Kernel { build, base });
                }
                self.resume(now);
            }
            Question::Reason => {
                let reason = if good { number(&answer.data) } else { 0 };
                match reason {
                    BUGCHECK_FIRST if self.version.is_some_and(|list| list != 0) => {
                        let list = self.version.unwrap_or(0);
                        self.ask(now, Question::DataList, packet::read_memory(cpu, list, 8));
                    }
                    BUGCHECK_FIRST => self.crashed(now, Bugcheck::default()),
                    // It was told at the first; the target would come back here for ever.
                    BUGCHECK_SECOND => {
                        if let Some(stop) = &mut self.stop {
                            (stop.held, stop.told) = (true, true);
                        }
                        self.events.push_back(Event::Stopped);
                    }
                    _ => {
                        if let Some(exception) = stop.exception.clone() {
                            self.exception(exception);
                        }
                        self.step_over(now);
                    }
                }
            }
            Question::DataList if good => {
                let block = number(&answer.data);
                self.ask(now, Question::Block, packet::read_memory(cpu, block, 0x90));
            }
            Question::Block if good && answer.data.get(0x10..0x14) == Some(b"KDBG") => {
                let data = number(answer.data.get(0x88..).unwrap_or_default());
                self.ask(now, Question::Fatal, packet::read_memory(cpu, data, 40));
            }
            Question::Fatal if good => {
                let values: Vec<u64> = answer.data.chunks_exact(8).map(number).collect();
                let bugcheck = match values[..] {
                    [code, a, b, c, d] => Bugcheck::new(code as u32, [a, b, c, d]),
                    _ => Bugcheck::default(),
                };
                self.crashed(now, bugcheck);
            }
            Question::DataList | Question::Block | Question::Fatal => {
                self.crashed(now, Bugcheck::default());
            }
            Question::Context => {
                let counter = stop.exception.as_ref().map_or(0, |e| e.counter);
                let next = counter.wrapping_add(self.skipped()).to_le_bytes();
                let (offset, length) = self.machine.instruction_pointer();
                let moved = packet::set_context(cpu, offset, &next[..length as usize]);
                self.ask(now, Question::Moved, moved);
            }
            Question::Moved => self.leave(now, CONTINUE),
        }
    }
}

/// A number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    let mut out = [0; 8];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(out)
}
