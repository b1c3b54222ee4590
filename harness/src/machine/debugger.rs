//! The kernel debugger's line: read and answered by a task of its own, whatever else goes on, since
//! the guest stands still until it is.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use misfire_device::port::Journal;
use misfire_device::trace::What;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::recording::{Recording, Way};
use crate::log::driver::Patterns;
use crate::log::kd::{Client, Event, OnBugcheck};
use crate::log::{StopCode, harmless};

/// How many lines an error shows.
const LAST: usize = 8;
/// The most that a guest may print or load in bytes; what comes after is answered and left out.
const MOST: usize = 16 << 20;
/// The same of what a run goes by: crashes, restarts, signs of life.
const MOST_NEWS: usize = 1 << 20;
/// What each counts beside its text.
const EACH: usize = 64;
/// What is read at a time.
const CHUNK: usize = 64 << 10;
/// The most bytes that wait for a guest that takes none.
const MOST_WAITING: usize = 64 << 10;
/// When there is nothing to do but to read.
const IDLE: Duration = Duration::from_secs(3600);

/// What is asked of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Probe,
    GoOn,
}

/// A headless kernel debugger at a machine's line.
///
/// Each line that a driver prints is in the journal as [`What::Log`] before it can be taken from here,
/// and so is what else the kernel tells, as a line that begins with `kd: `. A crash is the line
/// `MISFIRE: crash 0xD1 DRIVER_IRQL_NOT_LESS_OR_EQUAL (…)`. This is where a driver's words enter the
/// log: what they mean is for [`Said`](crate::log::Said).
#[derive(Debug)]
pub struct Debugger {
    events: mpsc::UnboundedReceiver<Event>,
    orders: mpsc::UnboundedSender<Order>,
    last: VecDeque<String>,
}

impl Debugger {
    /// Reads and answers `stream`. `late`: the guest runs already, or is restored from a state. A guest
    /// that crashes stays stopped until [`Debugger::go_on`].
    ///
    /// # Errors
    /// When the stream can't be used asynchronously.
    pub fn open(
        stream: StdUnixStream,
        late: bool,
        journal: Arc<Journal>,
        listening: Listening,
    ) -> io::Result<Self> {
        Self::open_bounded(stream, late, journal, listening, [MOST, MOST_NEWS])
    }

    fn open_bounded(
        stream: StdUnixStream,
        late: bool,
        journal: Arc<Journal>,
        listening: Listening,
        left: [usize; 2],
    ) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        let (tell, events) = mpsc::unbounded_channel();
        let (orders, to_do) = mpsc::unbounded_channel();
        let task = Task {
            client: Client::new(late, OnBugcheck::Stop),
            begin: Instant::now(),
            journal,
            listening,
            tell,
            left: left.map(Some),
        };
        tokio::spawn(task.listen(stream, to_do));
        Ok(Self {
            events,
            orders,
            last: VecDeque::with_capacity(LAST),
        })
    }

    /// What the kernel tells next; `None` when the machine is gone and everything was taken. Nothing is
    /// lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await?;
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line_of(&event));
        Some(event)
    }

    /// Asks a running kernel for a sign of life, which comes as [`Event::Alive`].
    pub fn probe(&self) {
        let _ = self.orders.send(Order::Probe);
    }

    /// Lets a kernel that stands still in a crash go on to its dump.
    pub fn go_on(&self) {
        let _ = self.orders.send(Order::GoOn);
    }

    /// The last lines that were taken, oldest first.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

/// What is done with what goes over a machine's lines, beside hearing it.
#[derive(Clone, Debug, Default)]
pub struct Listening {
    /// It is kept, byte for byte.
    pub recording: Option<Recording>,
    /// What lines of the driver's own mean: the line that says the same comes after each in the journal.
    pub patterns: Arc<Patterns>,
}

/// The line that an event is in a log.
pub fn line_of(event: &Event) -> String {
    let text = match event {
        Event::Bugcheck(bugcheck) => {
            // The code has its name already in what follows.
            let code = StopCode(bugcheck.code.unwrap_or(0));
            let all = bugcheck.to_string();
            let rest = all.strip_prefix(&code.to_string()).unwrap_or(&all).trim();
            format!("MISFIRE: crash {code} {rest}")
        }
        event => event.to_string(),
    };
    harmless(&text)
}

/// Whether a run goes by it, however much was printed before.
fn is_news(event: &Event) -> bool {
    match event {
        Event::Booted
        | Event::Kernel { .. }
        | Event::Bugcheck(_)
        | Event::Stopped
        | Event::Alive
        | Event::Rebooting => true,
        Event::Line { .. }
        | Event::Loaded(_)
        | Event::Unloaded(_)
        | Event::FileAsked(_)
        | Event::Assertion { .. }
        | Event::Question { .. }
        | Event::Exception { .. } => false,
    }
}

/// The line in the place of what is left out.
fn cut(most: usize) -> String {
    let most = most >> 20;
    format!("[the kernel told its debugger more than {most} MiB; the rest is left out]")
}

struct Task {
    client: Client,
    begin: Instant,
    journal: Arc<Journal>,
    listening: Listening,
    tell: mpsc::UnboundedSender<Event>,
    /// Bytes that are still kept of what is printed and loaded, and of what a run goes by; none: it is cut.
    left: [Option<usize>; 2],
}

impl Task {
    async fn listen(mut self, stream: UnixStream, mut orders: mpsc::UnboundedReceiver<Order>) {
        let (mut reader, mut writer) = stream.into_split();
        let mut chunk = vec![0; CHUNK];
        let mut output = Vec::new();
        loop {
            let deadline = self.client.deadline();
            let until = self.begin + deadline.unwrap_or(self.begin.elapsed() + IDLE);
            select! {
                biased;
                read = reader.read(&mut chunk) => match read {
                    Ok(length @ 1..) => {
                        self.keep(Way::From, &chunk[..length]);
                        self.client.receive(self.begin.elapsed(), &chunk[..length]);
                    }
                    _ => break,
                },
                written = writer.write(&output), if !output.is_empty() => match written {
                    Ok(length) => drop(output.drain(..length)),
                    Err(_) => break,
                },
                Some(order) = orders.recv() => match order {
                    Order::Probe => self.client.probe(),
                    Order::GoOn => self.client.go_on(self.begin.elapsed()),
                },
                () = sleep_until(until.into()) => self.client.tick(self.begin.elapsed()),
            }
            let said = self.client.take_output();
            // A guest that takes nothing is read all the same. What it missed is said again.
            if output.len() > MOST_WAITING {
                output.clear();
            }
            output.extend(&said);
            // First the answer, in one piece: the guest stands still until it has it.
            if let Ok(length) = writer.try_write(&output) {
                output.drain(..length);
            }
            self.keep(Way::To, &said);
            self.events();
        }
        self.client.end();
        self.events();
    }

    fn keep(&self, way: Way, bytes: &[u8]) {
        if let Some(recording) = &self.listening.recording {
            recording.keep("com1", way, bytes);
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.client.next_event() {
            let line = line_of(&event);
            let is_text = matches!(event, Event::Line { .. });
            let (left, most) = match is_news(&event) {
                false => (&mut self.left[0], MOST),
                true => (&mut self.left[1], MOST_NEWS),
            };
            let Some(rest) = *left else {
                continue;
            };
            *left = rest.checked_sub(line.len() + EACH);
            if left.is_none() {
                self.journal.record(What::Log { line: cut(most) });
                continue;
            }
            let meant = is_text.then(|| self.listening.patterns.translate(&line));
            self.journal.record(What::Log { line });
            if let Some(line) = meant.flatten() {
                self.journal.record(What::Log { line });
            }
            // The machine may have been dropped; the journal has the line.
            let _ = self.tell.send(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::driver::Pattern;
    use crate::log::kd::frame::{Frame, kind};
    use crate::log::kd::{Bugcheck, Module};
    use std::io::{Read as _, Write as _};

    fn print(id: u32, text: &str) -> Vec<u8> {
        let mut payload = 0x3230u32.to_le_bytes().to_vec();
        payload.extend([6, 0, 0, 0]);
        payload.extend((text.len() as u32).to_le_bytes());
        payload.extend([0; 4]);
        payload.extend(text.as_bytes());
        let kind = kind::DEBUG_IO;
        Frame::Data { kind, id, payload }.bytes()
    }

    #[tokio::test]
    async fn what_a_driver_prints_is_acknowledged_recorded_and_in_the_journal() {
        let (sender, journalled) = std::sync::mpsc::channel();
        let journal = Journal::new(Box::new(move |event| {
            let _ = sender.send(event.what);
        }));
        let dir = tempfile::tempdir().unwrap();
        let recording = Recording::open(dir.path()).unwrap();
        let (ours, mut its) = StdUnixStream::pair().unwrap();
        let pattern = Pattern::new("^INT: MSI .*x$", "line").unwrap();
        let listening = Listening {
            recording: Some(recording),
            patterns: Arc::new(Patterns::new(vec![pattern])),
        };
        let mut debugger = Debugger::open(ours, false, journal, listening).unwrap();
        let target = tokio::task::spawn_blocking(move || {
            let mut acknowledgement = [0; 16];
            for (id, text) in [(0x8080_0800, "INT: MSI \x1b[2J"), (0x8080_0001, "x\n")] {
                its.write_all(&print(id, text)).unwrap();
                its.read_exact(&mut acknowledgement).unwrap();
            }
        });
        assert_eq!(debugger.next().await, Some(Event::Booted));
        assert!(matches!(debugger.next().await, Some(Event::Line { .. })));
        assert_eq!(debugger.next().await, None);
        target.await.unwrap();
        let lines: Vec<What> = journalled.try_iter().collect();
        let line = "INT: MSI \u{241b}[2Jx".to_owned();
        assert_eq!(lines[1], What::Log { line: line.clone() });
        let meant = "MISFIRE-LOG pattern resource kind=line raw level=0".to_owned();
        assert_eq!(lines[2..], [What::Log { line: meant }]);
        assert_eq!(debugger.last(), ["kd: booted", &line]);
        let text = std::fs::read_to_string(dir.path().join("com1.hex")).unwrap();
        let pieces = Recording::read(&text);
        let said: Vec<u8> = pieces
            .iter()
            .filter(|piece| piece.1 == Way::From)
            .flat_map(|piece| piece.2.clone())
            .collect();
        assert_eq!(
            said,
            [
                print(0x8080_0800, "INT: MSI \x1b[2J"),
                print(0x8080_0001, "x\n")
            ]
            .concat()
        );
    }

    #[tokio::test]
    async fn a_kernel_that_tells_without_an_end_is_answered_and_left_out_but_for_its_crash() {
        let (sender, journalled) = std::sync::mpsc::channel();
        let journal = Journal::new(Box::new(move |event| {
            let _ = sender.send(event.what);
        }));
        let (ours, mut its) = StdUnixStream::pair().unwrap();
        let listening = Listening::default();
        // Each empty line counts too, and what comes with the text of a crash is no line.
        let left = [3 * EACH, 2 * (EACH + 100)];
        let mut debugger = Debugger::open_bounded(ours, false, journal, listening, left).unwrap();
        let target = tokio::task::spawn_blocking(move || {
            let mut acknowledgement = [0; 16];
            let mut id = 0x8080_0800;
            for _ in 0..9 {
                its.write_all(&print(id, "\n")).unwrap();
                its.read_exact(&mut acknowledgement).unwrap();
                id = (id & !0x800) ^ 1;
            }
            // It boots again and again.
            for _ in 0..9 {
                its.write_all(&print(0x8080_0800, "\n")).unwrap();
                its.read_exact(&mut acknowledgement).unwrap();
            }
        });
        let mut told = Vec::new();
        while let Some(event) = debugger.next().await {
            told.push(event);
        }
        target.await.unwrap();
        let lines = told.iter().filter(|e| matches!(e, Event::Line { .. }));
        let boots = told.iter().filter(|e| **e == Event::Booted);
        assert_eq!((lines.count(), boots.count()), (3, 4), "{told:?}");
        let is_cut = |what: &What| matches!(what, What::Log { line } if *line == cut(MOST));
        let cut_news = |what: &What| matches!(what, What::Log { line } if *line == cut(MOST_NEWS));
        let journalled: Vec<What> = journalled.try_iter().collect();
        assert_eq!(journalled.iter().filter(|what| is_cut(what)).count(), 1);
        assert_eq!(journalled.iter().filter(|what| cut_news(what)).count(), 1);
        assert_eq!(journalled.len(), 9, "{journalled:?}");
    }

    #[test]
    fn a_crash_is_a_line_for_the_harness_with_code_name_and_parameters() {
        let mut bugcheck = Bugcheck::new(0xd1, [0x28, 2, 0, 0xffff_f805_5000_01a4]);
        bugcheck.driver = Some("dut.sys".into());
        assert_eq!(
            line_of(&Event::Bugcheck(bugcheck)),
            "MISFIRE: crash 0xD1 DRIVER_IRQL_NOT_LESS_OR_EQUAL (0x28, 0x2, 0x0, 0xfffff805500001a4) \
             in dut.sys"
        );
        assert_eq!(
            line_of(&Event::Bugcheck(Bugcheck::default())),
            "MISFIRE: crash 0x0 without a stop code"
        );
        let module = Module {
            path: "\\SystemRoot\\dut.sys".into(),
            base: 0x1000,
            size: 0x200,
        };
        assert_eq!(
            line_of(&Event::Loaded(module)),
            "kd: loaded \\SystemRoot\\dut.sys 0x1000 0x200"
        );
    }
}
