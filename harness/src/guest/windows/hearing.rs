//! What comes from the guest, and what is done about it: its kernel, its agent, QEMU, and time.

use std::time::{Duration, Instant};

use misfire_device::trace::What;
use tokio::select;
use tokio::time::sleep_until;

use super::Windows;
use super::course::{Do, Lane, Order, Stage};
use super::orders::Given;
use crate::log::kd::{Bugcheck, Event};
use crate::machine::{Happening, MachineError, Next, line_of};

/// What an error says when the task at the agent's line ended.
pub(super) const DEAF: &str = "who speaks to the agent is gone";
/// How long after the first sign of a crash its stop code may come.
const CODE_LIMIT: Duration = Duration::from_secs(3);

/// What an error says of a system that leaves what it was doing without having crashed.
const RESTARTS: &str = "the system starts again or shuts down by itself, in good order: an update, or a program that asks for it";
const SLEEPS: &str = "the system went to sleep by itself";

/// What came while waiting.
pub(super) enum Came {
    Something,
    Silence,
    /// The machine is gone.
    Gone,
    /// Nobody speaks to the agent any more, so that no order is answered.
    Deaf,
}

impl Windows {
    /// The next line of the kernel or of the harness about it; see [`Machine::next`](crate::machine::Machine::next).
    ///
    /// # Errors
    /// When QEMU fails.
    pub async fn next(&mut self, awaited: &str, deadline: Instant) -> Result<Next, MachineError> {
        loop {
            while let Some(what) = self.course.to_do() {
                self.act(what);
            }
            if let Some(line) = self.lines.pop_front() {
                return Ok(Next::Line(line));
            }
            if let Some(status) = self.left {
                return Ok(Next::Left(status));
            }
            match self.come(deadline).await {
                Came::Something => {}
                Came::Silence => return Ok(Next::Silent),
                Came::Deaf => self.line(format!("MISFIRE: error {DEAF}")),
                Came::Gone => self.left = Some(self.machine.left(awaited).await?),
            }
        }
    }

    /// Takes what comes first.
    pub(super) async fn come(&mut self, deadline: Instant) -> Came {
        let own = self.course.deadline().map(|time| self.begin + time);
        let code = self.panicked.map(|(until, _)| until);
        let until = [own, code]
            .into_iter()
            .flatten()
            .fold(deadline, Instant::min);
        let Self {
            machine,
            answers,
            deaf,
            ..
        } = self;
        let (debugger, qmp) = machine.ends();
        let Some(debugger) = debugger else {
            return Came::Gone;
        };
        select! {
            biased;
            event = debugger.next() => match event {
                Some(event) => self.kernel(&event),
                None => return Came::Gone,
            },
            answer = answers.recv(), if !*deaf => match answer {
                Some((lane, answer)) => {
                    let now = self.now();
                    self.course.answer(now, lane, answer);
                }
                None => {
                    *deaf = true;
                    return Came::Deaf;
                }
            },
            Some(happening) = qmp.happening() => self.happened(happening),
            () = sleep_until(until.into()) => {
                let now = self.now();
                self.course.tick(now);
                self.code_is_late();
                if Instant::now() >= deadline {
                    return Came::Silence;
                }
            }
        }
        Came::Something
    }

    fn kernel(&mut self, event: &Event) {
        self.machine.was_heard();
        self.crashed |= matches!(event, Event::Bugcheck(_));
        let unasked = self.uses_devices() && !self.crashed && self.panicked.is_none();
        let restarts = unasked && matches!(event, Event::Rebooting);
        // The debugger has put it into the journal.
        self.lines.push_back(line_of(event));
        if restarts && !std::mem::replace(&mut self.restarts, true) {
            self.line(format!("MISFIRE: error {RESTARTS}"));
        }
        let now = self.now();
        self.course.kernel(now, event);
    }

    fn uses_devices(&self) -> bool {
        matches!(self.course.stage(), Stage::Device | Stage::Work)
    }

    fn happened(&mut self, happening: Happening) {
        let uses_devices = self.uses_devices();
        self.signs.see(&happening);
        match happening {
            Happening::Panicked(info) if !self.crashed => {
                let until = Instant::now() + CODE_LIMIT;
                self.panicked = Some((until, info));
            }
            Happening::CrashLoaded if !self.crashed && self.panicked.is_none() => {
                self.panicked = Some((Instant::now() + CODE_LIMIT, None));
            }
            // It goes on without the debugger.
            Happening::Reset | Happening::Shutdown if self.panicked.is_some() => {
                self.no_code_comes();
            }
            // A kernel tells its debugger before it starts again in good order.
            Happening::Reset if uses_devices && !self.crashed && !self.restarts => {
                self.left = Some(0);
            }
            Happening::Asleep if uses_devices && !self.crashed => {
                self.line(format!("MISFIRE: error {SLEEPS}"));
            }
            _ => {}
        }
    }

    /// A crash that the debugger has not told of in time.
    fn code_is_late(&mut self) {
        if let Some((until, _)) = self.panicked
            && (self.crashed || Instant::now() >= until)
        {
            self.no_code_comes();
        }
    }

    /// The debugger does not tell of a crash any more of which something else has told.
    pub(super) fn no_code_comes(&mut self) {
        let Some((_, info)) = self.panicked.take() else {
            return;
        };
        if std::mem::replace(&mut self.crashed, true) {
            return;
        }
        let bugcheck = match info {
            Some([code, a, b, c, d]) => Bugcheck::new(code as u32, [a, b, c, d]),
            None => Bugcheck::default(),
        };
        let crash = Event::Bugcheck(bugcheck);
        self.line(line_of(&crash));
        let now = self.now();
        self.course.kernel(now, &crash);
    }

    pub(super) fn act(&mut self, what: Do) {
        match what {
            Do::Order(order, limit) => self.give(Lane::Commands, order, limit),
            Do::Beside(order, limit) => self.give(Lane::Slots, order, limit),
            Do::Line(line) => self.line(line),
            Do::Leave => self.left = Some(0),
            // Both are for `to`; later they have no meaning.
            Do::Plug | Do::Fail(_) => {}
        }
    }

    fn give(&self, lane: Lane, order: Order, limit: Duration) {
        let _ = self.orders.send(Given { lane, order, limit });
    }

    pub(super) fn line(&mut self, line: String) {
        let line = crate::log::harmless(&line);
        // What the guest's programs print of the driver can be understood with a pattern too.
        let is_ours = line.starts_with("MISFIRE: ") || line.starts_with("harness: ");
        let meant = (!is_ours).then(|| self.patterns.translate(&line)).flatten();
        self.journal.record(What::Log { line: line.clone() });
        if let Some(line) = meant {
            self.journal.record(What::Log { line });
        }
        self.lines.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::windows::course::Course;
    use crate::guest::windows::{Image, Setting, WindowsError, WindowsFile};
    use crate::machine::Accel;
    use crate::machine::test_support::found_qemu;
    use misfire_device::port::Journal;
    use tokio::sync::mpsc::unbounded_channel;

    /// A machine in which nothing ever happens, and whose agent nobody speaks to any more.
    async fn deaf(dir: &std::path::Path) -> Windows {
        let file = WindowsFile {
            image: Some(dir.join("disk.img")),
            ..WindowsFile::default()
        };
        let image = Image::own("win11", "dut@1", &file).unwrap();
        let (qemu, setting) = (found_qemu(dir, "hangs"), Setting::default());
        let spec = Windows::spec(&qemu, Accel::Tcg, &image, &setting, Vec::new());
        let course = Course::cold(image.limits, Vec::new(), Vec::new());
        let (journal, limit) = (Journal::unread(), Duration::from_secs(60));
        let launched = Windows::launch(&image, &setting, &spec, course, journal, limit).await;
        let mut windows = launched.unwrap();
        windows.answers = unbounded_channel().1;
        windows
    }

    #[tokio::test]
    async fn that_nobody_is_at_the_agents_line_any_more_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut windows = deaf(dir.path()).await;
        let soon = Instant::now() + Duration::from_millis(100);
        let Next::Line(line) = windows.next("anything", soon).await.unwrap() else {
            panic!("it was not told");
        };
        assert_eq!(line, "MISFIRE: error who speaks to the agent is gone");
        // From then on it is quiet until the time is over.
        let then = windows.next("anything", soon).await.unwrap();
        assert!(matches!(then, Next::Silent));
        windows.end().await.unwrap();
    }

    #[tokio::test]
    async fn on_the_way_it_is_an_error_at_its_stage() {
        let dir = tempfile::tempdir().unwrap();
        let mut windows = deaf(dir.path()).await;
        // It was reset after a crash, so that there is nothing to wait for when it is examined.
        windows.crashed = true;
        windows.signs.see(&Happening::CrashLoaded);
        windows.signs.see(&Happening::Reset);
        let Err(error @ WindowsError::Stage { .. }) = windows.to(Stage::Plug).await else {
            panic!("it came to its end");
        };
        let words = "stage `boot`: who speaks to the agent is gone";
        assert!(error.to_string().starts_with(words), "{error}");
        windows.end().await.unwrap();
    }
}
