//! From reset to DRIVER_OK (virtio 1.3, 3.1.1), and the way back.

use super::Virtio;
use super::base::Base;
use super::function::{Function, Wanted};
use super::legacy;
use super::queue::{Notify, Queue, State};
use super::ring::Features;
use super::slip::{self, Moment, Scene};
use super::spec::{NO_VECTOR, feature, status};
use super::transport::Transport;
use super::vectors::{Mapper, Plan, plans};
use crate::dbg_print;
use crate::driver::mistake::Mistake;
use crate::hal::time;
use crate::nt::pnp::WdfDevice;
use crate::nt::policy::Kind;
use crate::nt::status::NtStatus;
use alloc::vec::Vec;

/// What every driver accepts when it is offered.
const TRANSPORT_FEATURES: u64 = feature::VERSION_1
    | feature::ACCESS_PLATFORM
    | feature::EVENT_IDX
    | feature::INDIRECT_DESC
    | feature::RING_PACKED
    | feature::IN_ORDER
    | feature::NOTIFICATION_DATA
    | feature::NOTIF_CONFIG_DATA
    | feature::RING_RESET
    | feature::SUSPEND;

/// RING_RESET, which devices offer on request alone.
const NOT_OFFERED: u64 = 1 << 40;
/// A device that asks for a reset while it is started is started so often at most.
const MOST_STARTS: u32 = 3;
/// After so many resets without a request finished in between, the device is given up.
const MOST_RESETS: u32 = 8;
/// Longer than any run, in microseconds.
const FOR_EVER_US: u64 = 1 << 40;
/// So often a reset that can't be completed is tried in a row.
const MOST_ATTEMPTS: u32 = 3;

impl<F: Function> Virtio<F> {
    /// Reset to FEATURES_OK, and what the features allow to be read.
    pub(super) fn negotiate(&mut self) -> Result<(), NtStatus> {
        let mut tries = 0;
        while let Err(status) = self
            .base
            .negotiate(TRANSPORT_FEATURES | F::FEATURES, F::REQUIRES)
        {
            tries += 1;
            if self.base.status & status::NEEDS_RESET == 0 || tries == MOST_STARTS {
                return Err(status);
            }
        }
        self.base.slip(Moment::Agreed);
        let wanted = self.function.set_up(&mut self.base)?;
        if wanted.is_empty() {
            dbg_print!("VIRTIO: the device has no queue");
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        self.base.wanted = wanted;
        Ok(())
    }

    /// DRIVER_OK, and the requests that were with the device before a reset once more.
    pub(super) fn go_live(&mut self) {
        self.function.before_live(&mut self.base);
        self.base.go_live();
        if self.base.live {
            if self.base.is_legacy() && self.base.plan == Plan::Shared {
                self.compare_configuration();
            }
            self.function.went_live(&mut self.base);
        }
    }

    /// Resets the device and begins anew, with everything.
    pub(super) fn recover(&mut self, device: &mut WdfDevice) {
        self.base.resets += 1;
        let load = self.base.load.as_mut().map(|load| &mut load.resets);
        let in_vain = load.unwrap_or(&mut self.base.in_vain);
        *in_vain += 1;
        if *in_vain > MOST_RESETS {
            dbg_print!("VIRTIO: no progress after {MOST_RESETS} resets");
            self.base.give_up();
            device.set_failed(NtStatus::IO_DEVICE_ERROR);
            return;
        }
        let most = if self.base.makes(Mistake::ONE_RECOVERY) {
            1
        } else {
            MOST_ATTEMPTS
        };
        let mut again = self.begin_again(device);
        for _ in 1..most {
            if again.is_ok() || device.line_is_wanted() {
                break;
            }
            again = self.begin_again(device);
        }
        match again {
            Ok(()) => self.go_live(),
            Err(_) if device.line_is_wanted() => {}
            Err(status) => device.set_failed(status),
        }
    }

    fn begin_again(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        self.negotiate().inspect_err(|_| self.base.give_up())?;
        if self.base.makes(Mistake::RECOVERY_FORGETS_QUEUES) {
            self.base.wanted.truncate(1);
        }
        self.base.configure(device)
    }
}

impl Base {
    fn add_status(&mut self, transport: &Transport, bits: u8) {
        self.status |= bits;
        transport.set_status(slip::status(self.settings.mistakes, self.status));
    }

    /// A mistaken driver does something here that it should not.
    pub(super) fn slip(&self, moment: Moment) {
        if let Some(transport) = self.transport {
            let used = self.used().min(self.queues.len());
            let queues = &self.queues[..used];
            Scene { transport, queues }.slip(self.settings.mistakes, moment);
        }
    }

    /// Resets the device and waits until it says so.
    fn reset(&mut self) -> Result<(), NtStatus> {
        let transport = self.registers()?;
        if core::mem::take(&mut self.live) {
            self.slip(Moment::Leaving);
        }
        self.status = 0;
        transport.set_status(0);
        if self.makes(Mistake::NO_RESET_WAIT) {
            return Ok(());
        }
        let limit = self.settings.timeout_ms;
        while self.makes(Mistake::RESET_WAIT_UNBOUNDED) && transport.status() != 0 {}
        let mut status = 0;
        let mut over = || {
            status = transport.status();
            status == 0 || status == status::NOBODY
        };
        if time::poll(limit * 1000, &mut over) && status == 0 {
            self.slip(Moment::Left);
            return Ok(());
        }
        if status == status::NOBODY {
            dbg_print!("VIRTIO: the device does not answer");
            return Err(NtStatus::NO_SUCH_DEVICE);
        }
        dbg_print!("VIRTIO: reset not finished after {limit} ms");
        transport.set_failed();
        Err(NtStatus::IO_TIMEOUT)
    }

    /// Reset to FEATURES_OK.
    fn negotiate(&mut self, features: u64, requires: &[(u64, u64)]) -> Result<(), NtStatus> {
        // Where the driver has set nothing yet, it may think that the device is reset.
        if self.status != 0 || !self.makes(Mistake::NO_RESET_AT_START) {
            self.reset()?;
        }
        let transport = self.registers()?;
        if !self.makes(Mistake::DRIVER_WITHOUT_ACKNOWLEDGE) {
            self.add_status(&transport, status::ACKNOWLEDGE);
        }
        if self.makes(Mistake::FEATURES_BEFORE_DRIVER) {
            self.agree(&transport, features, requires)?;
            self.add_status(&transport, status::DRIVER);
        } else {
            self.add_status(&transport, status::DRIVER);
            self.agree(&transport, features, requires)?;
        }
        self.slip(Moment::Agreeing);
        if transport.is_legacy() && !self.makes(Mistake::LEGACY_FEATURES_OK) {
            // There is no such bit (3.1.2).
            return Ok(());
        }
        self.add_status(&transport, status::FEATURES_OK);
        if self.makes(Mistake::NO_FEATURES_OK_CHECK) {
            return Ok(());
        }
        let shown = transport.status();
        if shown & status::NEEDS_RESET != 0 {
            dbg_print!("VIRTIO: needs reset");
            let abandoned = self.makes(Mistake::ABANDONS_NEEDS_RESET);
            self.status = if abandoned { 0 } else { shown };
            return Err(NtStatus::IO_DEVICE_ERROR);
        }
        if shown & status::FEATURES_OK == 0 {
            dbg_print!("VIRTIO: the device refuses the features");
            return Err(NtStatus::DEVICE_FEATURE_NOT_SUPPORTED);
        }
        Ok(())
    }

    /// Accepts what the driver wants of what is offered.
    fn agree(
        &mut self,
        transport: &Transport,
        features: u64,
        requires: &[(u64, u64)],
    ) -> Result<(), NtStatus> {
        let offered = transport.offered();
        let legacy = transport.is_legacy();
        let known = if legacy {
            legacy::features(features)
        } else {
            features
        };
        self.features = offered & known;
        if self.makes(Mistake::ACCEPTS_UNKNOWN_FEATURES) {
            self.features |= offered & feature::UNKNOWN;
        }
        if self.makes(Mistake::ACCEPTS_SR_IOV) {
            self.features |= offered & feature::SR_IOV;
        }
        if self.makes(Mistake::PLATFORM_NOT_ACCEPTED) {
            self.features &= !feature::ACCESS_PLATFORM;
        }
        if self.makes(Mistake::UNKNOWN_FEATURE_REFUSED) && offered & feature::UNKNOWN != 0 {
            dbg_print!("VIRTIO: a feature is not known");
            return Err(NtStatus::DEVICE_FEATURE_NOT_SUPPORTED);
        }
        for &(feature, required) in requires {
            if self.makes(Mistake::FEATURE_WITHOUT_PREREQUISITE) {
                self.features &= !required;
            } else if !self.has(required) {
                self.features &= !feature;
            }
        }
        if self.makes(Mistake::QUEUE_RESET_UNNEGOTIATED) {
            self.features &= !feature::RING_RESET;
        }
        if self.makes(Mistake::SUSPEND_UNNEGOTIATED) {
            self.features &= !feature::SUSPEND;
        }
        if !legacy && !self.has(feature::VERSION_1) {
            dbg_print!("VIRTIO: VERSION_1 is not offered");
            return Err(NtStatus::DEVICE_FEATURE_NOT_SUPPORTED);
        }
        if self.makes(Mistake::VERSION1_NOT_ACCEPTED) {
            self.features &= !feature::VERSION_1;
        }
        let slipped_in = match self.makes(Mistake::ACCEPTS_UNOFFERED_FEATURE) {
            true => NOT_OFFERED & !transport.offered(),
            false => 0,
        };
        transport.accept(self.features | slipped_in);
        Ok(())
    }

    /// FEATURES_OK to the last step before DRIVER_OK: vectors, then queues.
    pub(super) fn configure(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        let done = if self.makes(Mistake::QUEUE_VECTOR_AFTER_ENABLE) {
            self.enable_queues().and_then(|()| self.map_vectors(device))
        } else {
            self.map_vectors(device).and_then(|()| self.enable_queues())
        };
        self.slip(Moment::Ready);
        done.inspect_err(|_| self.give_up())
    }

    /// Writes the vectors: for each queue, for all together, or none and a line.
    fn map_vectors(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        let transport = self.registers()?;
        if device.message_kind() != Some(Kind::Msix) {
            self.plan = Plan::IsrStatus;
            if self.makes(Mistake::VECTORS_WITHOUT_MSIX) {
                transport.set_config_vector(0);
                dbg_print!(
                    "VIRTIO: config vector reads {:#x}",
                    transport.config_vector()
                );
            }
            if transport.is_legacy() && self.makes(Mistake::LEGACY_VECTORS_WITHOUT_MSIX) {
                transport.set_config_vector(NO_VECTOR);
                if transport.config_vector() != NO_VECTOR {
                    dbg_print!("VIRTIO: the device refuses to have no vector");
                    return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
                }
            }
            self.isr.read_from(Some(transport.isr()));
            return Ok(());
        }
        self.isr.read_from(None);
        if self.makes(Mistake::READS_ISR_WITH_MSIX) {
            self.isr.look_at(transport.isr());
        }
        if self.programmed && self.makes(Mistake::PROGRAM_ONCE) {
            return Ok(());
        }
        let again = core::mem::replace(&mut self.programmed, true);
        let indices: Vec<u16> = self.wanted.iter().map(|wanted| wanted.index).collect();
        let mapper = Mapper {
            transport: &transport,
            messages: &self.messages,
            queues: &indices,
            again,
            mistakes: self.settings.mistakes,
        };
        let (messages, queues) = (self.messages.len(), self.used());
        let plans = plans(messages, queues, self.settings.poll, self.settings.mistakes);
        if !matches!(plans.first(), Some(Plan::PerQueue | Plan::Polled)) {
            dbg_print!("VIRTIO: messages {messages}, queues {queues}: not one for each");
        }
        for plan in plans {
            if mapper.map_config(plan) && mapper.map_queues(plan) {
                mapper.report(plan);
                self.plan = plan;
                return Ok(());
            }
            dbg_print!("VIRTIO: the device refuses a vector");
        }
        if !self.makes(Mistake::NO_INTX_FALLBACK) && device.request_line() {
            self.reset()?;
        }
        Err(NtStatus::DEVICE_CONFIGURATION_ERROR)
    }

    fn enable_queues(&mut self) -> Result<(), NtStatus> {
        let transport = self.registers()?;
        let mistakes = self.settings.mistakes;
        if !self.queues.is_empty() && self.makes(Mistake::NO_SET_UP_AFTER_RESET) {
            return Ok(());
        }
        for place in 0..self.used() {
            let Wanted { index, depth } = self.wanted[place];
            transport.select(index);
            let known = self.queues.iter().position(|queue| queue.index == index);
            let found = match known {
                Some(found) => found,
                None => {
                    let queue = Queue::new(index, depth);
                    self.queues
                        .push(queue.ok_or(NtStatus::INSUFFICIENT_RESOURCES)?);
                    self.queues.len() - 1
                }
            };
            self.queues.swap(place, found);
            self.queues[place].mistakes = mistakes;
            self.queues[place].patience = self.settings.timeout_ms * 1000;
            self.fill(&transport, place)?;
            self.slip(Moment::Filled);
            if place + 1 != self.used() || !self.makes(Mistake::LATE_ENABLE) {
                transport.enable_queue();
                self.slip(Moment::Enabled);
            }
        }
        Ok(())
    }

    /// What the features make of the queues.
    fn ring_features(&self) -> Features {
        Features {
            event_idx: self.has(feature::EVENT_IDX),
            indirect: self.has(feature::INDIRECT_DESC),
            packed: self.has(feature::RING_PACKED),
            in_order: self.has(feature::IN_ORDER),
            notification_data: self.has(feature::NOTIFICATION_DATA),
            page_aligned: self.is_legacy(),
        }
    }

    /// Makes empty rings for the selected queue, which is at this place, and writes its fields.
    pub(super) fn fill(&mut self, transport: &Transport, place: usize) -> Result<(), NtStatus> {
        let features = self.ring_features();
        let named = self.has(feature::NOTIF_CONFIG_DATA);
        let offered = transport.queue_size();
        let unchecked = self.makes(Mistake::QUEUE_SIZE_UNCHECKED);
        // With the legacy interface there is no other size (4.1.5.1.3.1).
        let size = if unchecked || features.page_aligned {
            offered
        } else {
            Queue::size_for(offered, self.settings.descriptors, features)
        };
        let width = if features.notification_data { 4 } else { 2 };
        let index = self.queues[place].index;
        let window = transport.notify_window(index, width);
        if window.is_none() {
            dbg_print!("VIRTIO: queue {index} is notified outside the window");
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        let notify = Notify {
            window,
            name: if named { transport.notify_name() } else { None },
        };
        let queue = &mut self.queues[place];
        let begun = queue.begin(size, features, notify);
        begun.ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        if queue.depth() == 0 && !unchecked {
            dbg_print!("VIRTIO: queue {} has size {offered}", queue.index);
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        if size != offered {
            transport.set_queue_size(size);
        }
        let right = queue.addresses();
        let first = self.queues[0].addresses();
        let [descriptors, available, used] =
            slip::places(self.settings.mistakes, self.resets, right, first);
        transport.set_queue_addresses(descriptors, available, used);
        Ok(())
    }

    fn go_live(&mut self) {
        let Some(transport) = self.transport else {
            return;
        };
        if self.makes(Mistake::NOTIFY_BEFORE_DRIVER_OK) {
            self.active().iter().for_each(Queue::notify);
        }
        self.add_status(&transport, status::DRIVER_OK);
        self.live = true;
        let shown = self.look_at_status(&transport);
        dbg_print!("VIRTIO: status {shown:#04x}");
        self.slip(Moment::Live);
        (0..self.active().len()).for_each(|place| self.submit_again(place));
    }

    /// Issues what was in flight on the queue at this place once more.
    pub(super) fn submit_again(&mut self, place: usize) {
        let deadline = self.time_limit();
        let queue = &mut self.queues[place];
        for n in 0..queue.slots.len() {
            if queue.slots[n].state == State::InFlight {
                // Buffers that wait for something to come are never late.
                let posted = queue.slots[n].deadline == u64::MAX;
                queue.slots[n].state = State::Free;
                queue.submit(n, if posted { u64::MAX } else { deadline });
            }
        }
    }

    /// The load that asked for them has failed with the device: no start issues them again. Buffers
    /// that wait for something to come are nobody's load.
    pub(super) fn end_requests(&mut self) {
        for queue in self.active() {
            let slots = queue.slots.iter_mut();
            slots
                .filter(|slot| slot.state == State::InFlight && slot.deadline != u64::MAX)
                .for_each(|slot| slot.state = State::Free);
        }
    }

    /// Something went wrong for good: FAILED tells the device. Not when the way out is a start
    /// with a line, for which the device has been reset. A device that was live is to be stopped.
    pub(super) fn give_up(&mut self) {
        let live = core::mem::take(&mut self.live);
        let Some(transport) = self.transport.filter(|_| self.status != 0) else {
            return;
        };
        // What the driver set, not what the device shows: bits are never cleared (2.1.1).
        let mut bits = self.status | status::FAILED;
        if live {
            bits |= transport.status() & status::NEEDS_RESET;
        }
        if !self.makes(Mistake::FAILS_SILENTLY) {
            transport.set_status(bits);
        }
        self.slip(Moment::Failed);
        self.status = if live { bits } else { 0 };
    }

    /// The device is gone: its requests end without it, and nothing is asked of it any more.
    pub(super) fn forget_device(&mut self) {
        self.live = false;
        self.isr.read_from(None);
        if self.makes(Mistake::NOTIFIES_AFTER_REMOVAL) {
            self.active().iter().for_each(Queue::notify);
        }
        if self.makes(Mistake::RESETS_AFTER_REMOVAL)
            && let Some(transport) = self.transport
        {
            transport.set_status(0);
            time::poll(FOR_EVER_US, || transport.status() == 0);
        }
        self.status = 0;
        if self.makes(Mistake::REMOVAL_KEEPS_REQUESTS) {
            self.load = None;
            return;
        }
        let in_flight: usize = self.active().iter().map(Queue::in_flight).sum();
        dbg_print!("VIRTIO: removed with {in_flight} requests in flight");
        for queue in self.active() {
            queue
                .slots
                .iter_mut()
                .for_each(|slot| slot.state = State::Free);
        }
        if let Some(load) = &mut self.load {
            load.reason = Some("removed");
        }
    }

    /// Stops the device: reset, and wait for it.
    pub(super) fn quiesce(&mut self) {
        if self.status != 0
            && !self.makes(Mistake::LEAVES_DEVICE_LIVE)
            && let Err(status) = self.reset()
        {
            dbg_print!("VIRTIO: the device does not stop: {status}");
        }
    }
}
