//! From the start of the machine to where its devices are in.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use misfire_device::port::{Attachment, Journal};
use tokio::sync::mpsc;

use super::course::{Course, Do, Place, Stage, StageError};
use super::evidence::Signs;
use super::hearing::{Came, DEAF};
use super::orders::serve;
use super::{Image, Windows, WindowsError, warm};
use crate::guest::agent::Agent;
use crate::guest::warm::disk;
use crate::machine::{
    Accel, Boot, Listening, Machine, MachineError, MachineSpec, Plugged, Qemu, Recording, hyper_v,
    until_tpm,
};

/// With it a Windows tells the host of its crash without a driver for that.
const HV_CRASH: &str = "hv-crash";
/// What restoring a state may take.
const RESTORE_LIMIT: Duration = Duration::from_secs(120);

/// How a guest gets to where it can be used, and what is kept of it.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// The folder of the states that it is restored from; none: it is booted each time.
    pub states: Option<PathBuf>,
    /// Where pictures and memory are put when something is wrong.
    pub evidence: Option<PathBuf>,
    /// What goes over its lines is kept there.
    pub recording: Option<Recording>,
    /// Whether a viewer can look at its screen.
    pub viewer: bool,
    /// Of each device what is set at its node before it is used.
    pub nodes: Vec<Option<String>>,
}

impl Windows {
    /// What QEMU is to be told for a guest with `devices`.
    pub fn spec(
        qemu: &Qemu,
        accel: Accel,
        image: &Image,
        setting: &Setting,
        devices: Vec<Attachment>,
    ) -> MachineSpec {
        let mut installed = image.installed.clone();
        installed.viewer = setting.viewer;
        let knows_crash = |flag: &String| flag.starts_with(HV_CRASH);
        if accel == Accel::Kvm && hyper_v() && !installed.cpu_flags.iter().any(knows_crash) {
            installed.cpu_flags.push(HV_CRASH.to_owned());
        }
        MachineSpec {
            qemu: qemu.program.clone(),
            accel,
            boot: Boot::Disk,
            memory_mib: image.memory_mib,
            processors: image.processors.into(),
            append: String::new(),
            slots: (0..devices.len()).collect(),
            devices,
            image: None,
            plugged: match setting.states {
                None => Plugged::Later,
                Some(_) => Plugged::Restored,
            },
            installed: Some(installed),
        }
    }

    /// How long the way to where the guest can be used may take at most.
    pub fn longest(image: &Image) -> Duration {
        let limits = image.limits;
        let programs = u32::try_from(image.jobs.len()).unwrap_or(u32::MAX);
        limits.boot
            + 2 * limits.ready
            + limits.restart
            + limits.install.saturating_mul(programs)
            + RESTORE_LIMIT
    }

    /// Starts a machine and gets the guest to where its devices are in. It is killed `limit` after
    /// [`Windows::longest`]. `queues` are those of each device.
    ///
    /// # Errors
    /// When the machine fails, or a stage is not got through.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub async fn boot(
        qemu: &Qemu,
        image: &Image,
        setting: &Setting,
        spec: &MachineSpec,
        queues: &[u16],
        journal: Arc<Journal>,
        limit: Duration,
    ) -> Result<Self, WindowsError> {
        let limit = limit + Self::longest(image);
        let mut windows = match &setting.states {
            None => {
                let course = Course::cold(image.limits, image.jobs.clone(), image.workload.clone());
                Self::launch(image, setting, spec, course, journal, limit).await?
            }
            Some(folder) => {
                let state = warm::state(qemu, image, setting, spec, folder).await?;
                let mut spec = spec.clone();
                if let Some(installed) = &mut spec.installed {
                    *installed = disk::laid_over(installed, &state.beside);
                }
                let course = Course::warm(image.limits, image.workload.clone());
                let mut windows =
                    Self::launch(image, setting, &spec, course, journal, limit).await?;
                let machine = &mut windows.machine;
                machine.restore(&state.memory, RESTORE_LIMIT).await?;
                machine.qmp().go_on().await.map_err(MachineError::from)?;
                windows._state = Some(state);
                windows
            }
        };
        windows.to(Stage::Plug).await?;
        windows.plug(spec, queues).await?;
        Ok(windows)
    }

    pub(super) async fn launch(
        image: &Image,
        setting: &Setting,
        spec: &MachineSpec,
        course: Course,
        journal: Arc<Journal>,
        limit: Duration,
    ) -> Result<Self, WindowsError> {
        if let Some(tpm) = &image.installed.tpm {
            until_tpm(tpm).await?;
        }
        let recording = setting.recording.clone();
        let listening = Listening {
            recording: recording.clone(),
            patterns: Arc::clone(&image.patterns),
        };
        let to = Arc::clone(&journal);
        let mut machine = Machine::launch_heard(spec, Vec::new(), to, limit, &listening)?;
        let agent = machine
            .take_agent()
            .ok_or(std::io::ErrorKind::NotConnected.into())
            .and_then(|stream| Agent::open(stream, recording))
            .map(Agent::or_powershell)
            .map_err(MachineError::os("using the agent's socket"))?;
        let (orders, to_do) = mpsc::unbounded_channel();
        let (tell, answers) = mpsc::unbounded_channel();
        tokio::spawn(serve(agent, to_do, tell));
        Ok(Self {
            machine,
            journal,
            course,
            begin: Instant::now(),
            orders,
            answers,
            lines: VecDeque::new(),
            evidence: setting.evidence.clone(),
            dump: image.dump,
            patterns: listening.patterns,
            nodes: setting.nodes.clone(),
            crashed: false,
            panicked: None,
            signs: Signs::default(),
            restarts: false,
            pace: image.pace.max(1),
            deaf: false,
            left: None,
            _state: None,
        })
    }

    /// Gets the guest to a stage.
    pub(super) async fn to(&mut self, stage: Stage) -> Result<(), WindowsError> {
        loop {
            while let Some(what) = self.course.to_do() {
                match what {
                    Do::Plug => return Ok(()),
                    Do::Fail(error) => return Err(self.failed(error).await),
                    what => self.act(what),
                }
            }
            if self.course.stage() == stage {
                return Ok(());
            }
            let far = Instant::now() + Duration::from_secs(3600);
            let error = |stage, why: &str| StageError {
                stage,
                why: why.to_owned(),
            };
            let came = self.come(far).await;
            let stage = self.course.stage();
            match came {
                Came::Something | Came::Silence => {}
                Came::Deaf => return Err(self.failed(error(stage, DEAF)).await),
                // A QEMU that was killed, or refused what it was told, says more.
                Came::Gone => {
                    return Err(match self.machine.left(stage.name()).await {
                        Err(error) => error.into(),
                        Ok(_) => self.failed(error(stage, "the machine ended")).await,
                    });
                }
            }
        }
    }

    async fn failed(&mut self, error: StageError) -> WindowsError {
        let evidence = self.examine().await.found;
        let last = self.machine.last_lines();
        WindowsError::Stage {
            error,
            last,
            evidence,
        }
    }

    /// Puts the devices in.
    async fn plug(&mut self, spec: &MachineSpec, queues: &[u16]) -> Result<(), WindowsError> {
        if let Err(error) = self.machine.plug(spec).await {
            let (stage, why) = (Stage::Plug, error.to_string());
            return Err(self.failed(StageError { stage, why }).await);
        }
        let mut places = Vec::new();
        for dev in 0..spec.devices.len() {
            let bus = self.machine.qmp().bus_of(dev).await;
            places.push(Place {
                bus: bus.map_err(MachineError::from)?.unwrap_or_default(),
                queues: queues.get(dev).copied().unwrap_or(1),
                settings: self.nodes.get(dev).cloned().flatten(),
            });
        }
        self.line("MISFIRE: guest windows 1".to_owned());
        self.course.plugged(self.now(), places);
        Ok(())
    }
}
