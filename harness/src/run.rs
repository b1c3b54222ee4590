//! Running scenarios: the only place where scenario, device, machine and rules meet.

mod conclude;
mod drive;
mod keep;
mod keeping;
mod patience;
mod recorder;
mod session;
mod stop;
mod subject;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use crate::machine::{Accel, Qemu};
use crate::report::{Document, Progress, ScenarioReport};
use crate::scenario::Scenario;
use crate::verdict::Verdict;
pub(crate) use conclude::judged;
use conclude::{conclude, skipped};
use drive::drive;
pub use drive::dry_run;
pub(crate) use drive::parameters;
use keep::Kept;
use recorder::Recorder;
use stop::Stop;
pub use subject::{NoGuest, REFERENCE, Subject, WindowsSubject};

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
    /// What goes over a Windows' lines, byte for byte, in a folder of the scenario's name, and what is kept of
    /// the run.
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
/// runs, unless it has let the last one go whose guest has stayed; no machine is left when this returns.
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
    let all = scenarios.len();
    tell(Progress::Begin(all));
    let at_once = options.jobs.clamp(1, options.subject.at_once());
    let places = Arc::new(Semaphore::new(at_once));
    let (stop, told) = watch::channel(false);
    let mut running = JoinSet::new();
    for scenario in scenarios {
        let (options, places, tell) = (Arc::clone(&options), Arc::clone(&places), tell.clone());
        let stop = Stop::of(&told);
        running.spawn(async move {
            let run = async {
                let _place = places.acquire_owned().await;
                tell(Progress::Start(scenario.name.clone()));
                let run = run_until(&scenario, &options, &stop).await;
                tell(Progress::End(Box::new(run.report.clone())));
                run
            };
            tokio::select! {
                run = run => Some(run),
                () = stop.ends() => None,
            }
        });
    }
    let mut each: Vec<Run> = Vec::new();
    let mut interrupt = std::pin::pin!(interrupt);
    let mut interrupted = false;
    loop {
        let next = tokio::select! {
            next = running.join_next() => next,
            () = &mut interrupt, if !interrupted => {
                interrupted = true;
                stop.send_replace(true);
                continue;
            }
        };
        match next {
            None => break,
            Some(Ok(run)) => each.extend(run),
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Some(Err(_)) => (),
        }
    }
    each.sort_by(|a, b| a.report.name.cmp(&b.report.name));
    (each.len() == all).then(|| Runs {
        each,
        took: begin.elapsed(),
    })
}

/// Runs one scenario to its verdict. Whatever goes wrong is in the report.
///
/// # Panics
/// Outside a tokio runtime with I/O and time.
pub async fn run_scenario(scenario: &Scenario, options: &Options) -> Run {
    run_until(scenario, options, &Stop::never()).await
}

async fn run_until(scenario: &Scenario, options: &Options, stop: &Stop) -> Run {
    let begin = Instant::now();
    let options = &options.of(scenario);
    if let Some(reason) = options.subject.skips(scenario) {
        return skipped(scenario, options, reason);
    }
    let kept = Kept::open(&options.out, &scenario.name);
    let recorder = Recorder::new();
    recorder.begin(&scenario.name);
    let opened = kept.trace(&recorder.events());
    let trouble = drive(scenario, options, &recorder, kept.folder(), stop)
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
        let copied = || match &options.keeping.recording {
            Some(to) => kept.copy(&to.join(&scenario.name)),
            None => Ok(()),
        };
        let all = opened.and_then(|()| kept.all(&events, &run));
        if let Err(reason) = all.and_then(|()| copied()) {
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
