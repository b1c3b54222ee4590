//! Cases of WIN-SPT.

use super::*;
use misfire_device::trace::Input;

macro_rules! about {
    ($id:literal, $what:literal, $wrong:literal, $other:literal) => {
        [
            ($id, concat!($what, ", kept"), HELD, || {
                trace()
                    .hello()
                    .up()
                    .log(concat!("NT: kept ", $what, " dev=0"))
            }),
            ($id, concat!($what, ", broken"), FAIL, || {
                trace()
                    .hello()
                    .up()
                    .log(concat!("NT: check ", $what, " dev=0: ", $wrong))
            }),
            ($id, concat!($what, ", of another device"), UNSEEN, || {
                trace()
                    .hello()
                    .up()
                    .log(concat!("NT: check ", $what, " dev=1: ", $wrong))
            }),
            ($id, concat!($what, ", and another check"), UNSEEN, || {
                trace()
                    .hello()
                    .up()
                    .log(concat!("NT: check ", $other, " dev=0: ", $wrong))
            }),
        ]
    };
}

pub const CASES: &[[Case; 4]] = &[
    about!(
        "WIN-SPT-001",
        "irql",
        "HwStorStartIo was called at IRQL 2 and returned at 0",
        "lock"
    ),
    about!(
        "WIN-SPT-002",
        "lock",
        "HwStorStartIo takes the StartIo lock, which is held already",
        "irql"
    ),
    about!(
        "WIN-SPT-003",
        "srb",
        "something is completed that is no request",
        "dpc"
    ),
    about!(
        "WIN-SPT-004",
        "address",
        "StorPortGetPhysicalAddress of an address that is not mapped",
        "srb"
    ),
    about!(
        "WIN-SPT-005",
        "dpc",
        "a DPC is issued that was not initialised",
        "found"
    ),
    about!(
        "WIN-SPT-006",
        "found",
        "HwStorFindAdapter returned 5, which is none of its values",
        "stall"
    ),
    about!(
        "WIN-SPT-007",
        "stall",
        "StorPortStallExecution is to wait for a millisecond or more",
        "irql"
    ),
    about!(
        "WIN-SPT-008",
        "touch",
        "a request, or its extension, is touched after it was completed, in HwStorStartIo at blk.sys+0x1234",
        "gone"
    ),
    about!(
        "WIN-SPT-009",
        "gone",
        "a register is touched of a device that is gone, in HwStorAdapterControl at blk.sys+0x1234",
        "touch"
    ),
    about!(
        "WIN-SPT-010",
        "pnp",
        "a request of power for the adapter is not completed",
        "srb"
    ),
    about!(
        "WIN-SPT-011",
        "control",
        "HwStorAdapterControl sets an element behind the list that it was given",
        "pnp"
    ),
    about!(
        "WIN-SPT-012",
        "bounds",
        "memory behind the end of the common buffer is touched, in HwStorFindAdapter at x.sys+0x1",
        "touch"
    ),
    about!(
        "WIN-SPT-017",
        "late",
        "the extension of a request was written after the request had been completed",
        "touch"
    ),
    about!(
        "WIN-SPT-016",
        "dump",
        "a DPC is initialised while a crash dump is written",
        "dpc"
    ),
    about!(
        "WIN-SPT-015",
        "poll",
        "HwStorInitialize waits without an end at x.sys+0x1: it polls the register at 0x14 of BAR 4",
        "stall"
    ),
    about!(
        "WIN-SPT-020",
        "deadlock",
        "the StartIo lock is taken while a DPC lock is held, which is taken elsewhere while the StartIo lock is held",
        "lock"
    ),
    about!(
        "WIN-SPT-018",
        "unit",
        "what was written to unit 1 of target 0 is not there",
        "late"
    ),
    about!(
        "WIN-SPT-021",
        "race",
        "processors write the same memory, and no lock is held each time",
        "deadlock"
    ),
];

/// A driver that was lent everything up to an address.
const LENT: &str = "NT: lent dev=0 at=0 bytes=4294967296 every=0 times=1";

pub const MORE: &[Case] = &[
    (
        "WIN-SPT-003",
        "srb, broken when the device is gone",
        FAIL,
        || {
            let gone = trace().hello().up().input(Input::Unplugged);
            gone.found_by_bus()
                .log("NT: check srb dev=0: a request is completed that the miniport does not have any more")
        },
    ),
    (
        "WIN-SPT-015",
        "poll, broken when the device is gone",
        FAIL,
        || {
            let gone = trace().hello().up().input(Input::Unplugged);
            gone.found_by_bus()
                .log("NT: check poll dev=0: HwStorAdapterControl waits without an end")
        },
    ),
    ("WIN-SPT-013", "all memory is lent", HELD, || {
        trace().hello().up().chain(0, &[]).log(LENT)
    }),
    ("WIN-SPT-013", "a buffer lies elsewhere", FAIL, || {
        trace()
            .hello()
            .up()
            .chain(0, &[])
            .log("NT: lent dev=0 at=0 bytes=16 every=32 times=2")
    }),
    (
        "WIN-SPT-013",
        "nothing is known of what was lent",
        UNSEEN,
        || trace().hello().up().chain(0, &[]),
    ),
    ("WIN-SPT-013", "another driver was lent it", UNSEEN, || {
        let lent = LENT.replace("dev=0", "dev=1");
        trace().hello().up().chain(0, &[]).log(&lent)
    }),
    (
        "WIN-SPT-014",
        "as many claims as there were reasons",
        HELD,
        || {
            trace()
                .hello()
                .up_intx()
                .used(0)
                .isr()
                .log("NT: claims dev=0 claimed=1 unclaimed=0 asked=1")
        },
    ),
    (
        "WIN-SPT-014",
        "another device's interrupt is claimed",
        FAIL,
        || {
            trace()
                .hello()
                .up_intx()
                .isr()
                .log("NT: claims dev=0 claimed=1 unclaimed=0 asked=1")
        },
    ),
    (
        "WIN-SPT-014",
        "its own interrupt is not claimed",
        FAIL,
        || {
            trace()
                .hello()
                .up_intx()
                .used(0)
                .isr()
                .log("NT: claims dev=0 claimed=0 unclaimed=1 asked=1")
        },
    ),
    (
        "WIN-SPT-014",
        "it is read until it is 0, and another device interrupts",
        HELD,
        || {
            trace()
                .hello()
                .up_intx()
                .used(0)
                .isr()
                .used(0)
                .isr()
                .isr()
                .isr()
                .log("NT: claims dev=0 claimed=1 unclaimed=1 asked=1")
        },
    ),
    (
        "WIN-SPT-014",
        "it is read until it is 0, and nothing is claimed",
        FAIL,
        || {
            trace()
                .hello()
                .up_intx()
                .used(0)
                .isr()
                .isr()
                .isr()
                .log("NT: claims dev=0 claimed=0 unclaimed=1 asked=1")
        },
    ),
    (
        "WIN-SPT-014",
        "an interrupt without a reason is not claimed",
        HELD,
        || {
            trace()
                .hello()
                .up_intx()
                .isr()
                .log("NT: claims dev=0 claimed=0 unclaimed=1 asked=1")
        },
    ),
];
