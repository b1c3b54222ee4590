//! QEMU's control channel.

mod commands;
mod devices;
mod events;
mod migration;
#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use misfire_device::port::Journal;
use qapi::futures::{QapiService, QmpStreamTokio};
use qapi::qmp;
use tokio::io::{BufReader, simplex};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::select;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::recording::{Recording, Written};
use super::table::BadTable;
pub use devices::TablePlace;
pub use events::Happening;
use events::{MOST_HAPPENINGS, Sorted, sort};

/// How long QEMU may take to answer.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The control channel can't be used.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The channel is closed, or what came over it is not QMP.
    #[error("QEMU's control channel failed at {doing}")]
    Channel {
        /// What was asked for.
        doing: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// QEMU refused.
    #[error("QEMU refused {doing}: {reason}")]
    Refused {
        /// What was asked for.
        doing: String,
        /// In QEMU's words.
        reason: String,
    },
    /// QEMU does not answer.
    #[error("QEMU did not answer {doing} within {} s", ANSWER_LIMIT.as_secs())]
    Silent {
        /// What was asked for.
        doing: String,
    },
    /// There is no such device, or the guest gave its MSI-X table no address.
    #[error("device {dev} has no base address register {bar} that the guest placed")]
    NoTable {
        /// Device, from 0.
        dev: u8,
        /// The register that holds its MSI-X table.
        bar: u8,
    },
    /// The table can't be read.
    #[error("the MSI-X table of device {dev} can't be read")]
    Table {
        /// Device, from 0.
        dev: u8,
        /// Why.
        #[source]
        source: BadTable,
    },
}

type Service = QapiService<QmpStreamTokio<Written<OwnedWriteHalf>>>;

/// A client of the control channel. QEMU's events go to the journal as [`What::Qmp`](misfire_device::trace::What::Qmp).
pub struct Qmp {
    state: State,
    /// The command that was given last, until its answer is there: who gave it may have lost interest.
    asked: Option<Asked>,
    /// What the last event about a migration said.
    migration: watch::Receiver<String>,
    /// Its other end goes when QEMU's end of the channel is closed.
    there: watch::Receiver<()>,
    /// What happened to the guest as a whole, and was not taken yet.
    happenings: mpsc::Receiver<Happening>,
}

type Asked = Pin<Box<dyn Future<Output = ()> + Send>>;

enum State {
    Opening(JoinHandle<io::Result<Open>>),
    Open(Open),
    Closed,
}

struct Open {
    service: Service,
    /// Ends when QEMU has said its last.
    answers: JoinHandle<()>,
}

impl std::fmt::Debug for Qmp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.state {
            State::Opening(_) => "Qmp(opening)",
            State::Open(_) => "Qmp(open)",
            State::Closed => "Qmp(closed)",
        })
    }
}

impl Qmp {
    /// Begins to use `stream`; the greeting is awaited by a task, so that a machine starts meanwhile.
    ///
    /// # Errors
    /// When the stream can't be used asynchronously.
    pub fn open(stream: StdUnixStream, journal: Arc<Journal>) -> io::Result<Self> {
        Self::open_recorded(stream, journal, None)
    }

    /// The same, and what QEMU says and is asked for is kept.
    ///
    /// # Errors
    /// When the stream can't be used asynchronously.
    pub fn open_recorded(
        stream: StdUnixStream,
        journal: Arc<Journal>,
        recording: Option<Recording>,
    ) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        let (answers, to_answers) = simplex(64 << 10);
        let (tell, migration) = watch::channel(String::new());
        let (reading, there) = watch::channel(());
        let (happens, happenings) = mpsc::channel(MOST_HAPPENINGS);
        let sorted = Sorted {
            journal,
            migration: tell,
            happens,
            recording: recording.clone(),
        };
        tokio::spawn(async move {
            sort(BufReader::new(reader), to_answers, sorted).await;
            drop(reading);
        });
        let opening = tokio::spawn(async move {
            let writer = Written::new(writer, "qmp", recording);
            let stream = QmpStreamTokio::open_split(answers, writer).await?;
            let (service, answers) = stream.negotiate().await?.spawn_tokio();
            Ok(Open { service, answers })
        });
        Ok(Self {
            state: State::Opening(opening),
            asked: None,
            migration,
            there,
            happenings,
        })
    }

    /// What happens next to the guest as a whole; `None` when QEMU is gone. Nothing is lost when the
    /// future is dropped.
    pub async fn happening(&mut self) -> Option<Happening> {
        self.happenings.recv().await
    }

    /// The answer to a command of the human monitor.
    ///
    /// # Errors
    /// When QEMU is gone or does not answer.
    pub async fn monitor(&mut self, line: String) -> Result<String, QmpError> {
        let doing = format!("`{line}`");
        let command = qmp::human_monitor_command {
            cpu_index: None,
            command_line: line,
        };
        self.execute(&doing, command).await
    }

    async fn execute<C>(&mut self, doing: &str, command: C) -> Result<C::Ok, QmpError>
    where
        C: qmp::QmpCommand + 'static,
        C::Ok: Send,
    {
        self.execute_within(doing, command, ANSWER_LIMIT).await
    }

    async fn execute_within<C>(
        &mut self,
        doing: &str,
        command: C,
        limit: Duration,
    ) -> Result<C::Ok, QmpError>
    where
        C: qmp::QmpCommand + 'static,
        C::Ok: Send,
    {
        let mut there = self.there.clone();
        let answer = select! {
            biased;
            answer = timeout(limit, self.answer(command)) => answer,
            _ = there.changed() => {
                let gone = io::Error::from(io::ErrorKind::NotConnected);
                Ok(Err(qapi::ExecuteError::Io(gone)))
            }
        };
        match answer {
            Ok(Ok(ok)) => Ok(ok),
            Ok(Err(qapi::ExecuteError::Io(source))) => {
                // The crate takes no command after one that it could not send.
                (self.state, self.asked) = (State::Closed, None);
                Err(QmpError::Channel {
                    doing: doing.to_owned(),
                    source,
                })
            }
            Ok(Err(qapi::ExecuteError::Qapi(error))) => Err(QmpError::Refused {
                doing: doing.to_owned(),
                reason: error.desc,
            }),
            Err(_) => Err(QmpError::Silent {
                doing: doing.to_owned(),
            }),
        }
    }

    async fn answer<C>(&mut self, command: C) -> Result<C::Ok, qapi::ExecuteError>
    where
        C: qmp::QmpCommand + 'static,
        C::Ok: Send,
    {
        self.finish().await?;
        let answer = self.service().await?.execute(command);
        let (tell, mut told) = oneshot::channel();
        self.asked = Some(Box::pin(async move {
            // Nobody may want to know any more.
            let _ = tell.send(answer.await);
        }));
        self.finish().await?;
        told.try_recv().map_err(io::Error::other)?
    }

    /// Waits until the last command is answered, or never will be.
    async fn finish(&mut self) -> io::Result<()> {
        let Self { state, asked, .. } = self;
        if let (Some(last), State::Open(open)) = (asked.as_mut(), &mut *state) {
            let gone = select! {
                biased;
                () = last => false,
                _ = &mut open.answers => true,
            };
            if gone {
                *state = State::Closed;
            }
        }
        *asked = None;
        match state {
            State::Closed => Err(io::ErrorKind::NotConnected.into()),
            _ => Ok(()),
        }
    }

    async fn service(&mut self) -> io::Result<&Service> {
        if let State::Opening(opening) = &mut self.state {
            let open = opening
                .await
                .map_err(io::Error::other)
                .and_then(|opened| opened);
            self.state = open.map_or(State::Closed, State::Open);
        }
        match &self.state {
            State::Open(open) => Ok(&open.service),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}
