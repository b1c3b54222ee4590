//! From reset to DRIVER_OK (virtio 1.3, 3.1.1), the way back, and what interrupts lead to.

use super::Block;
use super::queue::{Features, Queue, State};
use super::spec::{feature, isr, status};
use super::transport::Transport;
use super::vectors::{Mapper, Plan, plans};
use crate::dbg_print;
use crate::driver::mistake::Mistake;
use crate::hal::time;
use crate::nt::dispatch;
use crate::nt::pnp::WdfDevice;
use crate::nt::policy::Kind;
use crate::nt::status::NtStatus;
use alloc::format;

/// What the driver accepts when it is offered.
const WANTED: u64 = feature::VERSION_1
    | feature::ACCESS_PLATFORM
    | feature::EVENT_IDX
    | feature::INDIRECT_DESC
    | feature::BLK_FLUSH
    | feature::BLK_MQ
    | feature::BLK_DISCARD
    | feature::BLK_WRITE_ZEROES;

/// After so many resets without a request finished in between, the device is given up.
const MOST_RESETS: u32 = 8;

impl Block {
    fn registers(&self) -> Result<Transport, NtStatus> {
        self.transport.ok_or(NtStatus::DEVICE_NOT_READY)
    }

    fn add_status(&mut self, transport: &Transport, bits: u8) {
        self.status |= bits;
        transport.set_status(self.status);
    }

    /// Resets the device and waits until it says so.
    fn reset(&mut self) -> Result<(), NtStatus> {
        let transport = self.registers()?;
        self.live = false;
        self.status = 0;
        transport.set_status(0);
        if self.makes(Mistake::NoResetWait) {
            return Ok(());
        }
        let limit = self.settings.timeout_ms;
        if time::poll(limit * 1000, || transport.status() == 0) {
            return Ok(());
        }
        dbg_print!("VIRTIO: reset not finished after {limit} ms");
        transport.set_failed();
        Err(NtStatus::IO_TIMEOUT)
    }

    /// Reset to FEATURES_OK, and what the features allow to be read.
    pub(super) fn negotiate(&mut self) -> Result<(), NtStatus> {
        self.reset()?;
        let transport = self.registers()?;
        self.add_status(&transport, status::ACKNOWLEDGE);
        self.add_status(&transport, status::DRIVER);
        self.features = transport.offered() & WANTED;
        if self.features & feature::VERSION_1 == 0 {
            dbg_print!("VIRTIO: VERSION_1 is not offered");
            return Err(NtStatus::DEVICE_FEATURE_NOT_SUPPORTED);
        }
        transport.accept(self.features);
        self.add_status(&transport, status::FEATURES_OK);
        if !self.makes(Mistake::NoFeaturesOkCheck) && transport.status() & status::FEATURES_OK == 0
        {
            dbg_print!("VIRTIO: the device refuses the features");
            return Err(NtStatus::DEVICE_FEATURE_NOT_SUPPORTED);
        }
        (self.capacity, self.generation) = transport.capacity();
        dbg_print!("VIRTIO: capacity {} sectors", self.capacity);
        let device_queues = if self.features & feature::BLK_MQ != 0 {
            transport.config_queues()
        } else {
            1
        };
        self.used = self
            .settings
            .queues
            .min(device_queues)
            .min(transport.queues());
        if self.used == 0 {
            dbg_print!("VIRTIO: the device has no queue");
            return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
        }
        Ok(())
    }

    /// FEATURES_OK to the last step before DRIVER_OK: vectors, then queues.
    pub(super) fn configure(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        let done = if self.makes(Mistake::QueueVectorAfterEnable) {
            self.enable_queues().and_then(|()| self.map_vectors(device))
        } else {
            self.map_vectors(device).and_then(|()| self.enable_queues())
        };
        done.inspect_err(|_| self.give_up())
    }

    /// Writes the vectors: for each queue, for all together, or none and a line.
    fn map_vectors(&mut self, device: &mut WdfDevice) -> Result<(), NtStatus> {
        let transport = self.registers()?;
        if device.message_kind() != Some(Kind::Msix) {
            self.plan = Plan::IsrStatus;
            self.isr.read_from(Some(transport.isr()));
            return Ok(());
        }
        self.isr.read_from(None);
        if self.programmed && self.makes(Mistake::ProgramOnce) {
            return Ok(());
        }
        self.programmed = true;
        let mapper = Mapper {
            transport: &transport,
            messages: &self.messages,
            mistakes: self.settings.mistakes,
        };
        let (messages, queues) = (self.messages.len(), self.used);
        let plans = plans(messages, queues.into(), self.settings.mistakes);
        if plans.first() != Some(&Plan::PerQueue) {
            dbg_print!("VIRTIO: messages {messages}, queues {queues}: not one for each");
        }
        for plan in plans {
            if mapper.map_config(plan) && mapper.map_queues(plan, self.used) {
                mapper.report(plan, self.used);
                self.plan = plan;
                return Ok(());
            }
            dbg_print!("VIRTIO: the device refuses a vector");
        }
        if !self.makes(Mistake::NoIntxFallback) && device.request_line() {
            self.reset()?;
        }
        Err(NtStatus::DEVICE_CONFIGURATION_ERROR)
    }

    fn enable_queues(&mut self) -> Result<(), NtStatus> {
        let transport = self.registers()?;
        let features = Features {
            event_idx: self.features & feature::EVENT_IDX != 0,
            indirect: self.features & feature::INDIRECT_DESC != 0,
        };
        for n in 0..self.used {
            transport.select(n);
            let offered = transport.queue_size();
            let size = Queue::size_for(offered);
            if self.queues.len() == usize::from(n) {
                let queue = Queue::new(n, self.settings.depth);
                self.queues
                    .push(queue.ok_or(NtStatus::INSUFFICIENT_RESOURCES)?);
            }
            let queue = &mut self.queues[usize::from(n)];
            queue.begin(size, features, transport.notify_window());
            if queue.depth() == 0 {
                dbg_print!("VIRTIO: queue {n} has size {offered}");
                return Err(NtStatus::DEVICE_CONFIGURATION_ERROR);
            }
            if size != offered {
                transport.set_queue_size(size);
            }
            let (descriptors, available, used) = queue.addresses();
            transport.set_queue_addresses(descriptors, available, used);
            transport.enable_queue();
        }
        Ok(())
    }

    /// DRIVER_OK, and the requests that were with the device before a reset once more.
    pub(super) fn go_live(&mut self) {
        let Some(transport) = self.transport else {
            return;
        };
        let used = usize::from(self.used).min(self.queues.len());
        if self.makes(Mistake::NotifyBeforeDriverOk) {
            self.queues[..used].iter().for_each(Queue::notify);
        }
        self.add_status(&transport, status::DRIVER_OK);
        self.live = true;
        dbg_print!("VIRTIO: status {:#04x}", transport.status());
        let deadline = time::now() + self.settings.timeout_ms * 1000;
        for queue in &mut self.queues[..used] {
            for n in 0..queue.slots.len() {
                if queue.slots[n].state == State::InFlight {
                    queue.slots[n].state = State::Free;
                    queue.submit(n, deadline);
                }
            }
        }
    }

    /// Something went wrong for good: FAILED tells the device. Not when the way out is a start
    /// with a line, for which the device has been reset.
    pub(super) fn give_up(&mut self) {
        if let Some(transport) = self.transport
            && self.status != 0
        {
            // What the driver set, not what the device shows: bits are never cleared (2.1.1).
            transport.set_status(self.status | status::FAILED);
            self.status = 0;
        }
        self.live = false;
    }

    /// Stops the device: reset, and wait for it.
    pub(super) fn quiesce(&mut self) {
        if self.status != 0
            && let Err(status) = self.reset()
        {
            dbg_print!("VIRTIO: the device does not stop: {status}");
        }
    }

    /// Resets the device and begins anew, with everything.
    pub(super) fn recover(&mut self, device: &mut WdfDevice) {
        self.resets += 1;
        if let Some(load) = &mut self.load {
            load.resets += 1;
            if load.resets > MOST_RESETS {
                dbg_print!("VIRTIO: no progress after {MOST_RESETS} resets");
                self.give_up();
                device.set_failed(NtStatus::IO_DEVICE_ERROR);
                return;
            }
        }
        let again = self
            .negotiate()
            .inspect_err(|_| self.give_up())
            .and_then(|()| self.configure(device));
        match again {
            Ok(()) => self.go_live(),
            Err(_) if device.line_is_wanted() => {}
            Err(status) => device.set_failed(status),
        }
    }

    /// The DPC of a message, or of the line.
    pub(super) fn on_message(&mut self, message: u32) {
        if !self.live {
            return;
        }
        match self.plan {
            Plan::PerQueue if message == 0 => self.on_config_change(),
            Plan::PerQueue => self.take_used((message - 1) as usize),
            Plan::Shared => {
                self.take_all_used();
                self.look_for_change();
            }
            Plan::IsrStatus => {
                let bits = self.isr.take();
                if bits & isr::QUEUE != 0 {
                    self.take_all_used();
                }
                if bits & isr::CONFIG != 0 {
                    self.on_config_change();
                }
            }
        }
    }

    pub(super) fn take_used(&mut self, n: usize) {
        let used = usize::from(self.used);
        let Some(queue) = self.queues[..used].get_mut(n) else {
            return;
        };
        match queue.harvest() {
            Ok(0) => {}
            Ok(_) => dispatch::progress(),
            Err(_) => self.ring_error = true,
        }
    }

    fn take_all_used(&mut self) {
        (0..usize::from(self.used)).for_each(|n| self.take_used(n));
    }

    /// A message that may be about the configuration: the generation tells, or the status.
    fn look_for_change(&mut self) {
        let Some(transport) = self.transport else {
            return;
        };
        if transport.generation() != self.generation {
            self.on_config_change();
        } else {
            self.look_at_status(&transport);
        }
    }

    fn look_at_status(&mut self, transport: &Transport) {
        let needs_reset = transport.status() & status::NEEDS_RESET != 0;
        if needs_reset && !self.makes(Mistake::IgnoresNeedsReset) {
            self.needs_reset = true;
        }
    }

    fn on_config_change(&mut self) {
        let Some(transport) = self.transport else {
            return;
        };
        dispatch::progress();
        self.look_at_status(&transport);
        let (capacity, generation) = transport.capacity();
        if capacity != self.capacity {
            dbg_print!("VIRTIO: capacity {capacity} sectors");
        }
        (self.capacity, self.generation) = (capacity, generation);
        self.changes += 1;
        self.change = Some(format!("capacity={capacity}"));
    }
}
