//! Waiting for the guest, its devices and its answers.

use std::time::Duration;

use misfire_device::fault::Facts;

use super::{Patience, Session, Trouble};
use crate::guest::Guest;
use crate::log::Done;
use crate::machine::Next;
use crate::scenario::Wait;
use crate::verdict::phase;

/// How long everything may be quiet when a guest does nothing by itself.
const IDLE_LIMIT: Duration = Duration::from_millis(300);

/// How waiting ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Waited<T> {
    Met(T),
    Timeout,
    /// The guest crashed or left.
    Over,
}

impl<T> Waited<T> {
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> Waited<U> {
        match self {
            Self::Met(value) => Waited::Met(f(value)),
            Self::Timeout => Waited::Timeout,
            Self::Over => Waited::Over,
        }
    }
}

impl Session<'_> {
    pub(super) async fn wait(
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
    pub(super) async fn until_ready(
        &mut self,
        patience: &mut Patience,
    ) -> Result<Waited<()>, Trouble> {
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
    pub(super) async fn command(
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

    pub(super) async fn say(&mut self, command: &str) {
        self.answers.clear();
        self.guest.say(command).await;
    }

    /// Waits for the answer to the last command.
    pub(super) async fn answer(
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

    /// Whether the guest does nothing by itself until it is told something: what a device is awaited to do comes soon
    /// then, or not at all.
    fn guest_is_idle(&self) -> bool {
        self.ready && self.loading.is_none() && matches!(self.guest, Guest::Firmware(_))
    }

    /// Follows the guest, and with `watching` the devices too, until `test` finds what it wants.
    pub(super) async fn until<T>(
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
            if watching && self.guest_is_idle() {
                patience.at_most(IDLE_LIMIT);
            }
            let happened = self.happened();
            if self.stuck || patience.is_over(self.happened.looked, happened) {
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
}

/// The phase that a step ends with.
pub(super) fn ended(waited: &Waited<bool>) -> &'static str {
    match waited {
        Waited::Met(true) => phase::END,
        Waited::Met(false) => phase::FAILED,
        Waited::Timeout => phase::TIMEOUT,
        Waited::Over => phase::SKIPPED,
    }
}
