//! The guest of kind `nt`: the reference guest's model of Windows with a driver's own image on it.

use std::sync::Arc;

use misfire_device::file::DeviceUnderTest;
use misfire_device::shape::{Interface, Kind, Shape};

use crate::image::{Image, ImageError, Missing, handed};
use crate::inf::{Entry, Model, hardware_ids};
use crate::scenario::{Action, Scenario};

/// Its name.
pub const NT: &str = "nt";
/// Requests in flight where a scenario has no fault and does not say how many.
const DEPTH: u16 = 4;
/// What every report of it says.
pub const STANDING: &str = "the guest is a model of Windows and not Windows: it stands below a run on \
    Windows, not in its place (docs/nt-guest.md)";

/// A driver's image, ready to be run, and what its INF says.
#[derive(Clone, Debug)]
pub struct NtDriver {
    image: Arc<[u8]>,
    /// Imports that the model does not have.
    pub missing: Vec<Missing>,
    /// What its INF installs; without it the scenario says how many messages are asked for.
    pub inf: Option<Vec<Model>>,
    /// What the registry has for the driver as `DriverParameter`.
    pub parameter: Option<String>,
    /// How many processors it runs on; without it the scenario says, and else there is one.
    pub processors: Option<u16>,
    /// Mistakes that the driver makes when `DriverParameter` says so: that of our own test drivers only.
    pub mistakes: Vec<String>,
    /// At its end each scenario's system crashes, and the driver writes the dump.
    pub crash_dump: bool,
    /// The name that its lines in the tables `snapshots/nt.snap` have: that of its file, without `.sys`.
    name: String,
}

impl NtDriver {
    /// The driver whose image is `bytes`; `name` is its file's.
    ///
    /// # Errors
    /// What is wrong with the image. Imports that the model does not have are no error here.
    pub fn new(name: &str, bytes: &[u8]) -> Result<Self, ImageError> {
        let image = Image::read(bytes)?;
        Ok(Self {
            image: handed(&image, name).into(),
            missing: image.missing(),
            inf: None,
            parameter: None,
            processors: None,
            mistakes: Vec::new(),
            crash_dump: false,
            name: name.trim_end_matches(".sys").to_owned(),
        })
    }

    /// The name of its lines in tables of snapshots; none for one that is told to do something special.
    pub(crate) fn snapshots(&self) -> Option<&str> {
        (self.parameter.is_none() && !self.crash_dump).then_some(self.name.as_str())
    }

    /// What the guest finds in its memory.
    pub(crate) fn image(&self) -> Arc<[u8]> {
        Arc::clone(&self.image)
    }

    /// What the INF installs for a device.
    fn model(&self, shape: &Shape) -> Option<&Model> {
        let ids = hardware_ids(shape);
        let is_one = |id: &String| ids.iter().any(|own| own.eq_ignore_ascii_case(id));
        self.inf
            .as_ref()?
            .iter()
            .find(|model| model.ids.iter().any(is_one))
    }

    /// Whether it can be told this: one of our own test drivers.
    fn knows(&self, name: &str) -> bool {
        self.mistakes.iter().any(|own| own == name)
    }

    /// Why a scenario is not for this driver; `None` for one that is.
    pub fn unsuited(&self, scenario: &Scenario) -> Option<String> {
        // Without its INF it may be for hosts too, but nobody says so.
        let kinds: &[Kind] = match &self.inf {
            Some(_) => &[Kind::Block, Kind::Scsi],
            None => &[Kind::Block],
        };
        if let Some(device) = scenario
            .devices
            .iter()
            .find(|d| !kinds.contains(&d.shape.kind))
        {
            let (kind, without) = match (device.shape.kind, &self.inf) {
                (Kind::Scsi, None) => ("SCSI host", " without an INF that says so"),
                (kind, _) => (kind.word(), ""),
            };
            return Some(format!(
                "a StorPort miniport is no driver for a {kind}{without}"
            ));
        }
        if let Some(mistake) =
            mistakes(scenario).find(|name| !self.mistakes.iter().any(|m| m == name))
        {
            return Some(format!(
                "the driver makes the mistake {mistake} on purpose, and this one does not"
            ));
        }
        if let (Some(models), Some(device)) = (
            &self.inf,
            scenario
                .devices
                .iter()
                .find(|d| self.model(&d.shape).is_none()),
        ) {
            let ids = hardware_ids(&device.shape);
            let (count, id) = (models.len(), ids.first().map_or("", String::as_str));
            return Some(format!(
                "none of the INF's {count} models is for the device, {id}"
            ));
        }
        let sets = || std::iter::once(&scenario.guest.all).chain(&scenario.guest.devices);
        if sets().any(|set| set.poll == Some(true) || set.access.as_deref() == Some("window")) {
            return Some(UNTOLD.into());
        }
        if !self.knows(LEGACY) && scenario.devices.iter().any(|d| chooses_legacy(scenario, d)) {
            return Some(UNTOLD.into());
        }
        let own = |action: &Action| {
            let Action::Guest(command) = action else {
                return false;
            };
            command.starts_with("queue")
                || [" suspend", " resume"]
                    .iter()
                    .any(|end| command.ends_with(end))
        };
        let step = scenario.steps.iter().find(|step| own(&step.action))?;
        Some(format!(
            "nothing in Windows asks a miniport for `{}`",
            step.text
        ))
    }

    /// How many processors a scenario is run on.
    pub fn processors(&self, scenario: &Scenario) -> u16 {
        self.processors
            .or(scenario.guest.all.processors)
            .unwrap_or(1)
    }

    /// The kernel's command line for a scenario.
    pub(crate) fn command_line(&self, scenario: &Scenario) -> String {
        let mut guest = scenario.guest.clone();
        for set in std::iter::once(&mut guest.all).chain(&mut guest.devices) {
            set.mistakes.clear();
        }
        let count = guest.devices.len().max(scenario.devices.len());
        guest.devices.resize_with(count, Default::default);
        for (set, device) in guest.devices.iter_mut().zip(&scenario.devices) {
            if let Some(model) = self.model(&device.shape) {
                let number = |entry: &Option<Entry>| entry.as_ref().and_then(|entry| entry.value);
                // Without MSISupported a device has its line.
                set.msi_supported = Some(number(&model.interrupts.msi_supported) == Some(1));
                set.message_limit =
                    number(&model.interrupts.message_limit).filter(|limit| *limit > 0);
            }
        }
        // A class driver has several requests out at a time; what a fault waits for is counted one by one.
        let is_plain = scenario.devices.iter().all(|d| d.faults.is_empty());
        if is_plain && guest.all.depth.is_none() {
            for set in &mut guest.devices {
                set.depth.get_or_insert(DEPTH);
            }
        }
        let mut line = format!("{} driver=image", guest.command_line());
        if self.crash_dump {
            line += " dump=1";
        }
        let processors = self.processors(scenario);
        if processors > 1 {
            line += &format!(" processors={processors}");
        }
        // One service has all its adapters.
        let model = scenario.devices.iter().find_map(|d| self.model(&d.shape));
        for value in model.iter().flat_map(|model| &model.parameters.values) {
            let adapter = value
                .adapter
                .map_or_else(|| "all".into(), |n| n.to_string());
            let (kind, data) = value.bytes();
            let (name, data) = (hex(value.name.as_bytes()), hex(&data));
            line += &format!(" registry={adapter}:{kind}:{name}:{data}");
        }
        let mut mistakes: Vec<&str> = mistakes(scenario).collect();
        if self.knows(LEGACY) && scenario.devices.iter().any(|d| chooses_legacy(scenario, d)) {
            mistakes.push(LEGACY);
        }
        let parameter = match (&self.parameter, mistakes.as_slice()) {
            (Some(parameter), _) => parameter.clone(),
            (None, []) => return line.trim_start().to_owned(),
            (None, mistakes) => format!("mistake={}", mistakes.join(",")),
        };
        line += &format!(" argument={parameter}");
        line.trim_start().to_owned()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a scenario is skipped that only a driver of ours can be told about.
const UNTOLD: &str =
    "it tells the driver how to reach its device, which only the reference guest's can be told";
/// What our own test drivers are told for the legacy interface where there are both.
const LEGACY: &str = "legacy-interface";

/// Whether the driver is to use the legacy interface of a device that has both.
fn chooses_legacy(scenario: &Scenario, device: &DeviceUnderTest) -> bool {
    let mut sets = std::iter::once(&scenario.guest.all).chain(&scenario.guest.devices);
    device.shape.virtio == Interface::Transitional
        && sets.any(|set| set.interface.as_deref() == Some("legacy"))
}

/// Mistakes of any device of a scenario.
fn mistakes(scenario: &Scenario) -> impl Iterator<Item = &str> {
    let sets = std::iter::once(&scenario.guest.all).chain(&scenario.guest.devices);
    sets.flat_map(|set| &set.mistakes).map(String::as_str)
}
