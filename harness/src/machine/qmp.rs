//! QEMU's control channel.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use misfire_device::port::Journal;
use misfire_device::trace::{TableEntry, What};
use qapi::futures::{QapiService, QmpStreamTokio};
use qapi::qmp;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader, simplex};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::select;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::recording::{Recording, Way};
use super::table::{BadTable, ENTRY_WORDS, parse_table};

/// How long QEMU may take to answer.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The same for writing down the guest's memory.
const DUMP_LIMIT: Duration = Duration::from_secs(300);

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

type Service = QapiService<QmpStreamTokio<OwnedWriteHalf>>;

/// A client of the control channel. QEMU's events go to the journal as [`What::Qmp`].
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
    recording: Option<Recording>,
}

/// What QEMU tells of the guest as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It was reset, not by us.
    Reset,
    /// It is about to end.
    Shutdown,
    /// It says that it crashed: the stop code and its parameters, if the event has them.
    Panicked(Option<[u64; 5]>),
    /// It says that it crashed, and that it writes its memory down.
    CrashLoaded,
}

/// As many happenings are kept that nobody takes.
const MOST_HAPPENINGS: usize = 64;

impl Happening {
    fn of(event: &str, data: &serde_json::Value) -> Option<Self> {
        let by_guest = data["guest"].as_bool() == Some(true);
        match event {
            "RESET" if by_guest => Some(Self::Reset),
            "SHUTDOWN" => Some(Self::Shutdown),
            "GUEST_CRASHLOADED" => Some(Self::CrashLoaded),
            "GUEST_PANICKED" => {
                let info = &data["info"];
                let number = |n: usize| info[format!("arg{n}")].as_u64();
                let all = (1..=5).map(number).collect::<Option<Vec<u64>>>();
                Some(Self::Panicked(all.and_then(|all| all.try_into().ok())))
            }
            _ => None,
        }
    }
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

/// Where a device has its MSI-X table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePlace {
    /// Base address register.
    pub bar: u8,
    /// Offset in it, bytes.
    pub offset: u64,
    /// Entries.
    pub entries: u16,
}

impl Qmp {
    /// Begins to use `stream`; the greeting is awaited by a task, so that a machine starts meanwhile.
    ///
    /// # Errors
    /// When the stream can't be used asynchronously.
    pub fn open(stream: StdUnixStream, journal: Arc<Journal>) -> io::Result<Self> {
        Self::open_recorded(stream, journal, None)
    }

    /// The same, and what QEMU says is kept, and in words what it is asked for.
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
            recording,
        })
    }

    /// What happens next to the guest as a whole; `None` when QEMU is gone. Nothing is lost when the
    /// future is dropped.
    pub async fn happening(&mut self) -> Option<Happening> {
        self.happenings.recv().await
    }

    /// The bus that device `dev` is on, as the guest's firmware or system has numbered it.
    ///
    /// # Errors
    /// When QEMU is gone or does not answer.
    pub async fn bus_of(&mut self, dev: usize) -> Result<Option<i64>, QmpError> {
        let id = super::argv::device_id(dev);
        let buses = self.execute("`query-pci`", qmp::query_pci {}).await?;
        Ok(search(buses.iter().flat_map(|bus| &bus.devices), &id).map(|device| device.bus))
    }

    /// Has the screen's picture written to the file `to`, as PNG.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn picture(&mut self, to: &Path) -> Result<(), QmpError> {
        let command = qmp::screendump {
            filename: to.display().to_string(),
            device: None,
            head: None,
            format: Some(qmp::ImageFormat::png),
        };
        self.execute("`screendump`", command).await?;
        Ok(())
    }

    /// Has the guest's memory written to the file `to`, as `win-dmp` or `elf`.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer in time or refuses.
    pub async fn dump(&mut self, to: &Path, format: &str) -> Result<(), QmpError> {
        let doing = format!("`dump-guest-memory {format}`");
        let command = serde_json::json!({
            "paging": false,
            "protocol": format!("file:{}", to.display()),
            "format": format,
        });
        let command = serde_json::from_value(command).map_err(|error| QmpError::Refused {
            doing: doing.clone(),
            reason: error.to_string(),
        })?;
        self.execute_within::<qmp::dump_guest_memory>(&doing, command, DUMP_LIMIT)
            .await?;
        Ok(())
    }

    /// Has the character device `id` listen on a port of this host alone, in place of what it was
    /// connected to; which port.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn open_line(&mut self, id: &str) -> Result<u16, QmpError> {
        let doing = format!("`chardev-change {id}`");
        let refused = |reason: String| QmpError::Refused {
            doing: doing.clone(),
            reason,
        };
        // A port that is free now; QEMU does not tell which one it would take by itself.
        let free = std::net::TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| refused(error.to_string()))?
            .port();
        let line =
            format!("chardev-change {id} socket,host=127.0.0.1,port={free},server=on,wait=off");
        match self.monitor(line).await?.trim() {
            "" => Ok(free),
            reason => Err(refused(reason.to_owned())),
        }
    }

    /// Sends every processor a non-maskable interrupt.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn inject_nmi(&mut self) -> Result<(), QmpError> {
        self.execute("`inject-nmi`", qmp::inject_nmi {}).await?;
        Ok(())
    }

    /// Whether the guest runs, in QEMU's word for it.
    ///
    /// # Errors
    /// When QEMU is gone or does not answer.
    pub async fn status(&mut self) -> Result<String, QmpError> {
        let status = self.execute("`query-status`", qmp::query_status {}).await?;
        let word = serde_json::to_value(status.status).unwrap_or_default();
        Ok(word.as_str().unwrap_or("unknown").to_owned())
    }

    /// Adds a character device, given as to `-chardev`.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn add_chardev(&mut self, chardev: &str) -> Result<(), QmpError> {
        let line = format!("chardev-add {chardev}");
        let reason = self.monitor(line.clone()).await?;
        match reason.trim() {
            "" => Ok(()),
            reason => Err(QmpError::Refused {
                doing: format!("`{line}`"),
                reason: reason.to_owned(),
            }),
        }
    }

    /// Stops the guest and keeps its state in the file `to`.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer, refuses or fails.
    pub async fn save(&mut self, to: &Path, limit: Duration) -> Result<(), QmpError> {
        self.tell_of_migration().await?;
        self.execute("`stop`", qmp::stop {}).await?;
        let command = qmp::migrate {
            uri: Some(format!("file:{}", to.display())),
            channels: None,
            resume: None,
            detach: None,
        };
        self.execute("`migrate`", command).await?;
        self.migrated("`migrate`", limit).await
    }

    /// Takes the state of a guest from the file `from`; the guest stays stopped.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer, refuses or fails.
    pub async fn restore(&mut self, from: &Path, limit: Duration) -> Result<(), QmpError> {
        self.tell_of_migration().await?;
        let command = qmp::migrate_incoming {
            uri: Some(format!("file:{}", from.display())),
            channels: None,
            exit_on_error: Some(false),
        };
        self.execute("`migrate-incoming`", command).await?;
        self.migrated("`migrate-incoming`", limit).await
    }

    /// Lets a guest that was stopped go on.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn go_on(&mut self) -> Result<(), QmpError> {
        self.execute("`cont`", qmp::cont {}).await?;
        Ok(())
    }

    /// Has QEMU tell how a migration goes, and keep each page at a place of its own in the file.
    async fn tell_of_migration(&mut self) -> Result<(), QmpError> {
        use qmp::MigrationCapability as Can;
        let has = |capability| qmp::MigrationCapabilityStatus {
            capability,
            state: true,
        };
        let command = qmp::migrate_set_capabilities {
            capabilities: vec![has(Can::events), has(Can::mapped_ram)],
        };
        self.execute("`migrate-set-capabilities`", command).await?;
        Ok(())
    }

    async fn migrated(&mut self, doing: &str, limit: Duration) -> Result<(), QmpError> {
        let over = |status: &String| status == "completed" || status == "failed";
        match timeout(limit, self.migration.wait_for(over)).await {
            Ok(Ok(status)) if *status == "completed" => Ok(()),
            Ok(Ok(_)) => Err(QmpError::Refused {
                doing: doing.to_owned(),
                reason: "the state could not be carried over".to_owned(),
            }),
            Ok(Err(_)) => Err(QmpError::Channel {
                doing: doing.to_owned(),
                source: io::ErrorKind::NotConnected.into(),
            }),
            Err(_) => Err(QmpError::Silent {
                doing: doing.to_owned(),
            }),
        }
    }

    /// Ends QEMU. It may be gone before it answers, which is no error.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub async fn quit(&mut self) -> Result<(), QmpError> {
        match self.execute("quit", qmp::quit {}).await {
            Ok(_) | Err(QmpError::Channel { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks the guest to let device `id` go: the attention button of its slot is pressed. It is gone with
    /// the event DEVICE_DELETED, when the guest has switched the slot off.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn remove_device(&mut self, id: String) -> Result<(), QmpError> {
        let doing = format!("`device_del {id}`");
        self.execute(&doing, qmp::device_del { id }).await?;
        Ok(())
    }

    /// Puts a device in, as `-device` would have.
    ///
    /// # Errors
    /// When QEMU is gone, does not answer or refuses.
    pub async fn add_device(&mut self, device: serde_json::Value) -> Result<(), QmpError> {
        let doing = "`device_add`";
        let command = serde_json::from_value(device).map_err(|error| QmpError::Refused {
            doing: doing.to_owned(),
            reason: error.to_string(),
        })?;
        self.execute::<qmp::device_add>(doing, command).await?;
        Ok(())
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

    /// The MSI-X table of device `dev` as the guest programmed it, read from outside.
    ///
    /// # Errors
    /// When QEMU is gone or does not answer, or the guest gave the table no address.
    pub async fn msix_table(
        &mut self,
        dev: u8,
        place: TablePlace,
    ) -> Result<Vec<TableEntry>, QmpError> {
        let base = self.bar(dev, place.bar).await?.ok_or(QmpError::NoTable {
            dev,
            bar: place.bar,
        })?;
        let words = usize::from(place.entries) * ENTRY_WORDS;
        let dump = self
            .monitor(format!("xp /{words}xw {:#x}", base + place.offset))
            .await?;
        parse_table(&dump, place.entries.into()).map_err(|source| QmpError::Table { dev, source })
    }

    /// The address of a memory base address register; `None` when the guest has given it none.
    async fn bar(&mut self, dev: u8, bar: u8) -> Result<Option<u64>, QmpError> {
        let id = super::argv::device_id(dev.into());
        let buses = self.execute("`query-pci`", qmp::query_pci {}).await?;
        let region = buses
            .iter()
            .flat_map(|bus| &bus.devices)
            .filter(|device| device.qdev_id == id)
            .flat_map(|device| &device.regions)
            .find(|region| region.bar == i64::from(bar));
        Ok(region
            .and_then(|region| u64::try_from(region.address).ok())
            .filter(|address| *address != 0))
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
        if let Some(recording) = &self.recording {
            recording.keep("qmp", Way::To, doing.as_bytes());
        }
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

/// The device of that id, also behind bridges.
fn search<'a>(
    devices: impl Iterator<Item = &'a qmp::PciDeviceInfo>,
    id: &str,
) -> Option<&'a qmp::PciDeviceInfo> {
    for device in devices {
        if device.qdev_id == id {
            return Some(device);
        }
        let bridge = device.pci_bridge.as_ref();
        let behind = bridge.and_then(|bridge| bridge.devices.as_ref());
        if let Some(found) = behind.and_then(|behind| search(behind.iter(), id)) {
            return Some(found);
        }
    }
    None
}

/// Where what QEMU says goes, except its answers.
struct Sorted {
    journal: Arc<Journal>,
    migration: watch::Sender<String>,
    happens: mpsc::Sender<Happening>,
    recording: Option<Recording>,
}

/// Sends what QEMU says where it belongs: its events to the journal, everything else to `answers`.
///
/// An event of a newer QEMU, or one with more in it than the crate knows, is no obstacle so.
async fn sort(
    mut from: impl tokio::io::AsyncBufRead + Unpin,
    mut answers: impl AsyncWrite + Unpin,
    to: Sorted,
) {
    #[derive(Deserialize)]
    struct QmpEvent {
        event: String,
        #[serde(default)]
        data: serde_json::Value,
    }
    let mut line = Vec::new();
    while let Ok(1..) = from.read_until(b'\n', &mut line).await {
        if let Some(recording) = &to.recording {
            recording.keep("qmp", Way::From, &line);
        }
        // Answers can be long, so only what begins like an event is tried.
        let event = line
            .windows(8)
            .take(128)
            .any(|w| w == b"\"event\":")
            .then(|| serde_json::from_slice::<QmpEvent>(&line).ok())
            .flatten();
        if let Some(QmpEvent { event, data }) = event {
            // What we do to a machine is no happening in it.
            if event == "MIGRATION" {
                let status = data["status"].as_str().unwrap_or_default();
                to.migration.send_replace(status.to_owned());
                line.clear();
                continue;
            }
            let happening = Happening::of(&event, &data);
            to.journal.record(What::Qmp { event, data });
            if let Some(happening) = happening {
                // Of a guest that resets without end the first few are enough.
                let _ = to.happens.try_send(happening);
            }
        } else if answers.write_all(&line).await.is_err() {
            break;
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::io::{BufRead, BufReader, Write};
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Poll;

    const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 3, "minor": 1, "major": 11}, "package": ""}, "capabilities": ["oob"]}}"#;

    /// A QEMU that greets, then answers each command with the next of `answers`, then is gone.
    fn qemu(answers: Vec<String>) -> (Qmp, mpsc::Receiver<What>) {
        let (ours, mut its) = StdUnixStream::pair().unwrap();
        let (sender, events) = mpsc::channel();
        let journal = Journal::new(Box::new(move |event| {
            let _ = sender.send(event.what.clone());
        }));
        std::thread::spawn(move || {
            let mut commands = BufReader::new(its.try_clone().unwrap()).lines();
            writeln!(its, "{GREETING}").unwrap();
            for answer in [r#"{"return": {}}"#.to_owned()].into_iter().chain(answers) {
                commands.next().unwrap().unwrap();
                writeln!(its, "{answer}").unwrap();
            }
        });
        (Qmp::open(ours, journal).unwrap(), events)
    }

    fn returned(value: impl Into<serde_json::Value>) -> String {
        serde_json::json!({"return": value.into()}).to_string()
    }

    fn device(id: &str, address: i64) -> serde_json::Value {
        serde_json::json!([{"bus": 0, "devices": [{
            "bus": 0, "slot": 16, "function": 0, "qdev_id": id, "irq_pin": 1,
            "class_info": {"class": 0xff00}, "id": {"device": 0x4d46, "vendor": 0x1234},
            "regions": [{"bar": 2, "type": "memory", "address": address, "size": 0x10000}],
        }]}])
    }

    #[tokio::test]
    async fn an_event_is_recorded_as_it_came_also_one_that_nobody_knows() {
        let event = r#"{"timestamp": {"seconds": 1795270000, "microseconds": 123456}, "event": "FROM_THE_FUTURE", "data": {"a": [1]}}"#;
        let (mut qmp, events) = qemu(vec![format!("{event}\n{}", returned("text"))]);
        assert_eq!(qmp.monitor("info".into()).await.unwrap(), "text");
        assert_eq!(
            events.recv().unwrap(),
            What::Qmp {
                event: "FROM_THE_FUTURE".into(),
                data: serde_json::json!({"a": [1]}),
            }
        );
    }

    #[tokio::test]
    async fn a_table_is_read_at_the_address_that_the_guest_chose() {
        let dump = "e1010000: 0xfee00000 0x00000000 0x00000063 0x00000000\r\n";
        let (mut qmp, _events) = qemu(vec![returned(device("dev0", 0xe101_0000)), returned(dump)]);
        let place = TablePlace {
            bar: 2,
            offset: 0,
            entries: 1,
        };
        let table = qmp.msix_table(0, place).await.unwrap();
        assert_eq!(table[0].data, 0x63);
    }

    #[tokio::test]
    async fn a_register_without_an_address_and_a_device_that_is_not_there_have_no_table() {
        let place = TablePlace {
            bar: 2,
            offset: 0,
            entries: 1,
        };
        for info in [device("dev0", -1), device("dev0", 0), device("dev1", 4096)] {
            let (mut qmp, _events) = qemu(vec![returned(info)]);
            let error = qmp.msix_table(0, place).await.unwrap_err();
            assert!(
                matches!(error, QmpError::NoTable { dev: 0, bar: 2 }),
                "{error:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_command_whose_answer_nobody_waited_for_is_no_obstacle_to_the_next() {
        let answers = ["first", "second", "third"].map(returned);
        let (mut qmp, _events) = qemu(answers.into());
        assert_eq!(qmp.monitor("one".into()).await.unwrap(), "first");
        {
            let mut given_up = pin!(qmp.monitor("two".into()));
            let once = poll_fn(|context| Poll::Ready(given_up.as_mut().poll(context).is_ready()));
            assert!(!once.await, "the answer can't be there yet");
        }
        assert_eq!(qmp.monitor("three".into()).await.unwrap(), "third");
    }

    #[tokio::test]
    async fn whoever_asks_a_qemu_that_is_gone_is_told_so_each_time_and_at_once() {
        let (mut qmp, _events) = qemu(vec![]);
        for _ in 0..3 {
            let error = qmp.monitor("info".into()).await.unwrap_err();
            assert!(matches!(error, QmpError::Channel { .. }), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_qemu_that_is_gone_before_it_has_greeted_is_not_waited_for() {
        let (ours, its) = StdUnixStream::pair().unwrap();
        let mut qmp = Qmp::open(ours, Journal::new(Box::new(|_| {}))).unwrap();
        drop(its);
        let begin = std::time::Instant::now();
        let error = qmp.monitor("info".into()).await.unwrap_err();
        assert!(matches!(error, QmpError::Channel { .. }), "{error:?}");
        assert!(begin.elapsed() < ANSWER_LIMIT);
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_qemus_words_and_a_channel_that_closes_is_an_error() {
        let refusal = r#"{"error": {"class": "GenericError", "desc": "no such thing"}}"#;
        let (mut qmp, _events) = qemu(vec![refusal.into()]);
        let error = qmp.monitor("info".into()).await.unwrap_err();
        assert_eq!(error.to_string(), "QEMU refused `info`: no such thing");
        let error = qmp.monitor("info".into()).await.unwrap_err();
        assert!(matches!(error, QmpError::Channel { .. }), "{error:?}");
        let (mut qmp, _events) = qemu(vec![]);
        assert!(qmp.quit().await.is_ok(), "gone is what is wanted");
    }
}
