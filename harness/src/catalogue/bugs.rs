//! The bugs, in the order of their numbers.

use super::{Bug, Way};

const fn driver(id: &'static str, source: &'static str, symptom: &'static str) -> Bug {
    Bug {
        id,
        source,
        symptom,
        way: Way::Driver,
        note: "",
    }
}

const fn device(id: &'static str, source: &'static str, symptom: &'static str) -> Bug {
    Bug {
        way: Way::Device,
        ..driver(id, source, symptom)
    }
}

impl Bug {
    /// What its scenarios leave out, or do in another way.
    const fn but(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// No scenario: this looks for it.
    const fn checked_by(self, what: &'static str) -> Self {
        Self {
            way: Way::Check(what),
            ..self
        }
    }

    /// No scenario, and none can be.
    const fn not(self, why: &'static str) -> Self {
        Self {
            way: Way::Not(why),
            ..self
        }
    }
}

/// Every bug.
pub const BUGS: &[Bug] = &[
    driver(
        "B01",
        "OSR NTDEV, “Invalid Interrupt Vector?” (community.osr.com/discussion/293225)",
        "Two cards work alone; together the second gets code 10, since it was granted one message and made an interrupt object for each that it had asked for",
    ),
    driver(
        "B02",
        "OSR NTDEV, “Invalid Interrupt Vector?”, second half",
        "The count of messages is taken from the translated descriptor, where other things stand in its place",
    ),
    driver(
        "B03",
        "OSR NTDEV, “Setting Up MSIX Interrupts For a PCI Device” (community.osr.com/discussion/293187)",
        "Handlers of two messages are thought never to run at the same time",
    ),
    driver(
        "B04",
        "billauer.co.il (2012), “Bug check on IoConnectInterruptEx()”",
        "The system goes down when interrupts are connected, since the pointer for the message table was left out",
    )
    .not("the pointer is the driver's own, and the system goes down before the device is touched; that it went down at all is WIN-SYS-001's"),
    driver(
        "B05",
        "wilsonzlin/aero, notes on virtio for Windows 7",
        "Vectors read back as 0xFFFF, since the processor's vector was written where the message's number belongs; mappings are lost by a later reset",
    ),
    driver(
        "B06",
        "virtio-win 17dae794 (BZ#1372174)",
        "A network driver does not start with one vector",
    ),
    driver(
        "B07",
        "virtio-win 99520ebd, PR#188",
        "A network driver with two vectors comes to no queue pairs at all",
    ),
    driver(
        "B08",
        "virtio-win 8a7005b1, PR#367 (BZ#1666940)",
        "With one vector what happens on the control queue and to the link is lost",
    ),
    driver(
        "B09",
        "virtio-win df102420",
        "Changes of the link are not seen with a line interrupt",
    ),
    driver(
        "B10",
        "virtio-win 06e22f4d",
        "A SCSI driver with one to three vectors hangs the boot",
    ),
    driver(
        "B11",
        "virtio-win abb3a30d, c0fe9d04, PR#139, #165, #166, #1520 (BZ#1442322, #1451572)",
        "A disk that grows is not noticed when there are fewer vectors than queues and one",
    ),
    driver(
        "B12",
        "virtio-win a802a254",
        "A disk that grows is not noticed: the configuration vector was lost in a change",
    ),
    driver(
        "B13",
        "virtio-win 0446d948, 2485d266, c9664a88 (BZ#1270149, #1142737)",
        "A network driver misses the second change of the link, or all of them, with MSI-X",
    ),
    driver(
        "B14",
        "virtio-win d3d61506",
        "With a line interrupt an ISR value of 3 leaves the queue, and one of 2 the configuration unserved",
    ),
    driver(
        "B15",
        "virtio-win 0d3a936d",
        "The system goes down when a message comes whose number is above the count of queues",
    ),
    driver(
        "B16",
        "virtio-win 957f4859, PR#329",
        "The system goes down when a message comes for a queue that the driver does not use",
    ),
    driver(
        "B17",
        "virtio-win 073e0ad0, 326c6e32, PR#1503",
        "With one vector for everything only the first queue is served",
    ),
    driver(
        "B18",
        "virtio-win 3628672e, PR#123 (BZ#1435778)",
        "After a rebalance the driver goes on with the message numbers from before, and hangs",
    ),
    driver(
        "B19",
        "virtio-win a528eb6e, issue#94, PR#95",
        "A driver of a legacy device without MSI reads a vector register that is not there, and does not start",
    ),
    driver(
        "B20",
        "virtio-win 09f889bc",
        "Message 0 is not claimed: its number was taken for true or false",
    ),
    driver(
        "B21",
        "virtio-win 497dbe55 (BZ#1263193)",
        "Resume with a line interrupt fails: vectors are written although MSI-X is off",
    ),
    driver(
        "B22",
        "virtio-win 139ef4d9, PR#434 (BZ#1553633)",
        "A balloon is dead from the boot on: ISR status was set before the driver came, and nobody reads it",
    )
    .but("with a disk in place of the balloon"),
    driver(
        "B23",
        "virtio-win c1b298cc (BZ#1245957)",
        "A crash dump to a disk with MSI-X never ends: the dump driver polls the ISR byte",
    )
    .not("no scenario has the system crash; `--guest nt --crash-dump` has a miniport's own image write a dump (WIN-SPT-016)"),
    driver(
        "B24",
        "virtio-win 72efad18 (BZ#1918113)",
        "A display driver uses messages 0, 1 and 2 whatever was granted; with one, all of them are configuration",
    )
    .but("with a disk in place of the display"),
    driver(
        "B25",
        "virtio-win 948ed7f7",
        "A SCSI driver with a line interrupt completes requests in its interrupt routine, and deadlocks",
    ),
    driver(
        "B26",
        "virtio-win 24a06e56, 6e9e41b6 (BZ#1924998)",
        "The loop that waits for a reset never ends when the device is gone, or never finishes",
    ),
    driver(
        "B27",
        "virtio-win 2eea7a77, 74e214dc, issue#350",
        "Shutdown hangs: the answer to a control command is waited for without an end",
    ),
    driver(
        "B28",
        "virtio-win 9ad6c4ce, a227c6f0, PR#1351, #1331, #1350",
        "Requests in flight are not ended when the device is pulled out",
    ),
    driver(
        "B29",
        "virtio-win 1a515221, PR#913",
        "After a rebalance the driver thinks that it is stopped, and turns requests away",
    ),
    driver(
        "B30",
        "virtio-win 99caebe0, issue#195 (BZ#1520352)",
        "Buffers are taken back out of the ring while the device is live; the device finds a broken ring",
    ),
    driver(
        "B31",
        "virtio-win 1741d661, PR#331; propolis #1048, #1053, 7237e16b",
        "After NEEDS_RESET the first attempt to start again fails, and the driver gives up for good",
    ),
    driver(
        "B32",
        "virtio-win 6fd8505f, PR#684, #971, #1493, issues #144, #623, #756, #1204",
        "After a lost completion the bus is reset, but not the device: requests are ended, and the device writes into them later",
    ),
    driver(
        "B33",
        "virtio-win ce0e2517, 7ef084b8, 223afaa4",
        "Reception stops under load: interrupts are enabled again without a second look at the ring",
    )
    .but("on a disk, whose driver never moves used_event on: no race has to be lost"),
    driver(
        "B34",
        "virtio-win 5f65ea36, 796f64ae, 582dd183, d056a259",
        "The system goes down on resume or removal: an interrupt comes when its device is not set up, or no longer",
    ),
    driver(
        "B35",
        "virtio-win PR#940, PR#1029",
        "The last queue shares a vector, or the configuration has none: the INF's limit is one too small",
    )
    .checked_by("`misfire inf`, which holds an INF's MessageNumberLimit against what the device's queues need"),
    driver(
        "B36",
        "virtio-win c0fe9d04; au-ts/libvmm PR#412",
        "A driver without MSI-X writes the configuration vector all the same, and does not start where that is refused",
    ),
    driver(
        "B37",
        "OpenBSD 0e6436ede63d",
        "Configuration interrupts are dead after the device was set up again",
    ),
    driver(
        "B38",
        "OpenBSD vio(4): mej.xyz, “no carrier”; tech@, February 2026",
        "The link or reception is dead: configuration is on the wrong vector, or used_event is set again too late",
    ),
    driver(
        "B39",
        "Linux e6af578c5305",
        "A late interrupt finds freed memory at removal: nobody waits for the reset",
    ),
    driver(
        "B40",
        "Linux 52c9cf1ac3d3",
        "Events are lost after resume: queues are notified before DRIVER_OK",
    ),
    driver(
        "B41",
        "Linux 82af8ce8",
        "A driver that can't have a vector for each queue has none",
    ),
    driver(
        "B42",
        "Linux, “pci: report surprise removal event” (2025)",
        "Removing a disk hangs for ever: requests in flight never end once the device is gone",
    ),
    driver(
        "B43",
        "endlessm/linux #514",
        "MSI-X is dead after resume: what the device forgot is not written again",
    ),
    driver(
        "B44",
        "FreeBSD virtio_pci r246064, D24593 (r361442), D24082",
        "A driver does not attach, or shares the wrong vector: its fallbacks from vectors to the line have gaps",
    ),
    driver(
        "B45",
        "illumos, virtio_fini",
        "Interrupts are torn down before the device is reset; a late one finds what was freed",
    ),
    driver(
        "B46",
        "hermit-os PR#2231, #2464, #1680, #1218",
        "A storm on the line, a panic on a change of configuration, notifications at the wrong place",
    ),
    driver(
        "B47",
        "cloudius-systems/osv #1465",
        "A table with many entries uses up the system's vectors, and the driver aborts",
    ),
    driver(
        "B48",
        "DragonOS #2129; managarm #11; lkl/linux #148",
        "Completions are lost or late: devices share a vector, or the comparison with used_event is wrong",
    )
    .but("the comparison: used_event stays behind"),
    driver(
        "B49",
        "SeaBIOS 4e0daae5, 5f2d17d3, 5e03881f, 3208b098, 5a7730db, 8abc6a89",
        "What firmware left behind meets the system: an ISR status, a live queue, features written late, no bus mastering",
    ),
    driver(
        "B50",
        "EDK2 fcb636ea42, fbc80813ee",
        "A device that firmware did not reset writes into the memory of the system that it booted",
    ),
    driver(
        "B51",
        "iPXE 295f3bed2, e45451c69, dbda839b6, fe070bf2d",
        "Registers are accessed after they were unmapped; small queues and places that can't be reached are not coped with",
    ),
    device(
        "B52",
        "Firecracker 59b21612a; alioth #34",
        "No messages after a virtio reset: it cleared the MSI-X table as well",
    ),
    device(
        "B53",
        "Firecracker 1dee3090f",
        "With MSI-X the ISR byte always reads 0, and a driver that shares vectors misses changes",
    ),
    device(
        "B54",
        "cloud-hypervisor f06970730, #7851",
        "Requests stall after a restore: one interrupt was lost",
    ),
    device(
        "B55",
        "crosvm 078ef31b7, 66f975eec, 081ad6b6c",
        "A queue stalls after a restore: what the device wants to be told was lost",
    ),
    device(
        "B56",
        "cloud-hypervisor f685f0e0b, #495; crosvm f5ee34a48",
        "Vectors are 0 after a reset in place of none, and messages come on entry 0 before anything was mapped",
    ),
    device(
        "B57",
        "cloud-hypervisor 8248650e7; nutanix/libvfio-user #640",
        "MSI-X is never enabled: the device knows one width and place of the control word only",
    )
    .checked_by("tests of the function: the control word is written as bytes, words and dwords at every offset"),
    device(
        "B58",
        "cloud-hypervisor 3b431afba, 082fdc4d0; Firecracker 789b767e1, 14e8b371b",
        "The machine monitor goes down when a guest selects a queue or a vector that is not there",
    )
    .checked_by("tests and fuzzing of the function and the backend: whatever a guest writes, no step fails"),
    device(
        "B59",
        "cloud-hypervisor 90b948174, #8185",
        "A change of configuration is seen torn, or not: its generation is not counted as it should be",
    ),
    device(
        "B60",
        "crosvm 917b90e2a",
        "Interrupts go where a masked entry of the table used to point",
    ),
    device(
        "B61",
        "openvmm #4049, #4226",
        "A configuration interrupt comes at DRIVER_OK, and nothing changed",
    ),
    device(
        "B62",
        "openvmm #3925",
        "A driver turns down a device whose device configuration has no length",
    ),
    device(
        "B63",
        "openvmm #3915",
        "Memory is corrupted: requests complete after the reset",
    ),
    device(
        "B64",
        "au-ts/libvmm #349",
        "The line stays asserted over a reset, and storms",
    ),
    device(
        "B65",
        "propolis #1048, #1053",
        "The device asks for a reset because of one bad descriptor",
    ),
    device(
        "B66",
        "propolis #583, #730",
        "A legacy driver finds device configuration four bytes off once MSI-X was switched",
    ),
    device(
        "B67",
        "propolis #134",
        "There is no interrupt at all: no MSI-X, and no pin",
    ),
    device(
        "B68",
        "cloud-hypervisor #7813, #8190",
        "A message that was pending while its entry was masked never comes",
    ),
    device(
        "B69",
        "cloud-hypervisor #7079, #7940; QEMU's and libvirt's limits of routes",
        "A device with many vectors does not start: from some vector on they are refused",
    ),
    device(
        "B70",
        "bhyve, FreeBSD D24593",
        "Messages go to the first address that an entry had",
    ),
    device(
        "B71",
        "Mellanox/dpdk-vhost-vfe #45; Xilinx/dma_ip_drivers #30",
        "Hardware's vectors are 0 after a reset, or can't be had",
    ),
    device(
        "B72",
        "rcore-os/virtio-drivers #55, #69, #196, #203; zephyr #113343, #111289; OSv #1450; redleaf #41",
        "A driver trusts ids and lengths of the used ring, and accesses what it should not",
    ),
    driver(
        "B73",
        "zephyr #115151, #116999",
        "A reset is not waited for; capabilities that are unknown stop the driver",
    ),
    driver(
        "B74",
        "asterinas #3465; RT-Thread #11326; nanos #587",
        "An order of initialisation that QEMU lets pass fails on a device that is strict",
    ),
    driver(
        "B75",
        "rust-hypervisor-firmware #306",
        "An address of a queue is written with 64 bits at once",
    ),
    driver(
        "B76",
        "plan9fox ad37339a; Solo5 #491; Harvey #284; IncludeOS #15, #101, #503; unikraft #1115",
        "Indices and rings are left as they were when the device is set up again; there is no reset at the start",
    ),
    driver(
        "B77",
        "dpdk 159793ac; spdk #3178",
        "Interrupts are lost: a barrier is missing between the index and the look at the suppression",
    )
    .not("software emulation runs the guest's processors in turn and in program order, so a missing barrier changes nothing that can be seen (VIO-SPL-010, VIO-PKD-005)"),
    driver(
        "B78",
        "OASIS virtio-spec issues #133, #139, #145, #181, #210, #241, #250",
        "Places where the specification can be read in two ways",
    )
    .not("no bug, but a reason to judge leniently: VIO-ISR-007, VIO-NR-001, VIO-INIT-007 and VIO-QRST-004 do"),
    driver(
        "B79",
        "tp-qemu, boot_with_different_vectors",
        "A test that boots with every count of vectors",
    )
    .checked_by("no bug, but a test: the scenario shapes/table has every count, and more"),
    driver(
        "B80",
        "weltling/virtio-villain",
        "A tester of devices, in a guest",
    )
    .not("another tool, and no bug: it tests devices from a guest, where Misfire tests guests from a device"),
];
