//! WIN-SPT: what StorPort asks of a miniport, and Driver Verifier checks. The guest of kind `nt` looks, and
//! says in its log what it found; a rule is held when it says so at its end.

use super::machine::{Now, Object, Say, Watch};
use super::registry::{Level, Rule};
use crate::log::Said;

/// How all of them are told.
const PROOF: &str = "The model of Windows checks it at each call, and prints each breach and, at the end, what was kept.";

/// Who judges them.
const ELSEWHERE: Option<&str> = Some(
    "it is about a miniport's own image, which the guest `nt` runs; harness/tests/nt.rs proves it",
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
        watch: Watch::Each(|now, say| look(now, say, "control")),
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
