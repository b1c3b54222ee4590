//! From a scenario to what was recorded: devices served, guest booted, steps gone through.

use std::path::Path;
use std::time::Duration;

use misfire_device::port::{Attachment, Died, RunDir, ServeError, Served, serve};
use misfire_device::shape::{Attach, Kind, Shape};
use serde_json::json;

use super::patience::Patience;
use super::recorder::{MAX_EVENTS, Recorder};
use super::session::{self, Session};
use super::stop::Stop;
use super::{Options, Subject, WindowsSubject};
use crate::guest::linux::{Device, Linux, LinuxError};
use crate::guest::windows::{Setting, Windows, WindowsError};
use crate::guest::{Firmware, Guest, Reference};
use crate::machine::{Boot, MachineError, MachineSpec, Recording, argv};
use crate::rules::{FIRMWARE, GUEST, IDLE_FIRMWARE};
use crate::scenario::{Scenario, Step};

/// Everything random in the faults comes from this.
const SEED: u64 = 0x6d69_7366_6972_6521;

/// What a machine may take beside its steps.
const OVERHEAD: Duration = Duration::from_secs(20);

/// A scenario can't be run to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Linux(#[from] LinuxError),
    #[error(transparent)]
    Windows(#[from] WindowsError),
    #[error("what the machine says can't be recorded")]
    Recording(#[source] std::io::Error),
    #[error("device {dev} can't be served")]
    Serve {
        dev: usize,
        #[source]
        source: ServeError,
    },
    #[error("the disk that the firmware boots from can't be made")]
    BootDisk(#[source] std::io::Error),
    #[error("device {dev} can't be judged")]
    Died {
        dev: usize,
        #[source]
        source: Died,
    },
    #[error("no folder for sockets can be made")]
    RunDir(#[source] std::io::Error),
    #[error("the guest can't do what it is told: {0}")]
    Guest(String),
    #[error("more than {MAX_EVENTS} events came: the trace ends there")]
    Full,
}

impl Trouble {
    /// With every cause, in one line.
    pub(super) fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        text
    }
}

/// Serves the devices, boots the guest, goes through the steps, ends everything.
pub(super) async fn drive(
    scenario: &Scenario,
    options: &Options,
    recorder: &Recorder,
    folder: Option<&Path>,
    stop: &Stop,
) -> Result<(), Trouble> {
    let dir = RunDir::new().map_err(Trouble::RunDir)?;
    let boots = matches!(&options.subject, Subject::Firmware(image) if !image.is_uefi());
    let served = serve_all(scenario, boots, dir.path(), recorder)?;
    let attachments = served.iter().map(|s| s.qemu().clone()).collect();
    let each = scenario.steps.iter();
    let pace = options.subject.pace();
    let gives_up = options.subject.gives_up(scenario);
    let most = |step: &Step| Patience::most(step.timeout * pace + gives_up);
    let steps: Duration = each.map(most).sum();
    let stays = if options.keeping.machine {
        session::STAY
    } else {
        Duration::ZERO
    };
    let limit = steps + OVERHEAD * pace + stays;
    let spec = spec(scenario, options, attachments);
    let (guest, firmware) = match &options.subject {
        Subject::Reference | Subject::Nt(_) => {
            let guest = Reference::boot_spec(&spec, recorder.journal(), limit)?;
            let firmware = match spec.boot {
                Boot::Direct => IDLE_FIRMWARE,
                Boot::SeaBios | Boot::Agent | Boot::Loader | Boot::Firmware(_) | Boot::Disk => {
                    "SeaBIOS"
                }
            };
            (Guest::Reference(guest), firmware)
        }
        Subject::Windows(subject) => {
            let devices = scenario.devices.iter();
            let queues: Vec<u16> = devices.map(|device| device.shape.queues).collect();
            recorder.mark(None, GUEST, options.subject.kind());
            let mut setting = windows_setting(scenario, options, subject);
            setting.evidence = folder.map(Path::to_owned);
            if let Some(to) = &options.keeping.recording {
                let to = to.join(&scenario.name);
                let recording = Recording::open(&to).and_then(|recording| {
                    options
                        .qemu
                        .tell(&to.join(Recording::MACHINE), &argv(&spec))?;
                    Ok(recording)
                });
                setting.recording = Some(recording.map_err(Trouble::Recording)?);
            }
            let journal = recorder.journal();
            let (qemu, image) = (&options.qemu, subject.image_for(scenario));
            let booted = Windows::boot(qemu, &image, &setting, &spec, &queues, journal, limit);
            let guest = Guest::Windows(Box::new(booted.await?));
            (guest, IDLE_FIRMWARE)
        }
        Subject::Linux(image) => {
            let devices = linux_devices(scenario);
            let journal = recorder.journal();
            // A guest that hangs in its driver never says what it is.
            recorder.mark(None, GUEST, options.subject.kind());
            let guest = Linux::boot(&options.qemu, image, &spec, devices, journal, limit).await?;
            // Its devices come when the firmware has long gone.
            (Guest::Linux(guest), IDLE_FIRMWARE)
        }
        Subject::Firmware(image) => {
            let sectors = scenario.devices.first().map_or(0, |d| d.shape.capacity);
            recorder.mark(None, GUEST, options.subject.kind());
            let guest = Firmware::boot(image, &spec, sectors, recorder.journal(), limit).await?;
            // No other firmware drives the device than the one under test.
            (Guest::Firmware(guest), IDLE_FIRMWARE)
        }
    };
    recorder.mark(None, FIRMWARE, firmware);
    let mut session = Session::new(scenario, spec, guest, &served, recorder)
        .paced(pace, gives_up)
        .watched(matches!(options.subject, Subject::Nt(_)))
        .dumping(matches!(&options.subject, Subject::Nt(driver) if driver.crash_dump))
        .keeping(options.keeping.machine.then(|| stop.clone()));
    let gone_through = session.go().await;
    let ended = session.end().await;
    let mut died = Ok(());
    for (dev, device) in served.into_iter().enumerate() {
        let ended = device.shutdown();
        died = died.and(ended.map_err(|source| Trouble::Died { dev, source }));
    }
    let full = if recorder.is_full() {
        Err(Trouble::Full)
    } else {
        Ok(())
    };
    // What else went wrong may have gone wrong because of it.
    died.and(full).and(gone_through).and(ended)
}

/// What QEMU is to be told.
fn spec(scenario: &Scenario, options: &Options, devices: Vec<Attachment>) -> MachineSpec {
    match &options.subject {
        Subject::Reference | Subject::Nt(_) => {
            let parameters = parameters(scenario, &options.subject);
            let mut spec = Reference::spec(&options.qemu, options.accel, devices, &parameters);
            spec.slots = scenario.slots();
            spec.image = options.subject.image();
            if let Subject::Nt(driver) = &options.subject {
                spec.processors = driver.processors(scenario);
            }
            spec
        }
        Subject::Linux(image) => MachineSpec {
            processors: processors(scenario),
            ..Linux::spec(&options.qemu, options.accel, image, devices)
        },
        Subject::Firmware(image) => Firmware::spec(&options.qemu, options.accel, image, devices),
        Subject::Windows(subject) => {
            let setting = windows_setting(scenario, options, subject);
            let (qemu, accel) = (&options.qemu, options.accel);
            Windows::spec(qemu, accel, &subject.image, &setting, devices)
        }
    }
}

/// How a Windows is to be run for a scenario.
fn windows_setting(scenario: &Scenario, options: &Options, subject: &WindowsSubject) -> Setting {
    Setting {
        states: subject.states.clone(),
        viewer: options.keeping.machine,
        nodes: (0..scenario.devices.len())
            .map(|dev| subject.node_settings(scenario, dev))
            .collect(),
        ..Setting::default()
    }
}

/// The most processors of a guest whose drivers have a queue for each.
const MOST_PROCESSORS: u16 = 4;

/// What a Linux has to know of its devices.
fn linux_devices(scenario: &Scenario) -> Vec<Device> {
    let parameters = &scenario.guest;
    let each = scenario.devices.iter().enumerate().map(|(dev, device)| {
        let own = parameters.devices.get(dev).and_then(|own| own.depth);
        Device {
            queues: device.shape.queues,
            depth: own.or(parameters.all.depth).unwrap_or(1),
        }
    });
    each.collect()
}

/// What the scenario says, else as many processors as a device has queues to choose from.
fn processors(scenario: &Scenario) -> u16 {
    let queues = scenario.devices.iter().map(|device| {
        let shape = &device.shape;
        match shape.kind {
            Kind::Block => shape.queues,
            Kind::Scsi => shape.queues.saturating_sub(2),
            Kind::Net => shape.pairs(),
            _ => 1,
        }
    });
    let by_queues = queues.max().unwrap_or(1).clamp(1, MOST_PROCESSORS);
    scenario.guest.all.processors.unwrap_or(by_queues)
}

/// The guest's command line.
pub(crate) fn parameters(scenario: &Scenario, subject: &Subject) -> String {
    let mut line = subject.command_line(scenario);
    for dev in scenario.slots() {
        if scenario.keeps(u8::try_from(dev).unwrap_or(u8::MAX)) {
            line += &format!(" dev{dev}.eject=lit");
        }
    }
    line
}

/// `boots`: the guest boots from its disk.
fn serve_all(
    scenario: &Scenario,
    boots: bool,
    dir: &Path,
    recorder: &Recorder,
) -> Result<Vec<Served>, Trouble> {
    let one = |(dev, device): (usize, &crate::scenario::DeviceUnderTest)| {
        let number = u8::try_from(dev).unwrap_or(u8::MAX);
        let mut shape = device.shape.clone();
        if boots {
            let path = dir.join(format!("disk{dev}"));
            Firmware::disk(&path, shape.capacity).map_err(Trouble::BootDisk)?;
            shape.file = Some(path);
        }
        serve(
            number,
            &shape,
            device.faults.clone(),
            SEED,
            dir,
            recorder.journal(),
        )
        .map_err(|source| Trouble::Serve { dev, source })
    };
    scenario.devices.iter().enumerate().map(one).collect()
}

/// QEMU's arguments for a scenario, with stand-ins for the sockets. Nothing is started.
pub fn dry_run(scenario: &Scenario, options: &Options) -> Vec<std::ffi::OsString> {
    let options = &options.of(scenario);
    let attachments: Vec<Attachment> = scenario
        .devices
        .iter()
        .enumerate()
        .map(|(n, device)| stand_in(n, &device.shape))
        .collect();
    argv(&spec(scenario, options, attachments))
}

/// What QEMU would be told of a device that is not served.
fn stand_in(n: usize, shape: &Shape) -> Attachment {
    let path = format!("RUN/dev{n}");
    match shape.attach {
        Attach::VfioUser => Attachment {
            chardevs: Vec::new(),
            device: json!({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": path}}),
            siblings: Attachment::siblings_of(shape),
        },
        Attach::VhostUser => Attachment {
            chardevs: vec![format!("socket,id=vhost{n},path={path}")],
            device: json!({
                "driver": "vhost-user-blk-pci",
                "chardev": format!("vhost{n}"),
                "vectors": shape.table_size(),
                "num-queues": shape.queues,
            }),
            siblings: Attachment::siblings_of(shape),
        },
    }
}
