//! One machine going through the steps of a scenario.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use misfire_device::fault::Facts;
use misfire_device::port::Served;
use misfire_device::shape::Attach;
use misfire_device::trace::{Host, What, World};

use super::Trouble;
use super::patience::Patience;
use super::recorder::Recorder;
use crate::guest::{Guest, Slot};
use crate::log::{Done, MachineLine};
use crate::machine::{
    MachineError, MachineSpec, Next, QmpError, TablePlace, device_number, slot_id,
};
use crate::rules::LEAVE;
use crate::scenario::{Action, Plug, Scenario, Step, Wait};
use crate::verdict::phase;

/// How long a step may be quiet on Linux at the most.
const LINUX_LIMIT: Duration = Duration::from_secs(4);
/// The same on a firmware, which does one thing at a time and looks for its end all the while.
const FIRMWARE_LIMIT: Duration = Duration::from_secs(3);
/// How long the guest may take to leave.
const EXIT_LIMIT: Duration = Duration::from_secs(3);
/// The same for one that did not answer its last command in time.
const WEDGED_LIMIT: Duration = Duration::from_millis(20);

/// How long a guest stays for whoever wants to look at it.
pub(super) const STAY: Duration = Duration::from_secs(24 * 3600);

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
    /// A guest with which something is wrong stays, until somebody stops us.
    keeps: bool,
}

/// What a root port reports when its function is pulled out: surprise down.
const LINK_DOWN: &str = "SDN";
/// What it may report while a link comes up: a receiver error.
const LINK_UP: &str = "RCVR";

/// How waiting ended.
#[derive(Clone, Debug, PartialEq)]
enum Waited<T> {
    Met(T),
    Timeout,
    /// The guest crashed or left.
    Over,
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
            leaving: false,
            stuck: false,
            over: false,
            watched: false,
            dumps: false,
            pace: 1,
            gives_up: Duration::ZERO,
            amiss: false,
            keeps: false,
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

    /// A guest with which something is wrong stays, until somebody stops us.
    pub(super) fn keeping(mut self, keeps: bool) -> Self {
        self.keeps = keeps;
        self
    }

    /// Goes through the steps. Each leaves a mark when it begins and when it ends.
    pub(super) async fn go(&mut self) -> Result<(), Trouble> {
        let scenario = self.scenario;
        for (index, step) in scenario.steps.iter().enumerate() {
            let number = Some(index);
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
        if self.keeps
            && (self.over || self.amiss)
            && let Some(how) = self.guest.show().await
        {
            self.stay(&how).await;
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
        let limit = if self.unanswered || self.stuck {
            WEDGED_LIMIT
        } else {
            EXIT_LIMIT
        };
        let mut patience = Patience::new(limit * self.pace);
        // A guest that is not ready does not read commands.
        if let Waited::Met(()) = self.until_ready(&mut patience).await? {
            if self.dumps {
                let text = "the system crashes, and the driver writes the dump";
                self.recorder.mark(None, phase::DUMPED, text);
            }
            self.recorder.mark(None, LEAVE, "the guest is told to end");
            self.guest.say("exit").await;
            self.leaving = true;
            let _ = self
                .until("the guest's end", &mut patience, false, |_| None::<()>)
                .await?;
        }
        Ok(())
    }

    /// How long a step may be quiet. What a system does that is not ours is never quiet for long.
    fn limit(&self, step: &Step) -> Duration {
        match self.guest {
            Guest::Linux(_) => step.timeout.min(LINUX_LIMIT),
            Guest::Windows(_) => step.timeout * self.pace + self.gives_up,
            Guest::Firmware(_) => step.timeout.min(FIRMWARE_LIMIT),
            Guest::Reference(_) => step.timeout,
        }
    }

    /// Lets the guest be until it ends or we are stopped.
    async fn stay(&mut self, how: &str) {
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
        eprintln!("{name}: the guest stays until Ctrl-C\n{found}{how}");
        let far = std::time::Instant::now() + STAY;
        while let Ok(Next::Line(_)) = self.guest.next("a person", far).await {}
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

    /// Has a device come or go. Whoever lets it go ends with its slot empty, and whoever puts it in again
    /// waits for that first.
    async fn plug(
        &mut self,
        plug: Plug,
        device: u8,
        text: &str,
        patience: &mut Patience,
    ) -> Result<Waited<bool>, Trouble> {
        if plug == Plug::Surprise
            && let Some(served) = self.served.get(usize::from(device))
        {
            served.host(Host {
                command: "unplug.surprise".into(),
                ..Host::default()
            });
        }
        match plug {
            Plug::Orderly => self.press(device).await?,
            Plug::Surprise => self.pulled(device).await?,
            Plug::Replug => {}
        }
        let waited = self.until_removed(Some(device), text, patience).await?;
        if plug == Plug::Replug && waited == Waited::Met(true) {
            self.put_in(device).await?;
        }
        Ok(waited)
    }

    /// Has the guest told that a device was pulled out.
    async fn pulled(&mut self, device: u8) -> Result<(), Trouble> {
        self.pulled.insert(device);
        if self.guest.watches_slots() {
            self.link(device, LINK_DOWN).await?;
        }
        self.let_go(device);
        Ok(())
    }

    fn let_go(&mut self, device: u8) {
        let (kept, surprise) = (self.keeps(device), self.pulled.contains(&device));
        self.guest.slot(device, Slot::LetGo { kept, surprise });
    }

    /// Whether QEMU keeps a device when the guest lets it go. Nothing but a guest's own switching takes one out
    /// that is pulled.
    fn keeps(&self, device: u8) -> bool {
        let stays = !self.guest.switches_slots() && self.pulled.contains(&device);
        self.scenario.keeps(device) || stays
    }

    /// Switches the slots off that are still on because the guest does not do it.
    async fn switch_off(&mut self) -> Result<(), Trouble> {
        while let Some(device) = self.to_switch_off.pop() {
            let switched = self.guest.machine().switch_slot(device, false).await;
            if_there(switched)?;
        }
        Ok(())
    }

    /// Has the root port of a device report an error of its link.
    async fn link(&mut self, device: u8, error: &str) -> Result<(), Trouble> {
        let line = format!("pcie_aer_inject_error {} {error}", slot_id(device.into()));
        let reported = self.guest.machine().qmp().monitor(line).await;
        if_there(reported.map(|_| ()).map_err(MachineError::from))
    }

    /// Presses the attention button of a slot. A device that was asked for already, or is gone, is no
    /// error.
    async fn press(&mut self, device: u8) -> Result<(), Trouble> {
        if self.keeps(device) && !self.guest.switches_slots() {
            // The guest would let QEMU take it out.
            self.let_go(device);
            return Ok(());
        }
        let pressed = self
            .guest
            .machine()
            .remove_device(usize::from(device))
            .await;
        self.let_go(device);
        match pressed {
            Err(MachineError::Qmp(QmpError::Refused { .. })) => Ok(()),
            pressed => if_there(pressed),
        }
    }

    /// Puts a device in again. Of one that QEMU has kept in its slot only the link comes up.
    async fn put_in(&mut self, device: u8) -> Result<(), Trouble> {
        self.removed.remove(&device);
        self.pulled.remove(&device);
        let Self { guest, spec, .. } = self;
        if self.deleted.remove(&device) {
            if_there(guest.machine().add_device(spec, device.into()).await)?;
        } else if guest.watches_slots() {
            self.link(device, LINK_UP).await?;
        } else if !guest.switches_slots() {
            if_there(guest.machine().switch_slot(device, true).await)?;
        }
        self.guest.slot(device, Slot::PutIn);
        Ok(())
    }

    async fn until_removed(
        &mut self,
        device: Option<u8>,
        text: &str,
        patience: &mut Patience,
    ) -> Result<Waited<bool>, Trouble> {
        self.until(text, patience, true, |s| {
            let is_out = |device: &u8| {
                let kept = s.keeps(*device);
                s.removed.contains(device) && (kept || s.deleted.contains(device))
            };
            let gone = match device {
                Some(device) => is_out(&device),
                None => s.removed.iter().any(is_out),
            };
            gone.then_some(true)
        })
        .await
    }

    /// Does what faults asked the machine to do. A device that is not gone yet is put in later.
    async fn obey_faults(&mut self) -> Result<(), Trouble> {
        for _ in 0..self.plugs.len() {
            match self.plugs.pop_front() {
                Some((Plug::Replug, device))
                    if self.removed.contains(&device)
                        && (self.keeps(device) || self.deleted.contains(&device)) =>
                {
                    self.put_in(device).await?;
                }
                Some(replug @ (Plug::Replug, _)) => self.plugs.push_back(replug),
                Some((Plug::Orderly, device)) => self.press(device).await?,
                Some((Plug::Surprise, device)) => self.pulled(device).await?,
                None => {}
            }
        }
        Ok(())
    }

    async fn wait(
        &mut self,
        wait: &Wait,
        device: Option<u8>,
        text: &str,
        patience: &mut Patience,
    ) -> Result<Waited<bool>, Trouble> {
        let concerns = move |dev: usize| device.is_none_or(|d| usize::from(d) == dev);
        Ok(match wait {
            Wait::Ready => self.until_ready(patience).await?.map(|()| true),
            Wait::Started => {
                self.until_unless_declined(device, text, patience, false, |s| {
                    let all = s
                        .started
                        .iter()
                        .enumerate()
                        .all(|(dev, s)| *s || !concerns(dev));
                    all.then_some(true)
                })
                .await?
            }
            Wait::Removed => self.until_removed(device, text, patience).await?,
            // A load that was never given has no answer.
            Wait::Loaded if self.loading.is_none() => Waited::Met(false),
            Wait::Loaded => self.answer(text, patience).await?.map(|done| done.ok),
            Wait::Live => {
                self.until_unless_declined(device, text, patience, true, |s| {
                    let mut devices = s
                        .world
                        .devices
                        .iter()
                        .filter(|(dev, _)| concerns(usize::from(**dev)));
                    devices.all(|(_, d)| d.live()).then_some(true)
                })
                .await?
            }
            Wait::Until(predicate) => {
                self.until(text, patience, true, |s| {
                    let mut devices = s
                        .world
                        .devices
                        .iter()
                        .filter(|(dev, _)| concerns(usize::from(**dev)));
                    devices
                        .all(|(_, d)| predicate.holds(&Facts::new(d)))
                        .then_some(true)
                })
                .await?
            }
        })
    }

    /// As [`Session::until`], for what only a driver that starts can bring: a guest that takes commands and has
    /// said that it did not start does not start it by itself, unless the device may come again. The wait is
    /// in vain then, and not longer than it has to be.
    async fn until_unless_declined(
        &mut self,
        device: Option<u8>,
        text: &str,
        patience: &mut Patience,
        watching: bool,
        mut test: impl FnMut(&mut Self) -> Option<bool>,
    ) -> Result<Waited<bool>, Trouble> {
        let concerns = move |dev: usize| device.is_none_or(|d| usize::from(d) == dev);
        let waited = self
            .until(text, patience, watching, |s| {
                let mut declined = s.declined.iter().enumerate();
                let in_vain = s.ready
                    && !s.moves
                    && matches!(s.guest, Guest::Reference(_))
                    && declined.any(|(dev, declined)| *declined && concerns(dev));
                test(s).or(in_vain.then_some(false))
            })
            .await?;
        Ok(match waited {
            Waited::Met(false) => Waited::Timeout,
            waited => waited,
        })
    }

    /// Waits until the guest reads commands; the MSI-X tables are read when it does.
    async fn until_ready(&mut self, patience: &mut Patience) -> Result<Waited<()>, Trouble> {
        if self.read {
            return Ok(Waited::Met(()));
        }
        let waited = self
            .until("the guest's `ready`", patience, false, |s| {
                s.ready.then_some(())
            })
            .await?;
        if waited == Waited::Met(()) {
            self.tables().await?;
            self.read = true;
        }
        Ok(waited)
    }

    /// Gives the guest a command. The answer tells whether it was done.
    async fn command(
        &mut self,
        command: &str,
        patience: &mut Patience,
    ) -> Result<Waited<bool>, Trouble> {
        match self.until_ready(patience).await? {
            Waited::Met(()) => {}
            Waited::Timeout => return Ok(Waited::Timeout),
            Waited::Over => return Ok(Waited::Over),
        }
        self.say(command).await;
        let awaited = format!("the answer to `{command}`");
        let waited = self.answer(&awaited, patience).await?;
        if let Waited::Met(done) = &waited
            && done.ok
            && done.verb == "device"
        {
            self.tables().await?;
        }
        Ok(waited.map(|done| done.ok))
    }

    async fn say(&mut self, command: &str) {
        self.answers.clear();
        self.guest.say(command).await;
    }

    /// Waits for the answer to the last command.
    async fn answer(
        &mut self,
        awaited: &str,
        patience: &mut Patience,
    ) -> Result<Waited<Done>, Trouble> {
        let waited = self
            .until(awaited, patience, false, |s| s.answers.pop_front())
            .await?;
        self.unanswered = waited == Waited::Timeout;
        Ok(waited)
    }

    /// Reads the MSI-X table of each device that uses it, or did, into the journal: a driver that
    /// fell back to the line has left in it what it was granted.
    async fn tables(&mut self) -> Result<(), Trouble> {
        self.catch_up();
        for (dev, device) in (0..).zip(&self.scenario.devices) {
            let bar = match device.shape.attach {
                Attach::VfioUser => 2,
                Attach::VhostUser => 1, // QEMU's virtio-pci
            };
            let place = TablePlace {
                bar,
                offset: 0,
                entries: device.shape.table_size(),
            };
            let uses = match device.shape.attach {
                Attach::VfioUser => self
                    .world
                    .devices
                    .get(&dev)
                    .is_some_and(|d| d.msix_was_enabled),
                Attach::VhostUser => true,
            };
            if place.entries == 0 || !uses {
                continue;
            }
            match self.guest.machine().record_msix_table(dev, place).await {
                Ok(entries) => {
                    if let Some(served) = self.served.get(usize::from(dev)) {
                        served.tell_table(&entries);
                    }
                }
                Err(MachineError::Qmp(QmpError::NoTable { .. })) => {}
                Err(error) => if_there(Err(error))?,
            }
        }
        Ok(())
    }

    /// Follows the guest, and with `watching` the devices too, until `test` finds what it wants.
    async fn until<T>(
        &mut self,
        awaited: &str,
        patience: &mut Patience,
        watching: bool,
        mut test: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<Waited<T>, Trouble> {
        let watching = watching || self.moves;
        loop {
            if watching {
                self.catch_up();
                self.obey_faults().await?;
            }
            if let Some(found) = test(self) {
                return Ok(Waited::Met(found));
            }
            if self.over {
                return Ok(Waited::Over);
            }
            self.alive()?;
            if self.stuck || patience.is_over(self.recorder.count()) {
                return Ok(Waited::Timeout);
            }
            let (seen, slice) = (self.seen, patience.slice());
            let next = tokio::select! {
                next = self.guest.next(awaited, slice) => next?,
                () = self.recorder.more(seen), if watching => continue,
            };
            match next {
                Next::Line(line) => {
                    self.hear(&line)?;
                    self.switch_off().await?;
                }
                Next::Silent => {}
                Next::Left(status) => {
                    self.over = true;
                    if !self.leaving {
                        let text = format!("the guest ended the machine, exit status {status}");
                        self.recorder.mark(None, phase::LEFT, &text);
                    }
                }
            }
        }
    }

    /// What a guest does whose device has died says nothing of its driver.
    fn alive(&self) -> Result<(), Trouble> {
        let mut each = self.served.iter().enumerate();
        let died = each.find_map(|(dev, served)| Some((dev, served.died()?)));
        died.map_or(Ok(()), |(dev, source)| Err(Trouble::Died { dev, source }))
    }

    fn hear(&mut self, line: &str) -> Result<(), Trouble> {
        self.stuck |= line.starts_with("NT: check poll ");
        match MachineLine::parse(line) {
            Some(MachineLine::Ready) => self.ready = true,
            Some(MachineLine::Started(started)) => {
                if let Some(device) = self.started.get_mut(usize::from(started.dev)) {
                    *device = true;
                }
                self.decline(started.dev, false);
            }
            Some(MachineLine::Failed { dev, .. }) => self.decline(dev, true),
            Some(MachineLine::Removed { dev, .. }) => {
                if let Some(device) = self.started.get_mut(usize::from(dev)) {
                    *device = false;
                }
                self.removed.insert(dev);
                if self.keeps(dev) && !self.guest.switches_slots() {
                    self.to_switch_off.push(dev);
                }
            }
            Some(MachineLine::Done(done)) => self.answers.push_back(done),
            Some(MachineLine::Crash(_)) => self.over = true,
            // It has done what it had to, and waits for its end.
            Some(MachineLine::Exit) if self.leaving && self.guest.waits_for_end() => {
                self.over = true;
            }
            Some(MachineLine::Error(text)) => return Err(Trouble::Guest(text)),
            _ => {}
        }
        Ok(())
    }

    fn decline(&mut self, dev: u8, declined: bool) {
        if let Some(device) = self.declined.get_mut(usize::from(dev)) {
            *device = declined;
        }
    }

    /// Brings what is known of the devices up to date.
    fn catch_up(&mut self) {
        let Self {
            world,
            deleted,
            plugs,
            ..
        } = self;
        self.seen = self.recorder.look(self.seen, |event| {
            world.apply(event);
            match &event.what {
                What::Fault(fired) => {
                    plugs.extend(Plug::of_fault(&fired.fault).map(|plug| (plug, fired.dev)));
                }
                What::Qmp { event, data } if event == "DEVICE_DELETED" => {
                    deleted.extend(data["device"].as_str().and_then(device_number));
                }
                _ => {}
            }
        });
    }
}

/// What was asked of QEMU, which may be gone. Then the guest has left, or QEMU died: whoever waits for the
/// guest's next line is told which.
fn if_there(done: Result<(), MachineError>) -> Result<(), Trouble> {
    match done {
        Err(MachineError::Qmp(QmpError::Channel { .. })) => Ok(()),
        done => Ok(done?),
    }
}

/// The phase that a step ends with.
fn ended(waited: &Waited<bool>) -> &'static str {
    match waited {
        Waited::Met(true) => phase::END,
        Waited::Met(false) => phase::FAILED,
        Waited::Timeout => phase::TIMEOUT,
        Waited::Over => phase::SKIPPED,
    }
}

impl<T> Waited<T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Waited<U> {
        match self {
            Self::Met(value) => Waited::Met(f(value)),
            Self::Timeout => Waited::Timeout,
            Self::Over => Waited::Over,
        }
    }
}
