//! WIN-SPT: what StorPort asks of a miniport, and Driver Verifier checks. The guest of kind `nt` looks, and
//! says in its log what it found; a rule is held when it says so at its end.

use std::collections::BTreeMap;

use misfire_device::trace::Mode;

use super::machine::{At, Machine, Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use crate::log::Said;

/// How all of them are told.
const PROOF: &str = "The model of Windows checks it at each call, and prints each breach and, at the end, what was kept.";

/// Who judges them.
const ELSEWHERE: Option<&str> = Some(
    "it is about a miniport's own image, which the guest `nt` runs; harness/tests/nt proves it",
);

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "WIN-SPT-001",
        level: Level::Vendor,
        sentence: "A miniport takes no lock above the IRQL of that lock, and returns from each of its routines at the IRQL that it was called at.",
        source: "storport/ the pages of the callbacks and of StorPortAcquireSpinLock",
        breaks: "an IRQL that was raised is not lowered, or a lock is taken too high",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "irql")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-002",
        level: Level::Vendor,
        sentence: "A miniport takes only the locks that a routine may take, none that is held already, and releases each once, before the routine returns.",
        source: "storport/ StorPortAcquireSpinLock, both tables; StorPortReleaseSpinLock",
        breaks: "a lock is taken twice, kept, released twice, or taken where it may not be",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "lock")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-003",
        level: Level::Vendor,
        sentence: "A miniport completes each SRB once, with a status, and all that it has by the end of a reset of the bus.",
        source: "storport/ StorPortNotification, RequestComplete; HW_RESET_BUS; srb/ STORAGE_REQUEST_BLOCK, SrbStatus",
        breaks: "an SRB is completed twice, or as pending, or is still out after a reset of the bus",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "srb")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-004",
        level: Level::Vendor,
        sentence: "The addresses that a miniport gives to StorPort are mapped memory, registers of its device, and its device extension.",
        source: "storport/ StorPortGetPhysicalAddress, StorPortGetDeviceBase",
        breaks: "the physical address of memory that is not there is asked for, or registers of others",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "address")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-005",
        level: Level::Vendor,
        sentence: "A miniport issues only DPCs that it has initialised.",
        source: "storport/ StorPortInitializeDpc, StorPortIssueDpc",
        breaks: "a DPC is issued without StorPortInitializeDpc",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "dpc")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-006",
        level: Level::Vendor,
        sentence: "HwStorFindAdapter returns one of its four values.",
        source: "storport/ HW_FIND_ADAPTER",
        breaks: "it returns another, such as a BOOLEAN or an NTSTATUS",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "found")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-007",
        level: Level::Vendor,
        sentence: "A miniport keeps the processor busy for less than a millisecond at a time.",
        source: "storport/ StorPortStallExecution",
        breaks: "StorPortStallExecution is called with a millisecond or more",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "stall")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-008",
        level: Level::Vendor,
        sentence: "A miniport does not touch an SRB, or its extension, after it has completed it.",
        source: "storport/ StorPortNotification, RequestComplete: the port driver has the request from then on",
        breaks: "a field of an SRB is read or written after RequestComplete",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "touch")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-009",
        level: Level::Vendor,
        sentence: "A miniport touches no register of a device once it was told that the device is gone.",
        source: "storport/ SCSI_ADAPTER_CONTROL_TYPE, ScsiAdapterSurpriseRemoval",
        breaks: "a register is read or written in or after the call with ScsiAdapterSurpriseRemoval",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "gone")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-010",
        level: Level::Vendor,
        sentence: "A miniport completes the requests of Plug and Play and of power that it is given.",
        source: "srb/ SRBEX_DATA_PNP, SRBEX_DATA_POWER, SCSI_PNP_REQUEST_BLOCK, SCSI_POWER_REQUEST_BLOCK",
        breaks: "a request with SRB_FUNCTION_PNP or SRB_FUNCTION_POWER is never completed",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "pnp")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-011",
        level: Level::Vendor,
        sentence: "A miniport sets no element behind the list of control types that it is given.",
        source: "storport/ HW_ADAPTER_CONTROL, HW_UNIT_CONTROL, SCSI_SUPPORTED_CONTROL_TYPE_LIST",
        breaks: "an element at MaxControlType or behind it is set",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "control")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-012",
        level: Level::Vendor,
        sentence: "A miniport leaves what lies beside its extensions and its common buffer alone.",
        source: "storport/ StorPortGetUncachedExtension, HW_INITIALIZATION_DATA; debugger/ bug check 0xD6",
        breaks: "memory behind the end of the common buffer, or of an extension, is touched",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "bounds")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-013",
        level: Level::Vendor,
        sentence: "A miniport gives its device only addresses of its requests, their extensions and data, its common buffer, its device extension and its pool.",
        source: "storport/ StorPortGetPhysicalAddress, StorPortGetScatterGatherList, StorPortGetUncachedExtension",
        breaks: "a buffer or a ring lies in other memory, such as the image's own or a stack",
        proof: "The model of Windows prints at its end what it has lent; the device tells the addresses that it was given.",
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::with::<Reach>(),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-014",
        level: Level::Vendor,
        sentence: "The interrupt routine for a line says TRUE when its own device has interrupted, and FALSE when it has not.",
        source: "storport/ HW_INTERRUPT",
        breaks: "an interrupt of another device is claimed, or one of its own is not",
        proof: "Each claim needs an ISR status that was read and not 0, and each of those a claim. The routine is called once with nothing to tell, as when another device on the line has interrupted.",
        elsewhere: ELSEWHERE,
        watch: Watch::with::<Claims>(),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-015",
        level: Level::Vendor,
        sentence: "A miniport waits for nothing without an end.",
        source: "storport/ StorPortStallExecution; debugger/ bug check 0x133",
        breaks: "a routine goes round for seconds in one state, and polls registers, its common buffer or nothing",
        proof: "The model of Windows lets a routine that does not come back go on by single instructions. Two rounds with the same registers, stack and memory, at each instruction, and again the next time that it looks, have no end but by what is polled; a wait with a bound counts, or looks at the time.",
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "poll")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-016",
        level: Level::Vendor,
        sentence: "A miniport that is loaded again for a crash dump writes it without interrupts, DPCs, registry and time, in 32 KiB.",
        source: "storage/ Restrictions on Miniport Drivers that Manage the Boot Drive",
        breaks: "a DPC is initialised, the registry is read, or a request is not completed by HwStorInterrupt",
        proof: "With `--crash-dump` the model of Windows loads the image again at the end, has it write a dump, and reads it back.",
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "dump")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-017",
        level: Level::Vendor,
        sentence: "A miniport completes an SRB only when its device reaches no memory of the request any more.",
        source: "storport/ StorPortNotification, RequestComplete: the port driver has the request from then on; HW_RESET_BUS",
        breaks: "the device writes to the extension or the data of a request after RequestComplete, or reads its data then, as when a request is completed before the device is done",
        proof: "The model of Windows looks at the extension when the request is completed, takes it away from the processor, and looks again when the request is used the next time, or at the end. The data lies in memory of its own, which holds a pattern from the completion on: it has to hold it then too, and the disk may not hold it.",
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "late")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-018",
        level: Level::Vendor,
        sentence: "A miniport sends a request to the unit that the SRB's address names.",
        source: "storport/ STORAGE_REQUEST_BLOCK, AddressOffset; STOR_ADDR_BTL8: the bus, target and unit of the request",
        breaks: "of several units one has what was written to another",
        proof: "The model of Windows writes something else to the same sector of each unit, and reads all of them back.",
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "unit")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-020",
        level: Level::Vendor,
        sentence: "A miniport takes locks in one order, so that two processors never wait for each other.",
        source: "storport/ StorPortAcquireSpinLock: the order of locks, and that a wrong one is a deadlock",
        breaks: "of two locks either is taken while the other is held, and no third each time, or processors wait for each other",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "deadlock")),
        ..Rule::BASE
    },
    Rule {
        id: "WIN-SPT-021",
        level: Level::Vendor,
        sentence: "What routines of a miniport write on several processors, they write under a lock that all of them hold.",
        source: "storport/ HW_BUILDIO; HW_MESSAGE_SIGNALED_INTERRUPT_ROUTINE; Synchronized Access within Unsynchronized Miniport Driver Routines",
        breaks: "its device extension or its common buffer is written by two processors in turn, no lock is common to them, and nothing puts them in order",
        proof: PROOF,
        elsewhere: ELSEWHERE,
        gone: true,
        watch: Watch::Each(|now, say| look(now, say, "race")),
        ..Rule::BASE
    },
];

fn look(now: &Now<'_>, say: &mut Say<'_>, about: &str) {
    let Some(Said::Checked { what, wrong, .. }) = now.said() else {
        return;
    };
    if what != about {
        return;
    }
    match wrong {
        Some(text) => say.broken(Object::Device, &[now.seq], text.clone()),
        None => say.held(Object::Device),
    }
}

/// Most addresses of a device that are kept.
const MOST_PIECES: usize = 1 << 16;

/// What a device was told to reach, and what its driver was lent.
#[derive(Default)]
struct Reach {
    /// By address: the bytes, the queue, and the event.
    told: BTreeMap<u64, (u64, u16, u64)>,
    lent: Vec<Lent>,
}

/// Pieces at equal distances: the first, its bytes, the distance, how many.
struct Lent {
    at: u64,
    bytes: u64,
    every: u64,
    times: u64,
}

impl Lent {
    /// The end of the piece that holds an address.
    fn end_at(&self, address: u64) -> Option<u64> {
        let from = address.checked_sub(self.at)?;
        let n = from.checked_div(self.every).unwrap_or(0);
        let start = self.at.checked_add(self.every.checked_mul(n)?)?;
        let end = start.checked_add(self.bytes)?;
        (n < self.times && address < end).then_some(end)
    }
}

impl Machine for Reach {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let At::Chain(chain) = now.at {
            if let Some(queue) = now.s.dev.queues.get(usize::from(chain.q)) {
                for ring in [queue.desc, queue.driver, queue.device] {
                    self.tell(ring, 1, chain.q, now.seq);
                }
            }
            for part in &chain.descriptors {
                self.tell(part.addr, part.len.into(), chain.q, now.seq);
            }
        }
        if let Some(&Said::Lent {
            at,
            bytes,
            every,
            times,
            ..
        }) = now.said()
        {
            self.lent.push(Lent {
                at,
                bytes,
                every,
                times,
            });
        }
        if matches!(now.at, At::End) && !self.lent.is_empty() {
            self.judge(say);
        }
    }
}

impl Reach {
    fn tell(&mut self, at: u64, bytes: u64, queue: u16, seq: u64) {
        if self.told.len() < MOST_PIECES && at != 0 {
            let known = self.told.entry(at).or_insert((bytes, queue, seq));
            if known.0 < bytes {
                *known = (bytes, queue, seq);
            }
        }
    }

    fn is_lent(&self, mut at: u64, bytes: u64) -> bool {
        let end = at.saturating_add(bytes.max(1));
        while at < end {
            let Some(next) = self.lent.iter().find_map(|lent| lent.end_at(at)) else {
                return false;
            };
            at = next;
        }
        true
    }

    fn judge(&self, say: &mut Say<'_>) {
        for (at, (bytes, queue, seq)) in &self.told {
            let object = Object::Queue(*queue);
            if self.is_lent(*at, *bytes) {
                say.held(object);
                continue;
            }
            let text = format!(
                "queue {queue}: the device is given memory that no request, extension or buffer of the driver's holds"
            );
            say.broken(object, &[*seq], text);
        }
    }
}

/// What the device said on its line, and what the interrupt routine made of it.
#[derive(Default)]
struct Claims {
    /// ISR status that was read with the line in use, and what of it was not 0.
    reads: u64,
    told: u64,
    last: u64,
}

impl Machine for Claims {
    fn see(&mut self, now: &Now<'_>, say: &mut Say<'_>) {
        if let Some(status) = now.isr().filter(|_| now.s.mode() == Mode::Intx) {
            self.reads += 1;
            if status & 3 != 0 {
                self.told += 1;
                self.last = now.seq;
            }
        }
        let Some(&Said::Line {
            claimed,
            unclaimed,
            asked,
            ..
        }) = now.said()
        else {
            return;
        };
        // Who reads it more than once for an interrupt, or elsewhere too, may claim once what it was told twice.
        let once = self.reads <= claimed + unclaimed + asked || claimed == 0;
        if claimed > self.told {
            let text = "the interrupt routine claims an interrupt that is not its device's";
            say.broken(Object::Device, &[now.seq], text);
        } else if unclaimed > 0 && self.told > claimed && once {
            let text = "the interrupt routine does not claim an interrupt of its device";
            say.broken(Object::Device, &[self.last, now.seq], text);
        } else {
            say.held(Object::Device);
        }
    }
}
