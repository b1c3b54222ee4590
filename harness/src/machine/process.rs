//! QEMU as a process that leaves nothing behind.
//!
//! * It leads a process group, which is killed when [`Process`] is dropped, and by the kill timer.
//! * The kernel kills it when the thread that started it ends. That thread is one of our own that ends
//!   only with us, so QEMU goes when we are killed, and not before.
//! * It has no path of its own: its sockets and its kernel are inherited descriptors.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::kill_timer::KillTimer;

/// How much of QEMU's messages is kept, in bytes: as much of the beginning and of the end each.
const MESSAGES: usize = 4096;

/// A child process and its descendants.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Pid,
    timer: KillTimer,
    limit: Duration,
    messages: Arc<Mutex<Messages>>,
    reader: Option<JoinHandle<()>>,
    gone: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exit(i32),
    /// By a signal of somebody else.
    Signal(i32),
    /// By the kill timer, after this time.
    TimeLimit(Duration),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "ended with exit status {code}"),
            Self::Signal(signal) => write!(f, "was killed by signal {signal}"),
            Self::TimeLimit(limit) => write!(
                f,
                "was killed when its time limit of {} s was over",
                limit.as_secs_f64()
            ),
        }
    }
}

impl Process {
    /// Starts `argv` with the descriptors `fds` at the numbers beside them; it is killed after `limit`.
    ///
    /// # Errors
    /// When the program can't be started.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub fn start(argv: &[OsString], fds: Vec<(OwnedFd, i32)>, limit: Duration) -> io::Result<Self> {
        let [program, args @ ..] = argv else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an empty argument vector",
            ));
        };
        let deadline = Instant::now() + limit;
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mappings = fds
            .into_iter()
            .map(|(parent_fd, child_fd)| FdMapping {
                parent_fd,
                child_fd,
            })
            .collect();
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        die_with_parent(&mut command);
        let runtime = tokio::runtime::Handle::current();
        let mut child = on_lasting_thread(move || {
            let _in_runtime = runtime.enter();
            command.spawn()
        })??;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let group = pid
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the child has no process id"))?;
        let timer = KillTimer::arm(group, deadline)?;
        let messages = Arc::<Mutex<Messages>>::default();
        let reader = child
            .stderr
            .take()
            .map(|stderr| tokio::spawn(read_messages(stderr, Arc::clone(&messages))));
        Ok(Self {
            child,
            group,
            timer,
            limit,
            messages,
            reader,
            gone: false,
        })
    }

    /// Its process id, which is its process group too.
    pub fn id(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Waits for its end; nothing of its group is left then.
    ///
    /// # Errors
    /// Those of waiting for a child.
    pub async fn wait(&mut self) -> io::Result<Ended> {
        let status = self.child.wait().await?;
        self.timer.disarm();
        self.kill();
        self.gone = true;
        if let Some(reader) = self.reader.take() {
            // With the group killed nobody holds the other end; a task that was aborted read enough.
            let _ = reader.await;
        }
        Ok(self.ended(status))
    }

    /// Kills it and waits for its end.
    ///
    /// # Errors
    /// Those of waiting for a child.
    pub async fn end(&mut self) -> io::Result<Ended> {
        self.kill();
        self.wait().await
    }

    /// What it wrote to its standard error, shortened in the middle.
    pub fn messages(&self) -> String {
        lock(&self.messages).text()
    }

    fn kill(&self) {
        // After `wait` the number can belong to somebody else.
        if self.gone {
            return;
        }
        // A group that is gone is what is wanted.
        let _ = kill_process_group(self.group, Signal::KILL);
    }

    fn ended(&self, status: ExitStatus) -> Ended {
        if self.timer.fired() {
            return Ended::TimeLimit(self.limit);
        }
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exit(code),
            (None, signal) => Ended::Signal(signal.unwrap_or(0)),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Does `job` on a thread that ends only with us.
fn on_lasting_thread<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    type Job = Box<dyn FnOnce() + Send>;
    static JOBS: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let jobs = JOBS.get_or_init(|| {
        let (jobs, to_do) = mpsc::channel::<Job>();
        let work = move || to_do.into_iter().for_each(|job| job());
        // Without the thread the jobs have no receiver, which is found out below.
        let _ = thread::Builder::new().name("starter".into()).spawn(work);
        jobs
    });
    let (done, result) = mpsc::sync_channel(1);
    let job = move || {
        let _ = done.send(job());
    };
    let gone = || io::Error::other("there is no thread to start processes from");
    jobs.send(Box::new(job)).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())
}

/// Has the kernel kill the child when the thread that starts it ends, in whatever way.
fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let ask = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(parent) {
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::SRCH.raw_os_error(),
            ));
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe system calls are made, and nothing is
    // allocated or locked.
    unsafe { command.pre_exec(ask) };
}

async fn read_messages(mut from: impl AsyncRead + Unpin, to: Arc<Mutex<Messages>>) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        lock(&to).push(&buffer[..length]);
    }
}

fn lock(messages: &Mutex<Messages>) -> std::sync::MutexGuard<'_, Messages> {
    messages.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Messages {
    first: Vec<u8>,
    last: std::collections::VecDeque<u8>,
    left_out: usize,
}

impl Messages {
    fn push(&mut self, bytes: &[u8]) {
        let room = MESSAGES - self.first.len();
        let (first, rest) = bytes.split_at(bytes.len().min(room));
        self.first.extend_from_slice(first);
        self.last.extend(rest);
        let surplus = self.last.len().saturating_sub(MESSAGES);
        self.last.drain(..surplus);
        self.left_out += surplus;
    }

    fn text(&self) -> String {
        let mut bytes = self.first.clone();
        if self.left_out > 0 {
            bytes.extend_from_slice(format!("\n[{} bytes left out]\n", self.left_out).as_bytes());
        }
        bytes.extend(&self.last);
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::test_support::{fake_qemu, gone, read_when_there};
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    const LONG: Duration = Duration::from_secs(60);

    fn start(
        dir: &std::path::Path,
        name: &str,
        limit: Duration,
    ) -> (Process, UnixStream, std::path::PathBuf) {
        let program = fake_qemu(dir, name);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let process =
            Process::start(&[program.clone().into()], vec![(theirs.into(), 3)], limit).unwrap();
        (process, ours, program)
    }

    fn line(from: &mut UnixStream) {
        from.read_exact(&mut [0; 7]).unwrap();
    }

    #[tokio::test]
    async fn the_kill_timer_ends_what_ignores_every_signal() {
        let dir = tempfile::tempdir().unwrap();
        let limit = Duration::from_millis(200);
        let (mut process, _console, _) = start(dir.path(), "deaf", limit);
        let ended = process.wait().await.unwrap();
        assert_eq!(ended, Ended::TimeLimit(limit));
        assert_eq!(
            ended.to_string(),
            "was killed when its time limit of 0.2 s was over"
        );
    }

    #[tokio::test]
    async fn what_the_process_started_is_gone_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut process, mut console, program) = start(dir.path(), "hangs", LONG);
        line(&mut console);
        let child = read_when_there(&program.with_extension("child"));
        assert_eq!(process.end().await.unwrap(), Ended::Signal(9));
        assert!(gone(child));
    }

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let asking = thread::scope(|scope| {
            let ask = || {
                let _in_runtime = runtime.enter();
                start(dir.path(), "hangs", LONG)
            };
            scope.spawn(ask).join().unwrap()
        });
        let (mut process, mut console, program) = asking;
        line(&mut console);
        read_when_there(&program.with_extension("child"));
        assert_eq!(process.child.try_wait().unwrap(), None);
        assert_eq!(runtime.block_on(process.end()).unwrap(), Ended::Signal(9));
    }

    #[tokio::test]
    async fn a_process_that_is_dropped_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (process, mut console, program) = start(dir.path(), "hangs", LONG);
        line(&mut console);
        let (child, id) = (
            read_when_there(&program.with_extension("child")),
            process.id(),
        );
        drop(process);
        // Its end of the console closes when the last of the group is gone.
        assert_eq!(console.read(&mut [0; 7]).unwrap(), 0);
        assert!(gone(child));
        assert!(gone(id));
    }

    #[tokio::test]
    async fn a_process_killed_from_outside_is_told_from_one_that_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (mut process, mut console, program) = start(dir.path(), "hangs", LONG);
        line(&mut console);
        let child = read_when_there(&program.with_extension("child"));
        let id = Pid::from_raw(process.id()).unwrap();
        rustix::process::kill_process(id, Signal::KILL).unwrap();
        assert_eq!(process.wait().await.unwrap(), Ended::Signal(9));
        assert!(gone(child));
        let (mut process, _console, _) = start(dir.path(), "refuses", LONG);
        assert_eq!(process.wait().await.unwrap(), Ended::Exit(1));
        assert_eq!(process.messages(), "fake: no such device");
    }

    #[tokio::test]
    async fn of_endless_messages_the_first_and_the_last_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (mut process, _console, _) = start(dir.path(), "chatters", LONG);
        process.wait().await.unwrap();
        let messages = process.messages();
        assert!(messages.len() < 2 * MESSAGES + 40, "{}", messages.len());
        assert!(messages.starts_with(
            "first
"
        ));
        assert!(messages.ends_with(
            "
last"
        ));
        assert!(messages.contains("bytes left out"));
    }
}
