//! What the reference guest is told: policies of its Windows, the driver's mistakes, its workload.

use std::fmt::Write as _;

use super::check::Checker;
use super::document::At;
use super::file::GuestFile;

/// A mistake that the reference driver can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Its name in scenarios.
    pub name: &'static str,
    /// What the driver does wrong.
    pub text: &'static str,
    /// The rule that it breaks.
    pub breaks: &'static str,
}

const fn mistake(name: &'static str, text: &'static str, breaks: &'static str) -> Mistake {
    Mistake { name, text, breaks }
}

/// Every mistake by name.
pub const MISTAKES: &[Mistake] = &[
    mistake(
        "no-read-back",
        "does not read a vector back after writing it",
        "VIO-MSIX-002",
    ),
    mistake(
        "apic-vector-as-index",
        "writes the APIC vector where the table index belongs",
        "VIO-MSIX-001",
    ),
    mistake(
        "program-once",
        "does not program the vectors again after a reset",
        "VIO-MSIX-005",
    ),
    mistake(
        "count-from-translated",
        "takes the message count from the translated descriptor",
        "WIN-MSI-010",
    ),
    mistake(
        "assume-all-messages",
        "assumes that all the messages it asked for were granted",
        "WIN-MSI-015",
    ),
    mistake(
        "one-object-per-port-from-one-descriptor",
        "creates an interrupt object for each port from a descriptor of one message",
        "WIN-MSI-012",
    ),
    mistake(
        "intx-isr-not-read",
        "does not read the ISR byte in its line interrupt handler",
        "VIO-ISR-001",
    ),
    mistake(
        "no-intx-fallback",
        "does not fall back to the line",
        "WIN-MSI-002",
    ),
    mistake(
        "no-shared-vector-fallback",
        "does not fall back to one shared vector",
        "VIO-MSIX-011",
    ),
    mistake(
        "no-features-ok-check",
        "does not read the status after setting FEATURES_OK",
        "VIO-INIT-005",
    ),
    mistake(
        "no-reset-wait",
        "does not wait for a reset to complete",
        "VIO-RST-001",
    ),
    mistake(
        "queue-vector-after-enable",
        "writes a queue's vector after enabling the queue",
        "VIO-MSIX-006",
    ),
    mistake(
        "notify-before-driver-ok",
        "notifies a queue before DRIVER_OK",
        "VIO-NTF-001",
    ),
    mistake(
        "isr-equality-test",
        "handles an ISR value of 1, but not 2 and 3",
        "VIO-ISR-002",
    ),
    mistake(
        "ignores-needs-reset",
        "does not react to NEEDS_RESET",
        "VIO-NR-001",
    ),
    mistake(
        "notifies-after-removal",
        "notifies its queues once more after the device was pulled out",
        "VIO-NTF-008",
    ),
    mistake(
        "removal-keeps-requests",
        "does not end the requests in flight when the device is pulled out",
        "WIN-STOR-001",
    ),
    mistake(
        "resets-after-removal",
        "resets a device that was pulled out, and waits for that without an end",
        "WIN-PNP-001",
    ),
    mistake(
        "trusts-device-after-d3",
        "does not reset the device before D3, and takes it to be as it was after it",
        "WIN-PNP-002",
    ),
    mistake(
        "reset-after-interrupts-off",
        "resets the device when its interrupts are off, and not before",
        "WIN-MSI-008",
    ),
    mistake(
        "keeps-messages",
        "uses the messages of its first start in every other",
        "WIN-MSI-009",
    ),
    mistake(
        "rejects-after-stop",
        "takes no requests any more when the device was stopped once",
        "WIN-MSI-009",
    ),
    mistake(
        "used-id-unchecked",
        "takes the id of a used element as it is",
        "ROB-001",
    ),
    mistake(
        "used-len-trusted",
        "reads as much of a buffer as the device says it has written",
        "ROB-002",
    ),
    mistake(
        "ignores-index-jump",
        "waits until a used index that jumped is what it should be",
        "ROB-003",
    ),
    mistake(
        "config-vector-unchecked",
        "does not check the config vector it got",
        "VIO-MSIX-002",
    ),
    mistake(
        "config-vector-once",
        "writes the configuration's vector once, and not again after a reset",
        "VIO-MSIX-005",
    ),
    mistake(
        "config-on-last-message",
        "listens for the configuration on another message than the one it is given",
        "VIO-MSIX-010",
    ),
    mistake(
        "config-unserved-when-shared",
        "does not look at the configuration when a shared message comes",
        "VIO-MSIX-010",
    ),
    mistake(
        "last-queue-unserved-when-shared",
        "does not look at the last queue when a shared message comes",
        "VIO-MSIX-010",
    ),
    mistake(
        "config-unserved-on-line",
        "looks at queues only when the line is up",
        "VIO-ISR-002",
    ),
    mistake(
        "message-id-as-boolean",
        "does not claim message 0",
        "VIO-MSIX-010",
    ),
    mistake(
        "config-served-once",
        "serves the first change of the configuration, and no other",
        "VIO-CFG-004",
    ),
    mistake(
        "resets-on-config-change",
        "resets the device at each change of the configuration",
        "VIO-CFG-007",
    ),
    mistake(
        "generation-not-read",
        "reads the configuration without its generation",
        "VIO-CFG-001",
    ),
    mistake(
        "generation-not-compared",
        "reads the configuration's generation and does not compare it",
        "VIO-CFG-002",
    ),
    mistake(
        "abandons-needs-reset",
        "leaves a device that needs a reset during start as it is",
        "VIO-NR-004",
    ),
    mistake(
        "driver-without-acknowledge",
        "sets DRIVER, and ACKNOWLEDGE never",
        "VIO-INIT-002",
    ),
    mistake(
        "features-before-driver",
        "accepts features before it sets DRIVER",
        "VIO-INIT-003",
    ),
    mistake(
        "queues-before-features-ok",
        "writes a queue's addresses before FEATURES_OK",
        "VIO-INIT-004",
    ),
    mistake(
        "late-features",
        "accepts features after FEATURES_OK",
        "VIO-INIT-007",
    ),
    mistake(
        "early-config-write",
        "writes device configuration before FEATURES_OK",
        "VIO-INIT-008",
    ),
    mistake(
        "late-enable",
        "enables its last queue after DRIVER_OK",
        "VIO-INIT-009",
    ),
    mistake(
        "clears-status-bit",
        "writes DRIVER_OK without ACKNOWLEDGE, which was set",
        "VIO-INIT-010",
    ),
    mistake(
        "retries-without-reset",
        "tries other features after FAILED, without a reset",
        "VIO-INIT-011",
    ),
    mistake(
        "fails-silently",
        "does not set FAILED when it can't initialise the device",
        "VIO-INIT-012",
    ),
    mistake(
        "leaves-device-live",
        "does not reset the device when it lets go of it",
        "VIO-RST-004",
    ),
    mistake(
        "no-set-up-after-reset",
        "does not enable its queues again after a reset",
        "VIO-RST-006",
    ),
    mistake(
        "wide-queue-address",
        "writes a queue's address with 64 bits at once",
        "VIO-ACC-001",
    ),
    mistake(
        "writes-capability",
        "writes into a virtio capability",
        "VIO-ACC-003",
    ),
    mistake(
        "disables-queues",
        "takes its queues down by writing 0 to queue_enable",
        "VIO-ACC-005",
    ),
    mistake(
        "odd-queue-size",
        "writes a queue_size that is no power of two",
        "VIO-ACC-006",
    ),
    mistake(
        "enables-missing-queue",
        "enables a queue beyond num_queues",
        "VIO-ACC-007",
    ),
    mistake(
        "access-outside-structures",
        "reads a BAR where no structure is",
        "VIO-ACC-009",
    ),
    mistake(
        "address-after-enable",
        "writes a queue's address after enabling the queue",
        "VIO-Q-001",
    ),
    mistake(
        "misaligned-ring",
        "puts the used ring at an address that is no multiple of 4",
        "VIO-Q-002",
    ),
    mistake(
        "overlapping-rings",
        "puts the used ring where the available ring is",
        "VIO-Q-004",
    ),
    mistake(
        "notifies-at-wrong-place",
        "notifies queue 1 at the place of queue 0",
        "VIO-Q-005",
    ),
    mistake(
        "shares-queue-memory",
        "gives every queue the memory of queue 0",
        "VIO-Q-006",
    ),
    mistake(
        "notifies-with-four-bytes",
        "notifies with 32 bits without NOTIFICATION_DATA",
        "VIO-NTF-002",
    ),
    mistake(
        "notifies-with-wrong-value",
        "notifies a queue with a value that is not its index",
        "VIO-NTF-003",
    ),
    mistake(
        "notifies-beyond-queues",
        "notifies where no queue has its place",
        "VIO-NTF-004",
    ),
    mistake(
        "forgets-notification",
        "does not notify the device of a queue's fourth request",
        "VIO-NTF-006",
    ),
    mistake(
        "notifies-unused-queue",
        "notifies a queue that it never enabled",
        "VIO-NTF-007",
    ),
    mistake(
        "notifies-after-reset",
        "notifies its queues after a reset",
        "VIO-NTF-008",
    ),
    mistake("writes-read-only-field", "writes num_queues", "VIO-ACC-002"),
    mistake(
        "config-vector-not-mapped",
        "gives the configuration no vector",
        "VIO-MSIX-009",
    ),
    mistake(
        "accepts-any-read-back",
        "takes any vector that reads back for the one that it wrote",
        "VIO-MSIX-004",
    ),
    mistake(
        "vectors-without-msix",
        "writes the configuration's vector with a line interrupt",
        "VIO-MSIX-007",
    ),
    mistake(
        "leaves-messages-masked",
        "leaves the function's messages masked",
        "VIO-MSIX-008",
    ),
    mistake(
        "reads-isr-with-msix",
        "reads the ISR status for each message",
        "VIO-ISR-003",
    ),
    mistake(
        "relies-on-isr-with-msix",
        "takes a shared message for a change of the configuration only if the ISR status says so",
        "VIO-MSIX-010",
    ),
    mistake(
        "no-reset-at-start",
        "does not reset the device before setting it up",
        "VIO-INIT-001",
    ),
    mistake(
        "accepts-unoffered-feature",
        "accepts a feature that was not offered",
        "VIO-FEAT-001",
    ),
    mistake(
        "queue-size-unchecked",
        "uses a queue as large as the device says, whatever that is",
        "ROB-004",
    ),
    mistake(
        "unbounded-config-retry",
        "reads a configuration that keeps changing again for ever",
        "ROB-005",
    ),
    mistake(
        "reset-wait-unbounded",
        "waits for the end of a reset without a limit",
        "ROB-006",
    ),
    mistake(
        "isr-reserved-bits-fatal",
        "takes reserved bits of the ISR status for impossible",
        "ROB-008",
    ),
    mistake(
        "claims-isr-zero",
        "claims an interrupt of the line although the ISR status is 0",
        "VIO-ISR-004",
    ),
    mistake(
        "message-without-queue",
        "takes every message for that of a queue that is there",
        "WIN-MSI-014",
    ),
    mistake(
        "no-watchdog",
        "waits for a late request without a limit",
        "ROB-014",
    ),
    mistake(
        "spurious-gives-up",
        "gives the device up after twenty interrupts that led to nothing",
        "ROB-013",
    ),
    mistake(
        "config-interrupt-fatal",
        "takes a configuration interrupt with nothing changed for impossible",
        "VIO-CFG-007",
    ),
    mistake(
        "recovery-forgets-queues",
        "sets up only the first queue after DEVICE_NEEDS_RESET",
        "VIO-NR-003",
    ),
    mistake(
        "clears-needs-reset",
        "clears DEVICE_NEEDS_RESET by a status write before the reset",
        "VIO-NR-005",
    ),
    mistake(
        "one-recovery",
        "gives up when a recovery fails once",
        "VIO-NR-004",
    ),
    mistake(
        "early-message-ignored",
        "ignores what comes between DRIVER_OK and the connection of its interrupts",
        "WIN-MSI-007",
    ),
    mistake(
        "last-capability",
        "uses the last of several structures of a type",
        "VIO-CAP-001",
    ),
    mistake(
        "reserved-type-refused",
        "does not start when a capability has a reserved cfg_type",
        "VIO-CAP-002",
    ),
    mistake(
        "reserved-bar-used",
        "takes a capability with a reserved bar for the structure",
        "VIO-CAP-003",
    ),
    mistake(
        "exact-cap-len",
        "does not take a capability that is longer than needed",
        "VIO-CAP-004",
    ),
    mistake(
        "large-structure-refused",
        "refuses a structure of more than a page",
        "VIO-CAP-005",
    ),
    mistake(
        "exact-revision",
        "refuses a revision other than 1",
        "VIO-CAP-006",
    ),
    mistake(
        "exact-config-length",
        "refuses a device configuration of another length than usual",
        "VIO-CAP-007",
    ),
    mistake(
        "capabilities-assumed",
        "uses structures that it has not found",
        "VIO-CAP-008",
    ),
    mistake(
        "config-required",
        "refuses a device without configuration, though its type has none",
        "VIO-CAP-009",
    ),
    mistake(
        "vendor-data-unchecked",
        "reads vendor data without a look at whose they are",
        "VIO-ACC-008",
    ),
    mistake(
        "window-unset",
        "reads the data of the configuration access window before it is set",
        "VIO-ACC-004",
    ),
    mistake(
        "notify-multiplier-ignored",
        "takes notify_off_multiplier to be 4",
        "VIO-NTF-004",
    ),
    mistake(
        "notify-off-ignored",
        "takes queue_notify_off to be the queue's index",
        "VIO-Q-005",
    ),
    mistake(
        "accepts-unknown-features",
        "accepts features that mean nothing to it",
        "VIO-FEAT-003",
    ),
    mistake(
        "accepts-sr-iov",
        "accepts SR_IOV without a look for the capability",
        "VIO-FEAT-008",
    ),
    mistake(
        "platform-not-accepted",
        "does not accept ACCESS_PLATFORM",
        "VIO-FEAT-006",
    ),
    mistake(
        "unknown-feature-refused",
        "gives up because of a feature that it does not know",
        "VIO-FEAT-004",
    ),
    mistake(
        "version-1-not-accepted",
        "does not accept VERSION_1",
        "VIO-FEAT-005",
    ),
    mistake(
        "bus-master-off",
        "switches bus mastering off",
        "VIO-PCI-001",
    ),
    mistake(
        "entry-unprogrammed",
        "wipes the address of a table entry that it uses",
        "VIO-PCI-002",
    ),
    mistake(
        "line-forbidden",
        "forbids the line that it waits for",
        "VIO-PCI-004",
    ),
    mistake(
        "asks-for-whole-table",
        "asks for more messages than the system allows",
        "WIN-MSI-003",
    ),
    mistake(
        "counts-descriptors",
        "counts descriptors instead of the messages in them",
        "WIN-MSI-005",
    ),
    mistake(
        "optional-config-unchecked",
        "reads fields of the configuration whose feature is not offered",
        "VIO-CFG-003",
    ),
    mistake(
        "config-written",
        "writes read-only fields of the configuration",
        "VIO-CFG-005",
    ),
    mistake(
        "feature-without-prerequisite",
        "accepts features without those that they require",
        "VIO-FEAT-002",
    ),
    mistake(
        "zero-pairs",
        "divides its messages by the queues of a pair, and starts with no pair",
        "VIO-MSIX-011",
    ),
    mistake(
        "endless-control-wait",
        "waits for the interrupt of a control command without a limit",
        "ROB-014",
    ),
    mistake(
        "events-before-driver-ok",
        "notifies the event queue of a SCSI host before DRIVER_OK",
        "VIO-NTF-001",
    ),
    mistake(
        "lock-in-isr",
        "waits in the handler of its line for a lock that its other code holds",
        "WIN-MSI-002",
    ),
    mistake(
        "queue-reset-not-awaited",
        "does not wait until the reset of a queue is over",
        "VIO-QRST-001",
    ),
    mistake(
        "queue-reset-unnegotiated",
        "resets a queue without having accepted RING_RESET",
        "VIO-QRST-003",
    ),
    mistake(
        "queue-enabled-without-set-up",
        "enables a queue after its reset without its size and addresses",
        "VIO-QRST-004",
    ),
    mistake(
        "chain-loops",
        "lets a chain lead back to its first descriptor",
        "VIO-SPL-001",
    ),
    mistake(
        "writable-first",
        "puts what the device writes before what it reads",
        "VIO-SPL-002",
    ),
    mistake(
        "indirect-unnegotiated",
        "uses indirect descriptors without INDIRECT_DESC",
        "VIO-SPL-003",
    ),
    mistake(
        "indirect-nested",
        "puts an indirect descriptor into an indirect table",
        "VIO-SPL-003",
    ),
    mistake(
        "indirect-with-next",
        "sets INDIRECT and NEXT in one descriptor",
        "VIO-SPL-003",
    ),
    mistake(
        "odd-table-length",
        "makes an indirect table half a descriptor too long",
        "VIO-SPL-003",
    ),
    mistake(
        "available-index-jumps",
        "moves avail.idx by more than the queue's size",
        "VIO-SPL-004",
    ),
    mistake(
        "next-outside-table",
        "names a descriptor beyond the table",
        "VIO-SPL-005",
    ),
    mistake(
        "available-flags-reserved",
        "sets a reserved bit of avail.flags",
        "VIO-SPL-007",
    ),
    mistake(
        "available-flags-with-event-idx",
        "suppresses interrupts by avail.flags although EVENT_IDX was negotiated",
        "VIO-SPL-007",
    ),
    mistake(
        "used-flags-not-zeroed",
        "enables a queue with used.flags not 0",
        "VIO-SPL-009",
    ),
    mistake(
        "writes-used-ring",
        "overwrites the used elements that it has taken",
        "VIO-SPL-009",
    ),
    mistake(
        "used-event-stuck",
        "does not move used_event on",
        "VIO-SPL-011",
    ),
    mistake(
        "next-out-of-order",
        "links descriptors in another order than they lie in, with IN_ORDER",
        "VIO-SPL-012",
    ),
    mistake(
        "buffer-outside-memory",
        "gives the device a buffer that is not in memory",
        "VIO-SPL-013",
    ),
    mistake(
        "queue-vector-not-restored",
        "does not give a queue its vector back after its reset",
        "VIO-QRST-004",
    ),
];

/// What the reference guest's kernel takes: queues, requests in flight, a time limit in milliseconds.
const MOST_QUEUES: u32 = 16;
const MOST_DEPTH: u32 = 64;
const LONGEST_MS: u32 = 600_000;

/// Parameters of the reference guest; what is `None` is left to the guest's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuestParameters {
    /// Parameters for every device.
    pub all: Parameters,
    /// Parameters of one device, by position.
    pub devices: Vec<Parameters>,
}

/// One set of parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// `win7`, `win8` or `win10`.
    pub os: Option<String>,
    /// The INF's MSISupported.
    pub msi_supported: Option<bool>,
    /// The INF's MessageNumberLimit.
    pub message_limit: Option<u32>,
    /// `all`, `one` or `none`.
    pub grant: Option<String>,
    /// `prepare` or `add`.
    pub style: Option<String>,
    /// Names out of [`MISTAKES`].
    pub mistakes: Vec<String>,
    /// The driver's time limit for a request, in milliseconds.
    pub timeout_ms: Option<u32>,
    /// The most descriptors of a queue that the driver uses.
    pub descriptors: Option<u16>,
    /// The most queues that the driver uses.
    pub queues: Option<u16>,
    /// Requests in flight for each queue.
    pub depth: Option<u16>,
    /// Whether the driver gives its queues no vector, and polls them.
    pub poll: Option<bool>,
    /// `bar` or `window`.
    pub access: Option<String>,
}

impl GuestParameters {
    /// The kernel's command line: `key=value` pairs, `dev<N>.key=value` for one device.
    ///
    /// ```
    /// use misfire::scenario::GuestParameters;
    /// let mut guest = GuestParameters::default();
    /// guest.all.mistakes = vec!["no-read-back".into(), "program-once".into()];
    /// guest.devices.resize_with(2, Default::default);
    /// guest.devices[1].grant = Some("one".into());
    /// assert_eq!(guest.command_line(), "mistake=no-read-back,program-once dev1.grant=one");
    /// ```
    pub fn command_line(&self) -> String {
        let mut line = String::new();
        self.all.write(&mut line, "");
        for (n, device) in self.devices.iter().enumerate() {
            device.write(&mut line, &format!("dev{n}."));
        }
        line
    }

    /// Whether the driver makes a mistake on purpose: such a scenario is for the reference guest only.
    pub fn has_mistake(&self) -> bool {
        std::iter::once(&self.all)
            .chain(&self.devices)
            .any(|p| !p.mistakes.is_empty())
    }
}

impl Parameters {
    fn write(&self, line: &mut String, prefix: &str) {
        let pairs = [
            ("os", self.os.clone()),
            (
                "msi_supported",
                self.msi_supported.map(|v| u8::from(v).to_string()),
            ),
            ("message_limit", self.message_limit.map(|v| v.to_string())),
            ("grant", self.grant.clone()),
            ("style", self.style.clone()),
            (
                "mistake",
                (!self.mistakes.is_empty()).then(|| self.mistakes.join(",")),
            ),
            ("timeout_ms", self.timeout_ms.map(|v| v.to_string())),
            ("descriptors", self.descriptors.map(|v| v.to_string())),
            ("queues", self.queues.map(|v| v.to_string())),
            ("depth", self.depth.map(|v| v.to_string())),
            ("poll", self.poll.map(|v| u8::from(v).to_string())),
            ("access", self.access.clone()),
        ];
        for (key, value) in pairs {
            if let Some(value) = value {
                let space = if line.is_empty() { "" } else { " " };
                let _ = write!(line, "{space}{prefix}{key}={value}");
            }
        }
    }
}

impl Checker<'_> {
    pub(super) fn guest(&mut self, file: &GuestFile, devices: usize) -> GuestParameters {
        let all = self.parameters(&["guest".into()], file);
        if file.device.len() > devices {
            let message = format!(
                "parameters for {} devices: this scenario has {devices}",
                file.device.len()
            );
            self.fail(&["guest".into(), "device".into()], message, None);
        }
        let mut each = Vec::new();
        for (index, entry) in file.device.iter().enumerate() {
            let path = ["guest".into(), "device".into(), index.into()];
            if !entry.device.is_empty() {
                self.fail(
                    &path,
                    "parameters of one device can't hold those of others",
                    None,
                );
            }
            each.push(self.parameters(&path, entry));
        }
        GuestParameters { all, devices: each }
    }

    fn parameters(&mut self, path: &[At<'_>], file: &GuestFile) -> Parameters {
        let at = |key: &'static str| -> Vec<At<'_>> {
            path.iter().copied().chain([key.into()]).collect()
        };
        for (key, value, known) in [
            ("os", &file.os, &["win7", "win8", "win10"][..]),
            ("grant", &file.grant, &["all", "one", "none"]),
            ("style", &file.style, &["prepare", "add"]),
            ("access", &file.access, &["bar", "window"]),
        ] {
            if let Some(value) = value {
                self.known(&at(key), key, value, known);
            }
        }
        let names: Vec<&str> = MISTAKES.iter().map(|m| m.name).collect();
        for (index, name) in file.mistake.iter().enumerate() {
            let mut place = at("mistake");
            place.push(index.into());
            self.known(&place, "mistake", name, &names);
        }
        for (key, value, most) in [
            ("message-limit", file.message_limit, u32::MAX),
            ("timeout-ms", file.timeout_ms, LONGEST_MS),
            ("descriptors", file.descriptors.map(u32::from), 32768),
            ("queues", file.queues.map(u32::from), MOST_QUEUES),
            ("depth", file.depth.map(u32::from), MOST_DEPTH),
        ] {
            if let Some(value) = value.filter(|v| !(1..=most).contains(v)) {
                let message = format!("{key} = {value}: expected 1 to {most}");
                self.fail(&at(key), message, None);
            }
        }
        Parameters {
            os: file.os.clone(),
            msi_supported: file.msi_supported,
            message_limit: file.message_limit,
            grant: file.grant.clone(),
            style: file.style.clone(),
            mistakes: file.mistake.clone(),
            timeout_ms: file.timeout_ms,
            descriptors: file.descriptors,
            queues: file.queues,
            depth: file.depth,
            poll: file.poll,
            access: file.access.clone(),
        }
    }
}
