//! Running scenarios: the only place where scenario, device, machine and rules meet.

mod keep;
mod keeping;
mod patience;
mod recorder;
mod session;
mod subject;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use misfire_device::port::{Attachment, Died, RunDir, ServeError, Served, serve};
use misfire_device::shape::{Attach, Kind, Shape};
use misfire_device::trace::{Event, What};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};

use crate::guest::linux::{Device, Linux, LinuxError};
use crate::guest::windows::{Setting, Windows, WindowsError};
use crate::guest::{Firmware, Guest, Reference};
use crate::machine::{Accel, Boot, MachineError, MachineSpec, Qemu, Recording, argv};
use crate::report::{Document, FaultReport, Progress, ScenarioReport, millis};
use crate::rules::{Context, FIRMWARE, GUEST, IDLE_FIRMWARE, Judgement, judge};
use crate::scenario::{Scenario, Step};
use crate::snapshot::{self, Comparison};
use crate::transcript::transcript;
use crate::verdict::{Case, Decision, Observed, Verdict, joined, observe, phase};
use keep::Kept;
use keeping::Keeping;
use patience::Patience;
use recorder::{MAX_EVENTS, Recorder};
use session::Session;
pub use subject::{NoGuest, REFERENCE, Subject, WindowsSubject};

/// Everything random in the faults comes from this.
const SEED: u64 = 0x6d69_7366_6972_6521;
/// What a machine may take beside its steps.
const OVERHEAD: Duration = Duration::from_secs(20);

/// How scenarios are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The guest.
    pub subject: Subject,
    /// The QEMU.
    pub qemu: Qemu,
    /// How it carries out instructions.
    pub accel: Accel,
    /// Where each run is kept, in a folder of the scenario's name.
    pub out: PathBuf,
    /// What is done with snapshots.
    pub snapshots: Snapshots,
    /// Scenarios at a time.
    pub jobs: usize,
    /// What is kept beside that.
    pub keeping: KeptAside,
}

impl Options {
    /// How this scenario is run.
    fn of(&self, scenario: &Scenario) -> Cow<'_, Self> {
        if !scenario.cold {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self {
            subject: self.subject.booted(),
            ..self.clone()
        })
    }
}

/// What is kept of a run for whoever looks into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptAside {
    /// A guest with which something is wrong stays until we are stopped, for a debugger and a viewer.
    pub machine: bool,
    /// What goes over the machine's lines, byte for byte, in a folder of the scenario's name.
    pub recording: Option<PathBuf>,
}

/// What is done with snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshots {
    /// Transcripts are compared with them.
    Compare,
    /// Transcripts of scenarios that pass otherwise take their place.
    Bless,
    /// Nothing: somebody else compares.
    Leave,
}

/// What came of a scenario, and its transcript.
#[derive(Clone, Debug)]
pub struct Run {
    /// The report.
    pub report: ScenarioReport,
    /// The transcript.
    pub transcript: String,
    /// Of a cell of a matrix: its line in the snapshot that the cells share.
    pub row: Option<String>,
}

/// Runs of several scenarios, and how long they took together.
#[derive(Clone, Debug)]
pub struct Runs {
    /// In the order of their names.
    pub each: Vec<Run>,
    /// From the first start to the last verdict.
    pub took: Duration,
}

impl Runs {
    /// The document of it.
    pub fn document(&self) -> Document<'_> {
        Document::new(self.each.iter().map(|run| &run.report), self.took)
    }
}

/// Runs scenarios, some at a time, and tells how it goes. When `interrupt` comes first there are no
/// runs, and no machine is left when this returns.
///
/// # Panics
/// Outside a tokio runtime with I/O and time.
pub async fn run_all(
    scenarios: Vec<Scenario>,
    options: Options,
    progress: mpsc::UnboundedSender<Progress>,
    interrupt: impl Future<Output = ()>,
) -> Option<Runs> {
    let begin = Instant::now();
    let options = Arc::new(options);
    // Nobody listening is no reason to stop.
    let tell = move |what| drop(progress.send(what));
    tell(Progress::Begin(scenarios.len()));
    let places = Arc::new(Semaphore::new(options.jobs.max(1)));
    let mut running = JoinSet::new();
    for scenario in scenarios {
        let (options, places, tell) = (Arc::clone(&options), Arc::clone(&places), tell.clone());
        running.spawn(async move {
            let _place = places.acquire_owned().await;
            tell(Progress::Start(scenario.name.clone()));
            let run = run_scenario(&scenario, &options).await;
            tell(Progress::End(Box::new(run.report.clone())));
            run
        });
    }
    let mut each: Vec<Run> = Vec::new();
    let mut interrupt = std::pin::pin!(interrupt);
    loop {
        let next = tokio::select! {
            next = running.join_next() => next,
            () = &mut interrupt => {
                running.shutdown().await;
                return None;
            }
        };
        match next {
            None => break,
            Some(Ok(run)) => each.push(run),
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Some(Err(_)) => (),
        }
    }
    each.sort_by(|a, b| a.report.name.cmp(&b.report.name));
    Some(Runs {
        each,
        took: begin.elapsed(),
    })
}

/// Runs one scenario to its verdict. Whatever goes wrong is in the report.
///
/// # Panics
/// Outside a tokio runtime with I/O and time.
pub async fn run_scenario(scenario: &Scenario, options: &Options) -> Run {
    let begin = Instant::now();
    let options = &options.of(scenario);
    if let Some(reason) = options.subject.skips(scenario) {
        return skipped(scenario, options, reason);
    }
    let kept = Kept::open(&options.out, &scenario.name);
    let recorder = Recorder::new();
    recorder.begin(&scenario.name);
    let opened = kept.trace(&recorder.events());
    let trouble = drive(scenario, options, &recorder, kept.folder())
        .await
        .err();
    if trouble.is_none() {
        recorder.end(&scenario.name);
    }
    let events = recorder.events();
    let (scenario, options) = (scenario.clone(), Options::clone(options));
    // It computes for a while, and other guests' consoles must be read meanwhile: a kernel leaves out what nobody
    // takes within milliseconds.
    let concluded = tokio::task::spawn_blocking(move || {
        let mut run = conclude(&scenario, &options, &events, trouble, begin);
        run.report.files = kept.files();
        if let Err(reason) = opened.and_then(|()| kept.all(&events, &run)) {
            run.report.verdict = Verdict::Error;
            run.report.reasons.insert(0, reason);
        }
        run
    });
    match concluded.await.map_err(JoinError::try_into_panic) {
        Ok(run) => run,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends, and nobody waits for a run.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// A scenario that is not meant for the guest: nothing is started.
fn skipped(scenario: &Scenario, options: &Options, reason: String) -> Run {
    let decided = Decision {
        verdict: Verdict::Skip,
        reasons: vec![reason],
        notes: Vec::new(),
    };
    let seen = Observed::default();
    let mut report = report(
        scenario,
        options,
        &seen,
        Vec::new(),
        decided,
        Duration::ZERO,
    );
    report.interrupts = None;
    Run {
        report,
        transcript: String::new(),
        row: None,
    }
}

/// A scenario can't be run to its end.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Linux(#[from] LinuxError),
    #[error(transparent)]
    Windows(#[from] WindowsError),
    #[error("what the machine says can't be recorded")]
    Recording(#[source] std::io::Error),
    #[error("device {dev} can't be served")]
    Serve {
        dev: usize,
        #[source]
        source: ServeError,
    },
    #[error("the disk that the firmware boots from can't be made")]
    BootDisk(#[source] std::io::Error),
    #[error("device {dev} can't be judged")]
    Died {
        dev: usize,
        #[source]
        source: Died,
    },
    #[error("no folder for sockets can be made")]
    RunDir(#[source] std::io::Error),
    #[error("the guest can't do what it is told: {0}")]
    Guest(String),
    #[error("more than {MAX_EVENTS} events came: the trace ends there")]
    Full,
}

impl Trouble {
    /// With every cause, in one line.
    fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        text
    }
}

/// Serves the devices, boots the guest, goes through the steps, ends everything.
async fn drive(
    scenario: &Scenario,
    options: &Options,
    recorder: &Recorder,
    folder: Option<&Path>,
) -> Result<(), Trouble> {
    let dir = RunDir::new().map_err(Trouble::RunDir)?;
    let boots = matches!(options.subject, Subject::Firmware(_));
    let served = serve_all(scenario, boots, dir.path(), recorder)?;
    let attachments = served.iter().map(|s| s.qemu().clone()).collect();
    let each = scenario.steps.iter();
    let pace = options.subject.pace();
    let gives_up = options.subject.gives_up(scenario);
    let most = |step: &Step| Patience::most(step.timeout * pace + gives_up);
    let steps: Duration = each.map(most).sum();
    let stays = if options.keeping.machine {
        session::STAY
    } else {
        Duration::ZERO
    };
    let limit = steps + OVERHEAD * pace + stays;
    let spec = spec(scenario, options, attachments);
    let (guest, firmware) = match &options.subject {
        Subject::Reference | Subject::Nt(_) => {
            let guest = Reference::boot_spec(&spec, recorder.journal(), limit)?;
            let firmware = match spec.boot {
                Boot::Direct => IDLE_FIRMWARE,
                Boot::SeaBios | Boot::Agent | Boot::Firmware { .. } | Boot::Disk => "SeaBIOS",
            };
            (Guest::Reference(guest), firmware)
        }
        Subject::Windows(subject) => {
            let devices = scenario.devices.iter();
            let queues: Vec<u16> = devices.map(|device| device.shape.queues).collect();
            recorder.mark(None, GUEST, options.subject.kind());
            let mut setting = windows_setting(scenario, options, subject);
            setting.evidence = folder.map(Path::to_owned);
            if let Some(to) = &options.keeping.recording {
                let recording = Recording::open(&to.join(&scenario.name));
                setting.recording = Some(recording.map_err(Trouble::Recording)?);
            }
            let journal = recorder.journal();
            let (qemu, image) = (&options.qemu, subject.image_for(scenario));
            let booted = Windows::boot(qemu, &image, &setting, &spec, &queues, journal, limit);
            let guest = Guest::Windows(Box::new(booted.await?));
            (guest, IDLE_FIRMWARE)
        }
        Subject::Linux(image) => {
            let devices = linux_devices(scenario);
            let journal = recorder.journal();
            // A guest that hangs in its driver never says what it is.
            recorder.mark(None, GUEST, options.subject.kind());
            let guest = Linux::boot(&options.qemu, image, &spec, devices, journal, limit).await?;
            // Its devices come when the firmware has long gone.
            (Guest::Linux(guest), IDLE_FIRMWARE)
        }
        Subject::Firmware(image) => {
            let sectors = scenario.devices.first().map_or(0, |d| d.shape.capacity);
            recorder.mark(None, GUEST, options.subject.kind());
            let guest = Firmware::boot(image, &spec, sectors, recorder.journal(), limit)?;
            // No other firmware drives the device than the one under test.
            (Guest::Firmware(guest), IDLE_FIRMWARE)
        }
    };
    recorder.mark(None, FIRMWARE, firmware);
    let mut session = Session::new(scenario, spec, guest, &served, recorder)
        .paced(pace, gives_up)
        .watched(matches!(options.subject, Subject::Nt(_)))
        .dumping(matches!(&options.subject, Subject::Nt(driver) if driver.crash_dump))
        .keeping(options.keeping.machine);
    let gone_through = session.go().await;
    let ended = session.end().await;
    let mut died = Ok(());
    for (dev, device) in served.into_iter().enumerate() {
        let ended = device.shutdown();
        died = died.and(ended.map_err(|source| Trouble::Died { dev, source }));
    }
    let full = if recorder.is_full() {
        Err(Trouble::Full)
    } else {
        Ok(())
    };
    // What else went wrong may have gone wrong because of it.
    died.and(full).and(gone_through).and(ended)
}

/// What QEMU is to be told.
fn spec(scenario: &Scenario, options: &Options, devices: Vec<Attachment>) -> MachineSpec {
    match &options.subject {
        Subject::Reference | Subject::Nt(_) => {
            let parameters = parameters(scenario, &options.subject);
            let mut spec = Reference::spec(&options.qemu, options.accel, devices, &parameters);
            spec.slots = scenario.slots();
            spec.image = options.subject.image();
            if let Subject::Nt(driver) = &options.subject {
                spec.processors = driver.processors(scenario);
            }
            spec
        }
        Subject::Linux(image) => MachineSpec {
            processors: processors(scenario),
            ..Linux::spec(&options.qemu, options.accel, image, devices)
        },
        Subject::Firmware(image) => Firmware::spec(&options.qemu, options.accel, image, devices),
        Subject::Windows(subject) => {
            let setting = windows_setting(scenario, options, subject);
            let (qemu, accel) = (&options.qemu, options.accel);
            Windows::spec(qemu, accel, &subject.image, &setting, devices)
        }
    }
}

/// How a Windows is to be run for a scenario.
fn windows_setting(scenario: &Scenario, options: &Options, subject: &WindowsSubject) -> Setting {
    Setting {
        states: subject.states.clone(),
        viewer: options.keeping.machine,
        nodes: (0..scenario.devices.len())
            .map(|dev| subject.node_settings(scenario, dev))
            .collect(),
        ..Setting::default()
    }
}

/// The most processors of a guest whose drivers have a queue for each.
const MOST_PROCESSORS: u16 = 4;

/// What a Linux has to know of its devices.
fn linux_devices(scenario: &Scenario) -> Vec<Device> {
    let parameters = &scenario.guest;
    let each = scenario.devices.iter().enumerate().map(|(dev, device)| {
        let own = parameters.devices.get(dev).and_then(|own| own.depth);
        Device {
            queues: device.shape.queues,
            depth: own.or(parameters.all.depth).unwrap_or(1),
        }
    });
    each.collect()
}

/// What the scenario says, else as many processors as a device has queues to choose from.
fn processors(scenario: &Scenario) -> u16 {
    let queues = scenario.devices.iter().map(|device| {
        let shape = &device.shape;
        match shape.kind {
            Kind::Block => shape.queues,
            Kind::Scsi => shape.queues.saturating_sub(2),
            Kind::Net => shape.pairs(),
            _ => 1,
        }
    });
    let by_queues = queues.max().unwrap_or(1).clamp(1, MOST_PROCESSORS);
    scenario.guest.all.processors.unwrap_or(by_queues)
}

/// The guest's command line.
pub(crate) fn parameters(scenario: &Scenario, subject: &Subject) -> String {
    let mut line = subject.command_line(scenario);
    for dev in scenario.slots() {
        if scenario.keeps(u8::try_from(dev).unwrap_or(u8::MAX)) {
            line += &format!(" dev{dev}.eject=lit");
        }
    }
    line
}

/// `boots`: the guest boots from its disk.
fn serve_all(
    scenario: &Scenario,
    boots: bool,
    dir: &Path,
    recorder: &Recorder,
) -> Result<Vec<Served>, Trouble> {
    let one = |(dev, device): (usize, &crate::scenario::DeviceUnderTest)| {
        let number = u8::try_from(dev).unwrap_or(u8::MAX);
        let mut shape = device.shape.clone();
        if boots {
            let path = dir.join(format!("disk{dev}"));
            Firmware::disk(&path, shape.capacity).map_err(Trouble::BootDisk)?;
            shape.file = Some(path);
        }
        serve(
            number,
            &shape,
            device.faults.clone(),
            SEED,
            dir,
            recorder.journal(),
        )
        .map_err(|source| Trouble::Serve { dev, source })
    };
    scenario.devices.iter().enumerate().map(one).collect()
}

/// From what was recorded to the verdict.
fn conclude(
    scenario: &Scenario,
    options: &Options,
    events: &[Event],
    trouble: Option<Trouble>,
    begin: Instant,
) -> Run {
    // What a guest did because it was examined is not the driver's doing.
    let judgements = judge(&judged(before_examined(events)), &Context::default());
    let observed = observe(events, scenario.devices.len());
    let text = transcript(events);
    let keeping = Keeping::of(scenario, &options.subject, events, &observed, &judgements);
    let trouble = trouble.map(|t| t.in_full());
    let decide = |comparison: Option<&Comparison>| {
        decision(
            scenario,
            &options.subject,
            events,
            &observed,
            &judgements,
            trouble.as_deref(),
            comparison,
        )
    };
    let path = keeping.path();
    let failed = |doing: &str, error: std::io::Error| {
        let mut decided = decide(None);
        decided.verdict = Verdict::Error;
        decided
            .reasons
            .push(format!("{} can't be {doing}: {error}", path.display()));
        decided
    };
    let in_trouble = trouble.is_some();
    let decided = match options.snapshots {
        Snapshots::Leave => decide(None),
        _ if !options.subject.has_snapshots() => decide(None),
        Snapshots::Compare => match keeping.compare(&text) {
            Ok(Comparison::Missing) if options.subject.may_lack_snapshots() => decide(None),
            Ok(comparison) => {
                let mut decided = decide(Some(&comparison));
                // What --bless would not accept is not offered either.
                let acceptable = is_as_known(decide(None).verdict);
                if let Err(error) = keeping.offer(&text, &comparison, acceptable) {
                    let path = snapshot::pending(path);
                    let note = format!("{} can't be written: {error}", path.display());
                    decided.notes.push(note);
                }
                decided
            }
            Err(error) => failed("read", error),
        },
        Snapshots::Bless => match decide(None) {
            mut passed if is_as_known(passed.verdict) => {
                match keeping.bless(&text) {
                    Ok(true) => passed.notes.push(format!("wrote {}", path.display())),
                    Ok(false) => {}
                    Err(error) => passed = failed("written", error),
                }
                passed
            }
            mut other => {
                other
                    .notes
                    .push("the transcript is not accepted: the scenario did not pass".into());
                other
            }
        },
    };
    let mut report = report(
        scenario,
        options,
        &observed,
        judgements,
        decided,
        begin.elapsed(),
    );
    if in_trouble {
        // The guest did not get to show what the driver does.
        (report.outcome, report.interrupts) = (None, None);
    }
    Run {
        report,
        transcript: text,
        row: keeping.into_row(),
    }
}

/// Whether a transcript may become a snapshot: nothing in it is news.
fn is_as_known(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Pass | Verdict::Xfail)
}

/// The events before somebody interfered with the guest to find out what is wrong with it.
fn before_examined(events: &[Event]) -> &[Event] {
    let examined = events.iter().position(|event| {
        matches!(&event.what, What::Mark { step: None, phase, .. } if phase == phase::EXAMINED)
    });
    &events[..examined.unwrap_or(events.len())]
}

/// What the rules see of a run that ends with a crash dump: to it belongs what the guest says of the dump, but not
/// what the device hears then. A driver that writes one needs no interrupts, and stops nothing.
pub(crate) fn judged(events: &[Event]) -> Cow<'_, [Event]> {
    let is_dump = |event: &Event| matches!(&event.what, What::Mark { step: None, phase, .. } if phase == phase::DUMPED);
    let Some(at) = events.iter().position(is_dump) else {
        return Cow::Borrowed(events);
    };
    let (before, after) = events.split_at(at);
    let said = |event: &&Event| matches!(event.what, What::Log { .. });
    let said = after.iter().filter(said).cloned();
    Cow::Owned(before.iter().cloned().chain(said).collect())
}

fn decision(
    scenario: &Scenario,
    subject: &Subject,
    events: &[Event],
    observed: &Observed,
    judgements: &[Judgement],
    trouble: Option<&str>,
    snapshot: Option<&Comparison>,
) -> Decision {
    let faults: Vec<(u8, String, String)> = faults(scenario).collect();
    let driver = subject.driver();
    Case {
        expect: &scenario.expect,
        guest: subject.kind(),
        driver: driver.as_deref(),
        known: &subject.known(),
        faults: &faults,
        events,
        observed,
        judgements,
        snapshot,
        trouble,
    }
    .decide()
}

/// Device, id and name of every fault.
fn faults(scenario: &Scenario) -> impl Iterator<Item = (u8, String, String)> {
    scenario
        .devices
        .iter()
        .flat_map(|device| &device.faults)
        .map(|fault| {
            (
                fault.device(),
                fault.id().to_owned(),
                fault.name().to_owned(),
            )
        })
}

fn report(
    scenario: &Scenario,
    options: &Options,
    observed: &Observed,
    rules: Vec<Judgement>,
    decided: Decision,
    took: Duration,
) -> ScenarioReport {
    ScenarioReport {
        name: scenario.name.clone(),
        guest: options.subject.name(),
        verdict: decided.verdict,
        outcome: observed.outcome,
        interrupts: Some(joined(&observed.interrupts)),
        duration_ms: millis(took),
        rules,
        faults: faults(scenario)
            .map(|(dev, id, name)| FaultReport {
                fired: observed.fired.get(&(dev, id.clone())).copied().unwrap_or(0),
                id,
                name,
            })
            .collect(),
        files: std::collections::BTreeMap::new(),
        reasons: decided.reasons,
        notes: decided.notes,
    }
}

/// QEMU's arguments for a scenario, with stand-ins for the sockets. Nothing is started.
pub fn dry_run(scenario: &Scenario, options: &Options) -> Vec<std::ffi::OsString> {
    let options = &options.of(scenario);
    let attachments: Vec<Attachment> = scenario
        .devices
        .iter()
        .enumerate()
        .map(|(n, device)| stand_in(n, &device.shape))
        .collect();
    argv(&spec(scenario, options, attachments))
}

/// What QEMU would be told of a device that is not served.
fn stand_in(n: usize, shape: &Shape) -> Attachment {
    let path = format!("RUN/dev{n}");
    match shape.attach {
        Attach::VfioUser => Attachment {
            chardevs: Vec::new(),
            device: json!({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": path}}),
            siblings: Attachment::siblings_of(shape),
        },
        Attach::VhostUser => Attachment {
            chardevs: vec![format!("socket,id=vhost{n},path={path}")],
            device: json!({
                "driver": "vhost-user-blk-pci",
                "chardev": format!("vhost{n}"),
                "vectors": shape.table_size(),
                "num-queues": shape.queues,
            }),
            siblings: Attachment::siblings_of(shape),
        },
    }
}
