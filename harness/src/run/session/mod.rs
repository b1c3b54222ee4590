//! One machine going through the steps of a scenario.

mod hearing;
mod slots;
mod waiting;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use misfire_device::port::Served;
use misfire_device::trace::{Step as TraceStep, What, World};

use super::drive::Trouble;
use super::patience::Patience;
use super::recorder::Recorder;
use super::stop::Stop;
use crate::guest::Guest;
use crate::log::Done;
use crate::machine::{MachineSpec, Next};
use crate::rules::LEAVE;
use crate::scenario::{Action, Plug, Scenario, Step, Wait};
use crate::verdict::phase;
use waiting::{Waited, ended};

/// How long a step may be quiet on Linux at the most.
const LINUX_LIMIT: Duration = Duration::from_secs(4);
/// The same of one to which nothing new can come, behind one that ran out of time.
const IN_VAIN_LIMIT: Duration = Duration::from_millis(500);
/// The same on a firmware, which does one thing at a time and looks for its end all the while.
const FIRMWARE_LIMIT: Duration = Duration::from_secs(3);
/// How long the guest may take to leave.
const EXIT_LIMIT: Duration = Duration::from_secs(3);
/// Likewise while it writes a crash dump. It waits a second for each request by a clock of its own, which is slower than
/// ours on a busy machine.
const DUMP_LIMIT: Duration = Duration::from_secs(12);
/// How long a line may stay asserted before the system crashes all the same.
const SERVED_LIMIT: Duration = Duration::from_millis(200);
/// The same for one that did not answer its last command in time.
const WEDGED_LIMIT: Duration = Duration::from_millis(20);

/// How long a guest stays for whoever wants to look at it.
pub(super) const STAY: Duration = Duration::from_secs(24 * 3600);

/// What has happened, counted.
#[derive(Debug, Default)]
struct Happened {
    /// Where the record ended at the last look.
    looked: usize,
    count: usize,
    /// The kernel has told of a hang.
    hang: bool,
    /// The last access, if it was a read.
    read: Option<TraceStep>,
}

/// A machine, and what is known of its guest.
pub(super) struct Session<'a> {
    scenario: &'a Scenario,
    guest: Guest,
    served: &'a [Served],
    recorder: &'a Recorder,
    /// What the machine is, for devices that are put in again.
    spec: MachineSpec,
    world: World,
    /// Devices may come and go.
    moves: bool,
    /// Devices that the guest has let go.
    removed: BTreeSet<u8>,
    /// Those of them that QEMU has taken out.
    deleted: BTreeSet<u8>,
    /// Devices that were pulled out, and were not put in again.
    pulled: BTreeSet<u8>,
    /// Slots to be switched off for a guest that does not.
    to_switch_off: Vec<u8>,
    /// What faults asked the machine to do with a slot, and was not done yet.
    plugs: VecDeque<(Plug, u8)>,
    seen: usize,
    ready: bool,
    /// The MSI-X tables have been read since.
    read: bool,
    /// Drivers that said that they started, by device.
    started: Vec<bool>,
    /// Drivers of which the guest said that they did not, by device.
    declined: Vec<bool>,
    answers: VecDeque<Done>,
    /// The load that runs in the background: its step, and that in words.
    loading: Option<(usize, String)>,
    /// The last command ran out of time.
    unanswered: bool,
    /// The last step ran out of time, or a wait behind it has ended without anything that happened.
    in_vain: bool,
    happened: Happened,
    /// The guest was told to leave.
    leaving: bool,
    /// A driver does not come back, and waits for something without an end.
    stuck: bool,
    /// The guest crashed or left.
    over: bool,
    /// The guest watches its driver.
    watched: bool,
    /// At its end the guest crashes.
    dumps: bool,
    /// How much longer than its time a step may take.
    pace: u32,
    /// How long a driver may wait for a request that does not end.
    gives_up: Duration,
    /// Whether a step did not end as it should.
    amiss: bool,
    /// A guest with which something is wrong stays, until we are told to stop.
    keeps: Option<Stop>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        spec: MachineSpec,
        guest: Guest,
        served: &'a [Served],
        recorder: &'a Recorder,
    ) -> Self {
        Self {
            scenario,
            guest,
            served,
            recorder,
            spec,
            world: World::default(),
            moves: !scenario.slots().is_empty(),
            removed: BTreeSet::new(),
            deleted: BTreeSet::new(),
            pulled: BTreeSet::new(),
            to_switch_off: Vec::new(),
            plugs: VecDeque::new(),
            seen: 0,
            ready: false,
            read: false,
            started: vec![false; scenario.devices.len()],
            declined: vec![false; scenario.devices.len()],
            answers: VecDeque::new(),
            loading: None,
            unanswered: false,
            in_vain: false,
            happened: Happened::default(),
            leaving: false,
            stuck: false,
            over: false,
            watched: false,
            dumps: false,
            pace: 1,
            gives_up: Duration::ZERO,
            amiss: false,
            keeps: None,
        }
    }

    /// Every step may take `pace` times as long, and `gives_up` longer.
    pub(super) fn paced(mut self, pace: u32, gives_up: Duration) -> Self {
        (self.pace, self.gives_up) = (pace, gives_up);
        self
    }

    /// The guest watches its driver, and says when that waits without an end.
    pub(super) fn watched(mut self, watched: bool) -> Self {
        self.watched = watched;
        self
    }

    /// At its end the guest crashes, and its driver writes the dump.
    pub(super) fn dumping(mut self, dumps: bool) -> Self {
        self.dumps = dumps;
        self
    }

    /// A guest with which something is wrong stays, until we are told to stop.
    pub(super) fn keeping(mut self, keeps: Option<Stop>) -> Self {
        self.keeps = keeps;
        self
    }

    /// Goes through the steps. Each leaves a mark when it begins and when it ends.
    pub(super) async fn go(&mut self) -> Result<(), Trouble> {
        let scenario = self.scenario;
        for (index, step) in scenario.steps.iter().enumerate() {
            let number = Some(index);
            let before = self.happened();
            if self.over || self.stuck {
                self.recorder.mark(number, phase::SKIPPED, &step.text);
                continue;
            }
            self.recorder.mark(number, phase::BEGIN, &step.text);
            if step.background {
                self.start(index, step).await?;
                continue;
            }
            let ended = self.step(step).await?;
            self.recorder.mark(number, ended, &step.text);
            let only_marks = self.happened() <= before + 2;
            self.in_vain = ended == phase::TIMEOUT || self.in_vain && only_marks;
            if ended != phase::END && !self.amiss && !self.over {
                self.amiss = true;
                self.over = !self.guest.examine().await;
            }
        }
        self.loaded(phase::SKIPPED);
        Ok(())
    }

    /// Has the guest leave, and ends the machine.
    pub(super) async fn end(mut self) -> Result<(), Trouble> {
        if self.over && !self.amiss {
            self.guest.examine().await;
        }
        if (self.over || self.amiss)
            && let Some(stop) = self.keeps.take()
            && let Some(how) = self.guest.show().await
        {
            self.stay(&how, &stop).await;
        }
        let left = match self.over || self.alive().is_err() {
            true => Ok(()),
            false => self.leave().await,
        };
        let ended = self.guest.end().await;
        left.and(ended.map_err(Trouble::from))
    }

    /// Has the guest leave.
    async fn leave(&mut self) -> Result<(), Trouble> {
        // One that never answered a command does not read the next.
        let limit = match self.guest {
            _ if self.unanswered || self.stuck => WEDGED_LIMIT,
            Guest::Firmware(_) if self.in_vain && !self.ready => WEDGED_LIMIT,
            Guest::Linux(_) if self.amiss => IN_VAIN_LIMIT,
            _ if self.dumps => DUMP_LIMIT,
            _ => EXIT_LIMIT,
        };
        let mut patience = Patience::new(limit * self.pace).watched(self.watched);
        // A guest that is not ready does not read commands.
        if let Waited::Met(()) = self.until_ready(&mut patience).await? {
            if self.dumps {
                // What the driver was told before belongs to what it did before.
                let served =
                    |s: &mut Self| (!s.world.devices.values().any(|d| d.pin)).then_some(());
                let mut soon = Patience::new(SERVED_LIMIT * self.pace);
                self.until("the lines to be served", &mut soon, true, served)
                    .await?;
                let text = "the system crashes, and the driver writes the dump";
                self.recorder.mark(None, phase::DUMPED, text);
            }
            self.recorder.mark(None, LEAVE, "the guest is told to end");
            self.guest.say("exit").await;
            self.leaving = true;
            let waited = self
                .until("the guest's end", &mut patience, false, |_| None::<()>)
                .await?;
            // Its driver is what keeps it.
            if self.watched && waited == Waited::Timeout && limit >= EXIT_LIMIT {
                self.recorder
                    .mark(None, phase::STAYED, "the guest does not end");
            }
        }
        Ok(())
    }

    /// How long a step may be quiet. What a system does that is not ours is never quiet for long.
    fn limit(&self, step: &Step) -> Duration {
        match self.guest {
            Guest::Linux(_) if self.in_vain && self.is_passive(step) => {
                step.timeout.min(IN_VAIN_LIMIT)
            }
            Guest::Linux(_) => step.timeout.min(LINUX_LIMIT),
            Guest::Windows(_) => step.timeout * self.pace + self.gives_up,
            Guest::Firmware(_) => step.timeout.min(FIRMWARE_LIMIT),
            Guest::Reference(_) => step.timeout,
        }
    }

    /// Whether a step gives the guest nothing that it could take: what is waited for has been waited for already.
    fn is_passive(&self, step: &Step) -> bool {
        match step.action {
            Action::Wait(..) | Action::Plug(Plug::Replug, _) => true,
            Action::Load(..) | Action::Guest(_) => self.unanswered || !self.ready,
            Action::Host(..) | Action::Plug(..) => false,
        }
    }

    /// Lets the guest be until it ends or we are told to stop. What a person does with it is not the driver's
    /// doing, and it is not told anything afterwards.
    async fn stay(&mut self, how: &str, stop: &Stop) {
        stop.stays();
        let name = &self.scenario.name;
        let mut found = String::new();
        self.recorder.look(0, |event| match &event.what {
            What::Mark {
                phase: of, text, ..
            } if of == phase::EVIDENCE => {
                found += &format!("  {text}\n");
            }
            _ => {}
        });
        self.recorder.mark(None, phase::EXAMINED, "the guest stays");
        eprintln!("{name}: the guest stays until Ctrl-C\n{found}{how}");
        let far = std::time::Instant::now() + STAY;
        let until_gone =
            async { while let Ok(Next::Line(_)) = self.guest.next("a person", far).await {} };
        tokio::select! {
            () = until_gone => {}
            () = stop.told() => {}
        }
        self.over = true;
    }

    /// The phase that the step ends with.
    async fn step(&mut self, step: &Step) -> Result<&'static str, Trouble> {
        let patience = &mut Patience::new(self.limit(step)).watched(self.watched);
        let waited = match &step.action {
            Action::Wait(wait, device) => self.wait(wait, *device, &step.text, patience).await?,
            Action::Host(host, device) => {
                if let Some(served) = self.served.get(usize::from(*device)) {
                    served.host(host.clone());
                }
                Waited::Met(true)
            }
            Action::Plug(plug, device) => self.plug(*plug, *device, &step.text, patience).await?,
            Action::Load(..) | Action::Guest(_) => match step.command() {
                Some(command) => self.command(&command, patience).await?,
                None => Waited::Met(true),
            },
        };
        let ended = ended(&waited);
        if step.action == Action::Wait(Wait::Loaded, None) {
            self.loaded(ended);
        }
        Ok(ended)
    }

    /// Gives the guest a load, and does not wait for its end.
    async fn start(&mut self, index: usize, step: &Step) -> Result<(), Trouble> {
        self.loading = Some((index, step.text.clone()));
        match (
            self.until_ready(&mut Patience::new(self.limit(step)))
                .await?,
            step.command(),
        ) {
            (Waited::Met(()), Some(command)) => self.say(&command).await,
            (waited, _) => self.loaded(ended(&waited.map(|()| true))),
        }
        Ok(())
    }

    /// The load in the background has ended, if there is one: leaves the mark of its end.
    fn loaded(&mut self, ended: &str) {
        if let Some((index, text)) = self.loading.take() {
            self.recorder.mark(Some(index), ended, &text);
        }
    }
}
