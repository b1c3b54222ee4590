//! WIN-PNP, WIN-STOR and a part of WIN-MSI: devices that come, go, sleep, and get other resources.

use misfire_device::spec::{CommonCfg as C, Field, PciHeader, Status, msix_control};
use misfire_device::trace::{Effect, Input, Op};

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule, Sight};
use crate::log::{Done, MachineLine, Said};

const BASE: Rule = Rule {
    level: Level::Vendor,
    robust: true,
    virtio: false,
    sight: Sight::Anything,
    ..Rule::BASE
};

/// Rules of WIN-MSI.
pub const MSI: &[Rule] = &[
    Rule {
        id: "WIN-MSI-008",
        sentence: "The device is quiet before its interrupts are disconnected, and before it leaves D0.",
        source: "kernel/ IoDisconnectInterruptEx, wdf/enabling-and-disabling-interrupts; B34",
        breaks: "MSI-X is switched off, or the function put to sleep, while DRIVER_OK is set and a queue has a vector",
        virtio: true,
        robust: false,
        sight: Sight::Registers,
        watch: Watch::with::<Quiet>(),
        ..BASE
    },
    Rule {
        id: "WIN-MSI-009",
        sentence: "After a rebalance the messages are taken from the new resources, and requests are served as before.",
        source: "kernel/introduction-to-message-signaled-interrupts; S17, B18, B29",
        breaks: "a driver that was stopped and started with other messages does not start, rejects requests, or waits for them in vain",
        proof: "From what the guest says of each start: other messages or another kind of interrupt than before.",
        watch: Watch::with::<Rebalanced>(),
        ..BASE
    },
];

/// Rules of WIN-PNP.
pub const PNP: &[Rule] = &[
    Rule {
        id: "WIN-PNP-001",
        sentence: "A driver whose device was pulled out lets go of it: it does not wait for it without an end, and the guest lives on.",
        source: "wdf/ EvtDeviceSurpriseRemoval, kernel/handling-an-irp-mn-surprise-removal-request; B26, B27, B28, B34, B42",
        breaks: "a function is pulled out, and the guest crashes, or its slot is still on when a step runs out of time or the trace ends",
        proof: "The slot is switched off, which resets the function or takes it out.",
        watch: Watch::with::<PulledOut>(),
        ..BASE
    },
    Rule {
        id: "WIN-PNP-002",
        sentence: "After D3 the driver sets the device up from the beginning, whatever it was before.",
        source: "kernel/ power management, wdf/ EvtDeviceD0Entry; B21, B43",
        breaks: "the function is woken up, and a queue is notified before the device was reset and brought up again; or the driver does not get it to work",
        virtio: true,
        sight: Sight::Registers,
        watch: Watch::with::<WokenUp>(),
        ..BASE
    },
];

/// Rules of WIN-STOR.
pub const STOR: &[Rule] = &[Rule {
    id: "WIN-STOR-001",
    level: Level::Derived,
    sentence: "A request that the device does not answer, answers late or can't answer any more ends, once.",
    source: "storport HwResetBus, StorPortNotification(RequestComplete); B28, B32, B54, B63",
    breaks: "an interrupt is lost, a queue stands still, a completion comes late or the device is pulled out, and then a load never ends, or a request ends twice",
    watch: Watch::with::<Requests>(),
    ..BASE
}];

/// Waits for interrupts to be taken from a device that may still use them.
#[derive(Default)]
struct Quiet {
    lived: bool,
}

impl Machine for Quiet {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let dev = &now.s.dev;
        let live = dev.status.has(Status::DRIVER_OK);
        self.lived |= live;
        let enabled = msix_control::ENABLE;
        let off = dev.msix_control & enabled != 0
            && now
                .shown()
                .any(|e| matches!(e, Effect::Control { msix, .. } if msix & enabled == 0));
        let sleeps = !dev.asleep() && now.written().is_some_and(|w| sleeps(w) == Some(true));
        if !(off || sleeps) || !self.lived {
            return;
        }
        let what = if off {
            "MSI-X is switched off"
        } else {
            "the function is put to sleep"
        };
        if live && dev.queues.iter().any(|q| q.enabled) {
            say.broken(
                Object::Device,
                &[],
                format!("{what} while DRIVER_OK is set"),
            );
        } else {
            say.held(Object::Device);
        }
    }
}

/// Whether a write of the power register leaves D0; none for another register.
fn sleeps((field, value): (Field, u64)) -> Option<bool> {
    (field == Field::PowerControl).then_some(value & 0b11 != 0)
}

/// Waits for a driver that was given other messages to do its work with them.
#[derive(Default)]
struct Rebalanced {
    before: Option<(String, u32)>,
    since: Option<u64>,
}

impl Machine for Rebalanced {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let Some(Said::Machine(MachineLine::Started(started))) = now.said() {
            let after = (started.mode.clone(), started.granted);
            if self
                .before
                .replace(after.clone())
                .is_some_and(|b| b != after)
            {
                self.since = Some(now.seq);
            }
            return;
        }
        let Some(since) = self.since else { return };
        let refused = |done: &Done| done.verb == "load" && !done.ok;
        let lost = matches!(now.said(), Some(Said::Lost { .. }));
        if lost || now.failure() || now.said().and_then(Said::done).is_some_and(refused) {
            self.since = None;
            say.broken(
                Object::Device,
                &[since, now.seq],
                "requests fail after the device was given other messages",
            );
        } else if now
            .said()
            .and_then(Said::done)
            .is_some_and(|d| d.verb == "load")
        {
            self.since = None;
            say.held(Object::Device);
        }
    }
}

/// Waits for a function that was pulled out to be let go.
#[derive(Default)]
struct PulledOut {
    gone: Option<u64>,
}

impl Machine for PulledOut {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if now.unplugged() {
            self.gone = Some(now.seq);
            return;
        }
        let Some(gone) = self.gone else { return };
        if now.step().is_some_and(|s| s.input == Input::FunctionReset) {
            self.gone = None;
            say.held(Object::Device);
        } else if now.said().is_some_and(Said::is_crash) {
            self.gone = None;
            say.broken(
                Object::Device,
                &[gone, now.seq],
                "the guest crashes after the function was pulled out",
            );
        } else if matches!(now.at, At::End | At::Mark("timeout")) {
            self.gone = None;
            say.broken(
                Object::Device,
                &[gone, now.seq],
                "the function was pulled out, and the driver does not let go of it",
            );
        }
    }
}

/// Waits for a driver to bring its device up after D3.
#[derive(Default)]
struct WokenUp {
    woken: Option<u64>,
    reset: bool,
}

impl Machine for WokenUp {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if now.s.dev.asleep() && now.written().and_then(sleeps) == Some(false) {
            (self.woken, self.reset) = (Some(now.seq), false);
            return;
        }
        let Some(woken) = self.woken else { return };
        self.reset |= now.wrote(C::DeviceStatus) == Some(0);
        if let Some((access, _)) = now.notifies() {
            let q = access.q.unwrap_or(0);
            self.woken = None;
            if self.reset {
                say.held(Object::Device);
            } else {
                say.broken(
                    Object::Queue(q),
                    &[woken, now.seq],
                    format!("queue {q} is notified after D3, and the device was not set up again"),
                );
            }
        } else if now.failure() {
            self.woken = None;
            say.broken(
                Object::Device,
                &[woken, now.seq],
                "the driver does not get the device to work after D3",
            );
        }
    }
}

/// Waits for requests to end after something happened to them.
#[derive(Default)]
struct Requests {
    since: Option<(u64, &'static str)>,
}

impl Machine for Requests {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        let fault = match now.at {
            At::Fault(fired) => match fired.fault.as_str() {
                "irq.drop" => Some("an interrupt was lost"),
                "queue.stall" => Some("a queue stood still"),
                "late.completion" => Some("a completion came late"),
                "used.dup" => Some("a completion came twice"),
                _ => None,
            },
            _ => now.unplugged().then_some("the device was pulled out"),
        };
        if let Some(what) = fault {
            self.since.get_or_insert((now.seq, what));
            return;
        }
        let Some((since, what)) = self.since else {
            return;
        };
        let ended = |done: &Done| done.verb == "load";
        if now.said().is_some_and(Said::is_crash) {
            self.since = None;
            say.broken(
                Object::Device,
                &[since, now.seq],
                format!("{what}, and the guest crashes"),
            );
        } else if matches!(now.at, At::Mark("timeout")) {
            self.since = None;
            say.broken(
                Object::Device,
                &[since, now.seq],
                format!("{what}, and a request never ends"),
            );
        } else if now.said().and_then(Said::done).is_some_and(ended) {
            say.held(Object::Device);
        }
    }
}

/// Whether a read gives the vendor id of a function that is not there.
pub(super) fn misses(now: &super::machine::At<'_>) -> bool {
    let At::Step(step) = now else { return false };
    step.access().is_some_and(|(access, value)| {
        access.op == Op::Read
            && access.field == Some(Field::Pci(PciHeader::VendorId))
            && value as u16 == u16::MAX
    })
}
