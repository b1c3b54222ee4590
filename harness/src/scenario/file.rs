//! A scenario file as it is written.
//!
//! Two liberties are settled before these types are read: a single `[device]` stands for a list of
//! one, and a single string stands for a list of one where a list of strings is expected.

use std::collections::BTreeMap;

use misfire_device::fault::FaultFile;
use misfire_device::shape::Shape;
use schemars::JsonSchema;
use serde::Deserialize;

use super::schema;

/// The whole file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// What happens, in one sentence.
    pub title: String,
    /// Where the failure was described: sections, bug numbers, threads.
    #[serde(default)]
    #[schemars(schema_with = "schema::words")]
    pub source: Vec<String>,
    /// The device, or the devices in the order of their slots.
    #[schemars(schema_with = "schema::devices")]
    pub device: Vec<Shape>,
    /// What goes wrong.
    #[serde(default)]
    #[schemars(schema_with = "schema::faults")]
    pub fault: Vec<FaultFile>,
    /// What the reference guest is told.
    #[serde(default)]
    pub guest: GuestFile,
    /// The guest is booted for it, and not restored.
    #[serde(default)]
    pub cold: bool,
    /// What is done, in order.
    #[serde(default)]
    pub step: Vec<StepFile>,
    /// What must come out.
    #[serde(default)]
    pub expect: ExpectFile,
    /// The same scenario with something changed. Tables are merged key by key; everything else,
    /// lists too, takes the place of what stood there.
    #[serde(default)]
    #[schemars(schema_with = "schema::variants")]
    pub variant: Vec<toml::Table>,
    /// Lists of values where the file has one: each combination of them is a scenario.
    #[serde(default)]
    #[schemars(schema_with = "schema::arguments")]
    pub matrix: toml::Table,
    /// What is laid over the file in the cells of the matrix that `when` names.
    #[serde(default)]
    #[schemars(schema_with = "schema::cases")]
    pub case: Vec<toml::Table>,
}

/// Parameters of the reference guest, for all devices or for one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GuestFile {
    /// `win7`, `win8` or `win10`: decides how many messages a device may ask for.
    pub os: Option<String>,
    /// The INF's MSISupported.
    pub msi_supported: Option<bool>,
    /// The INF's MessageNumberLimit.
    pub message_limit: Option<u32>,
    /// `all`, `one`, `none`, or a number: the messages that Plug and Play hands out.
    pub grant: Option<String>,
    /// `prepare` or `add`: the callback in which the driver creates its interrupt objects.
    pub style: Option<String>,
    /// Mistakes that the driver makes, by name.
    #[serde(default)]
    #[schemars(schema_with = "schema::words")]
    pub mistake: Vec<String>,
    /// The driver's time limit for one request, in milliseconds.
    pub timeout_ms: Option<u32>,
    /// The most descriptors of a queue that the driver uses.
    pub descriptors: Option<u16>,
    /// The most queues that the driver uses.
    pub queues: Option<u16>,
    /// Requests in flight for each queue.
    pub depth: Option<u16>,
    /// Whether the driver gives its queues no vector, and polls them.
    pub poll: Option<bool>,
    /// How the driver reaches the registers: `bar`, or `window` for the configuration access window.
    pub access: Option<String>,
    /// The interface that the driver uses: `modern`, or `legacy`. Default: the modern one if there is one.
    pub interface: Option<String>,
    /// Processors of a guest `nt` or a Linux guest, 1 to 8. Default: `nt` has one, a Linux guest as many as the device
    /// has queues, up to 4. The reference guest has one.
    pub processors: Option<u16>,
    /// The same for one device each, in the order of the devices.
    #[serde(default)]
    pub device: Vec<GuestFile>,
}

/// One `[[step]]`: exactly one of `wait`, `load`, `host` and `guest`, and its arguments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StepFile {
    /// Wait until `ready`, `started`, `live`, `removed`, `loaded` or a predicate.
    pub wait: Option<String>,
    /// Let the guest use the device: `read`, `write`, `verify`, `flush`, `discard`, `mixed`,
    /// `frames`, `control`, `echo`, `entropy`, `port`.
    pub load: Option<String>,
    /// A command of the host: `cfg.change`, `needs-reset`, or a name that a fault waits for.
    pub host: Option<String>,
    /// A command to the guest: `device restart|stop|start|sleep|wake|suspend|resume`, `device rebalance all|one|none|<number>`, `queue reset q=<number>`, `wait-config`, `idle <time>`, `state`.
    pub guest: Option<String>,
    /// Which device, from 0.
    pub device: Option<u8>,
    /// load: go on to the next step at once; `wait = "loaded"` waits for the end.
    pub background: Option<bool>,
    /// load: number of requests.
    pub blocks: Option<u32>,
    /// load: bytes of one request: of a disk a multiple of 512, of a frame, a line, or entropy.
    pub size: Option<u32>,
    /// load: first sector.
    pub lba: Option<u64>,
    /// load: `"all"`, or the number of the one queue, or pair of queues, to use, from 0.
    #[schemars(schema_with = "schema::word_or_number")]
    pub queues: Option<toml::Value>,
    /// load = "frames": frames to send, each of which has to come back.
    pub frames: Option<u32>,
    /// load = "control": commands to send.
    pub commands: Option<u32>,
    /// load = "echo": lines to write, each of which has to come back.
    pub lines: Option<u32>,
    /// load = "entropy": bytes to get.
    pub bytes: Option<u32>,
    /// load = "port": events for each port.
    pub events: Option<u32>,
    /// load = "port": `"all"`, `"both"`, or one port.
    #[schemars(schema_with = "schema::word_or_number")]
    pub ports: Option<toml::Value>,
    /// host: arguments of the command.
    #[serde(default)]
    #[schemars(schema_with = "schema::arguments")]
    pub args: toml::Table,
    /// The longest that this step may take, such as `"500ms"` or `"10s"`.
    pub timeout: Option<String>,
}

/// What must come out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectFile {
    /// `started`, `degraded`, `refused`, `wedged` or `crashed`.
    pub outcome: Option<String>,
    /// `msix`, `msix-shared`, `msi`, `intx`, `polled` or `none`; a list gives one for each device.
    #[schemars(schema_with = "schema::optional_words")]
    pub interrupts: Option<Vec<String>>,
    /// `complete`, `failed` or `none`.
    pub io: Option<String>,
    /// The code of the bugcheck or panic, such as `"0xD1"`.
    pub bugcheck: Option<String>,
    /// Rules that must come out broken: the scenario holds a mistake on purpose.
    #[schemars(schema_with = "schema::optional_words")]
    pub broken: Option<Vec<String>>,
    /// Recommendations (SHOULD rules) that must come out broken.
    #[schemars(schema_with = "schema::optional_words")]
    pub warn: Option<Vec<String>>,
    /// Rules that must have been tried, and held.
    #[schemars(schema_with = "schema::optional_words")]
    pub held: Option<Vec<String>>,
    /// Regular expressions that a line of the driver's log must match.
    #[schemars(schema_with = "schema::optional_words")]
    pub log: Option<Vec<String>>,
    /// Words that the findings of the rules must contain.
    #[schemars(schema_with = "schema::optional_words")]
    pub says: Option<Vec<String>>,
    /// Steps that must run out of time, in the words of reports.
    #[schemars(schema_with = "schema::optional_words")]
    pub timeouts: Option<Vec<String>>,
    /// Why the scenario is not for this guest: it is skipped there.
    pub skip: Option<String>,
    /// Why a driver deviates so: needed under `known`, and nowhere else.
    pub why: Option<String>,
    /// What differs on the reference guest.
    pub reference: Option<Box<ExpectFile>>,
    /// What differs on a real driver loaded by the reference guest.
    pub nt: Option<Box<ExpectFile>>,
    /// What differs on Linux.
    pub linux: Option<Box<ExpectFile>>,
    /// What differs on firmware.
    pub firmware: Option<Box<ExpectFile>>,
    /// What differs on Windows.
    pub windows: Option<Box<ExpectFile>>,
    /// Predicted deviations, by `driver@revision`.
    #[serde(default)]
    pub known: BTreeMap<String, ExpectFile>,
}
