//! Serving our backend to a frontend over vhost-user.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use vhost::vhost_user::Listener;
use vhost::vhost_user::message::FrontendReq;
use vhost_user_backend::VhostUserDaemon;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::died::Died;
use super::disk::{self, DiskError};
use super::run_dir::RunDir;
use super::session::{Lasting, Session};
use super::wire::{carry_messages, carry_replies, tell_config_change};
use crate::backend::{Block, Configuration, Console, Device, Entropy, Net, Observer, Scsi};
use crate::shape::{Kind, MAX_OWN_QUEUES, Shape};
use crate::spec::BlkConfig;
use crate::trace::{Effect, Host};

/// Where the bytes of an entropy device come from: each run has the same.
const RANDOM_SEED: u64 = 0x6d69_7366_6972_6521;
/// How long a worker may take to begin.
const WORKER_START: Duration = Duration::from_secs(10);

/// A backend can't be served.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// What is behind the disk can't be opened.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The socket can't be bound.
    #[error("the socket {} can't be served", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There are too many queues for one worker.
    #[error("{0} queues: a vhost-user backend serves {MAX_OWN_QUEUES} at most")]
    Queues(u16),
    /// The operating system refused an eventfd or a thread.
    #[error("the operating system refused what serving a backend needs")]
    Os(#[source] io::Error),
}

/// Our backend, served by threads of this process to one frontend after the other, until it is
/// dropped.
pub struct Backend {
    shared: Arc<Shared>,
    socket: PathBuf,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    lasting: Arc<Lasting>,
    now: Mutex<Now>,
}

/// The connection of the moment.
#[derive(Default)]
struct Now {
    session: Weak<Session>,
    /// On which the backend may speak first.
    channel: Option<UnixStream>,
    /// Closing it ends the connection.
    wire: Option<UnixStream>,
    ended: bool,
}

impl Shared {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an observer that raises interrupts acts on.
#[derive(Clone)]
pub struct Handle(Weak<Shared>);

impl Handle {
    /// Raises the interrupt of a queue, if a frontend is there and gave a way to do so.
    pub fn call(&self, queue: u16) {
        let session = self.0.upgrade().and_then(|s| s.now().session.upgrade());
        if let Some(session) = session
            && let Some(ring) = session.rings().get(usize::from(queue))
        {
            ring.call();
        }
    }

    /// Passes a command of the host on.
    pub fn command(&self, host: &Host) {
        if let Some(shared) = self.0.upgrade() {
            shared.command(host);
        }
    }

    /// Writes into the used ring of a queue. Returns whether the driver wants an interrupt.
    pub fn write_used(&self, queue: u16, effects: &[Effect]) -> bool {
        let session = self.0.upgrade().and_then(|s| s.now().session.upgrade());
        session.is_some_and(|session| session.write_used(queue, effects))
    }

    /// Takes a new configuration over.
    pub fn configure(&self, configuration: Configuration) {
        if let Some(shared) = self.0.upgrade() {
            shared.configure(configuration);
        }
    }

    /// Tells the frontend that the configuration changed.
    pub fn announce(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.announce();
        }
    }
}

impl Shared {
    fn configure(&self, configuration: Configuration) {
        self.lasting.device().configure(configuration);
        self.wake();
    }

    fn command(&self, host: &Host) {
        self.lasting.device().command(host);
        self.wake();
    }

    /// Lets the worker look at what the device woke.
    fn wake(&self) {
        let session = self.now().session.upgrade();
        if let Some(session) = session {
            session.wake();
        }
    }

    fn announce(&self) {
        if let Some(channel) = &self.now().channel
            && let Err(error) = tell_config_change(channel)
        {
            log::warn!("the frontend can't be told of a configuration change: {error}");
        }
    }
}

impl Backend {
    /// Listens on `socket` and serves a virtio device of this shape there.
    ///
    /// # Errors
    /// When its disk can't be opened or the socket can't be bound.
    pub fn start(
        shape: &Shape,
        socket: &Path,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, BackendError> {
        Self::serve(shape, device(shape)?, socket, observer)
    }

    fn serve(
        shape: &Shape,
        device: Box<dyn Device>,
        socket: &Path,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, BackendError> {
        if !(1..=MAX_OWN_QUEUES).contains(&shape.queues) {
            return Err(BackendError::Queues(shape.queues));
        }
        let bound = UnixListener::bind(socket).map_err(|source| BackendError::Socket {
            path: socket.to_owned(),
            source,
        })?;
        let shared = Arc::new(Shared {
            lasting: Arc::new(Lasting {
                shape: shape.clone(),
                device: Mutex::new(device),
                observer,
                died: OnceLock::new(),
            }),
            now: Mutex::default(),
        });
        let stop = Arc::new(EventFd::new(EFD_NONBLOCK).map_err(BackendError::Os)?);
        let (accepting, stopped) = (Arc::clone(&shared), Arc::clone(&stop));
        let thread = thread::Builder::new()
            .name("vhost-user".into())
            .spawn(move || accept(&accepting, &bound, &stopped))
            .map_err(BackendError::Os)?;
        Ok(Self {
            shared,
            socket: socket.to_owned(),
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The virtio features it offers, without those of the transport.
    pub fn features(&self) -> u64 {
        self.shared.lasting.device().features()
    }

    /// Its configuration now.
    pub fn configuration(&self) -> Configuration {
        *self.shared.lasting.device().configuration()
    }

    /// The bytes of its configuration now.
    pub fn config(&self) -> Vec<u8> {
        self.configuration().bytes().to_vec()
    }

    /// Gives the disk another size, in sectors of 512 bytes, and tells the frontend.
    pub fn resize(&self, sectors: u64) {
        let mut configuration = self.configuration();
        configuration.put(BlkConfig::Capacity, sectors);
        self.configure(configuration);
    }

    /// Takes a new configuration over and tells the frontend.
    pub fn configure(&self, configuration: Configuration) {
        self.shared.configure(configuration);
        self.shared.announce();
    }

    /// Passes a command of the host on.
    pub fn command(&self, host: &Host) {
        self.shared.command(host);
    }

    /// What an observer acts on.
    pub fn handle(&self) -> Handle {
        Handle(Arc::downgrade(&self.shared))
    }

    /// What of it panicked, if something did.
    pub fn died(&self) -> Option<Died> {
        self.shared.lasting.died.get().cloned()
    }

    /// Ends the connection and the serving, and removes the socket.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        // Full means that it is told already.
        let _ = self.stop.write(1);
        let mut now = self.shared.now();
        now.ended = true;
        if let Some(wire) = &now.wire {
            let _ = wire.shutdown(std::net::Shutdown::Both);
        }
        drop(now);
        if thread.join().is_err() {
            log::error!("the backend's thread panicked");
        }
        // Somebody may have removed it before.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// A virtio device of this shape, with what is behind it.
fn device(shape: &Shape) -> Result<Box<dyn Device>, DiskError> {
    Ok(match shape.kind {
        Kind::Block | Kind::Scsi => {
            let (file, sectors) = disk::open(shape)?;
            let name = shape
                .file
                .as_deref()
                .and_then(Path::file_name)
                .and_then(|name| name.to_str())
                .unwrap_or("misfire");
            let file = Box::new(file);
            if shape.kind == Kind::Scsi {
                Box::new(Scsi::new(shape, sectors, name, file))
            } else {
                Box::new(Block::new(shape, sectors, name, file))
            }
        }
        // A port-card has no backend.
        Kind::Rng | Kind::PortCard => Box::new(Entropy::new(shape, RANDOM_SEED)),
        Kind::Net => Box::new(Net::new(shape)),
        Kind::Console => Box::new(Console::new(shape)),
    })
}

/// Serves one frontend after the other.
fn accept(shared: &Arc<Shared>, listener: &UnixListener, stop: &EventFd) {
    loop {
        let mut ready = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::from_borrowed_fd(borrow(stop), PollFlags::IN),
        ];
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if !ready[1].revents().is_empty() {
            return;
        }
        let result = listener
            .accept()
            .and_then(|(frontend, _)| connection(shared, frontend));
        if let Err(error) = result {
            log::warn!("a vhost-user connection ended: {error}");
        }
    }
}

fn borrow(fd: &EventFd) -> std::os::fd::BorrowedFd<'_> {
    // SAFETY: the descriptor is open as long as `fd`, which the result borrows.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd.as_raw_fd()) }
}

/// Serves one frontend until it is gone.
fn connection(shared: &Arc<Shared>, frontend: UnixStream) -> io::Result<()> {
    let (seated, seat) = mpsc::sync_channel(1);
    let session = Arc::new(Session::new(Arc::clone(&shared.lasting), seated)?);
    let (backend, mut listener) = inner_socket()?;
    let mut daemon = VhostUserDaemon::new(
        "vhost-user-main".into(),
        Arc::clone(&session),
        session.memory(),
    )
    .map_err(failed)?;
    sit_down(&daemon, &session, &seat)?;
    daemon.start(&mut listener).map_err(failed)?;
    drop(listener);
    {
        let mut now = shared.now();
        now.session = Arc::downgrade(&session);
        now.wire = Some(frontend.try_clone()?);
        if now.ended {
            frontend.shutdown(std::net::Shutdown::Both)?;
        }
    }
    thread::scope(|scope| {
        let replies = (backend.try_clone()?, frontend.try_clone()?);
        let told = Arc::clone(&session);
        scope.spawn(move || {
            carry_replies(replies.0, replies.1, |reply| {
                if told.ring_features().packed {
                    reply.complete_packed_base();
                }
            });
        });
        carry_messages(frontend, backend, |message| {
            if message.request() == Some(FrontendReq::SET_BACKEND_REQ_FD)
                && let Some(channel) = message.files().first()
            {
                shared.now().channel = channel.try_clone().ok().map(UnixStream::from);
            }
            if let Some(observer) = &shared.lasting.observer
                && let Some(input) = message.input()
            {
                observer.observe(input);
            }
        });
        io::Result::Ok(())
    })?;
    {
        let mut now = shared.now();
        let ended = now.ended;
        *now = Now {
            ended,
            ..Now::default()
        };
    }
    session.stop();
    // That the frontend has gone is how every connection ends.
    let _ = daemon.wait();
    drop(daemon);
    session.close();
    Ok(())
}

fn failed(error: vhost_user_backend::Error) -> io::Error {
    io::Error::other(error.to_string())
}

/// Makes the worker tell its rings before a frontend can say anything.
fn sit_down(
    daemon: &VhostUserDaemon<Arc<Session>>,
    session: &Session,
    seat: &mpsc::Receiver<()>,
) -> io::Result<()> {
    let ready = EventFd::new(EFD_NONBLOCK)?;
    ready.write(1)?;
    let workers = daemon.get_epoll_handlers();
    let worker = workers.first().ok_or(io::ErrorKind::NotFound)?;
    worker.register_listener(ready.as_raw_fd(), EventSet::IN, session.seat_event())?;
    let (wake, event) = session.wake_event();
    worker.register_listener(wake, EventSet::IN, event)?;
    let seated = seat.recv_timeout(WORKER_START);
    worker.unregister_listener(ready.as_raw_fd(), EventSet::IN, session.seat_event())?;
    seated.map_err(|_| io::ErrorKind::TimedOut.into())
}

/// Our end of a connection, and the listener from which the daemon can take the other. The name
/// lives in a directory of ours, and only until both are connected.
fn inner_socket() -> io::Result<(UnixStream, Listener)> {
    let dir = RunDir::new()?;
    let path = dir.path().join("wire");
    let listener = UnixListener::bind(&path)?;
    let stream = UnixStream::connect(&path)?;
    Ok((stream, Listener::from(listener)))
}
