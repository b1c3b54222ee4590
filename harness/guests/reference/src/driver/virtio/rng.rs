//! An entropy device (virtio 1.3, 5.4).

use super::base::{Base, Tally};
use super::function::{Function, Wanted};
use super::pattern::erase;
use super::queue::{Part, State};
use crate::dbg_print;
use crate::driver::Settings;
use crate::driver::args::Args;
use crate::nt::status::NtStatus;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The only queue.
const REQUESTS: usize = 0;
/// Largest request in bytes, and of one load.
const LARGEST: u64 = 4096;
const MOST_BYTES: u64 = 1 << 30;
/// So many bytes that are all zero are no entropy.
const TELLING: u32 = 16;

/// What the driver knows of a source of entropy.
#[derive(Default)]
pub struct Rng {
    /// Bytes received since the device was added.
    received: u64,
    load: Option<Load>,
}

struct Load {
    bytes: u64,
    size: u32,
}

impl Function for Rng {
    const FEATURES: u64 = 0;

    fn new(_settings: Settings) -> Self {
        Self::default()
    }

    fn set_up(&mut self, base: &mut Base) -> Result<Vec<Wanted>, NtStatus> {
        let depth = base.settings.depth;
        Ok(if base.registers()?.queues() == 0 {
            Vec::new()
        } else {
            vec![Wanted { index: 0, depth }]
        })
    }

    /// There is no configuration.
    fn config_changed(&mut self, _base: &mut Base) -> String {
        "change=1".into()
    }

    fn begin(&mut self, base: &mut Base, args: &Args) -> Result<(), &'static str> {
        if args.word(1) != "entropy" || !args.only(&["dev", "bytes", "size"]) {
            return Err("usage");
        }
        let bytes = args.number("bytes", 64)?;
        let size = args.number("size", 64)?;
        if bytes > MOST_BYTES || !(1..=LARGEST).contains(&size) {
            return Err("usage");
        }
        for queue in base.active() {
            for n in 0..queue.depth() {
                queue.slots[n].state = State::Free;
                queue.data(n, LARGEST as usize).ok_or("memory")?;
            }
        }
        let size = size as u32;
        self.load = Some(Load { bytes, size });
        Ok(())
    }

    fn go_on(&mut self, base: &mut Base, tally: &mut Tally) -> bool {
        let Some(load) = &self.load else { return true };
        let deadline = base.time_limit();
        let Some(queue) = base.active().get_mut(REQUESTS) else {
            return true;
        };
        let mut asked = 0;
        for slot in &mut queue.slots {
            match slot.state {
                State::Done(length) => {
                    slot.state = State::Free;
                    tally.resets = 0;
                    let asked = slot.tag as u32;
                    if length == 0 || length > asked {
                        dbg_print!("VIRTIO: {length} bytes of entropy, asked for {asked}");
                        tally.errors += 1;
                    }
                    let length = length.min(asked);
                    let zero = slot
                        .data()
                        .is_none_or(|data| (0..length as usize).all(|at| data.read::<u8>(at) == 0));
                    if length >= TELLING && zero {
                        dbg_print!("VIRTIO: {length} bytes of entropy are all zero");
                        tally.errors += 1;
                    }
                    tally.finished += u64::from(length);
                    self.received += u64::from(length);
                }
                State::InFlight => asked += slot.tag,
                State::Free => {}
            }
        }
        let enough = tally.finished >= load.bytes;
        while tally.reason.is_none() && tally.errors == 0 && tally.finished + asked < load.bytes {
            let Some(n) = queue.free() else { break };
            let rest = load.bytes - tally.finished - asked;
            let size = load.size.min(rest as u32);
            let slot = &mut queue.slots[n];
            let Some(data) = slot.data() else { break };
            erase(data, LARGEST as usize);
            slot.tag = u64::from(size);
            slot.retried = false;
            slot.parts = [Some(Part::into(data, size)), None, None];
            queue.submit(n, deadline);
            asked += u64::from(size);
        }
        enough || tally.errors > 0 && asked == 0
    }

    fn counted(&self) -> &'static str {
        "bytes"
    }

    fn state(&self) -> String {
        format!("received={}", self.received)
    }
}
