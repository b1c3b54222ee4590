//! Whether a Windows image does what the tests need: its kernel speaks to a debugger on COM1, its agent answers
//! on COM2. It is booted for that, and nothing is written to it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::argv::{ENLIGHTENED, Hardware};
use super::boot::{Boot, Heard};
use super::pace::Pace;
use super::record::Stage;
use super::{WindowsError, disk};
use crate::machine::{Accel, Qemu};

/// Time between two questions to the agent.
const PING: Duration = Duration::from_secs(2);

/// A Windows image, as its guest file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestOnDisk {
    image: PathBuf,
    format: Option<String>,
    firmware: Option<(PathBuf, Option<PathBuf>)>,
    memory: u32,
    processors: u8,
    tpm: Option<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The kernel spoke to a debugger.
    pub debugger: bool,
    /// The agent answered.
    pub agent: bool,
    /// The kernel's build, if it said so.
    pub build: Option<u16>,
    picture: Option<PathBuf>,
}

impl Checked {
    /// Nothing, or what is wrong.
    ///
    /// # Errors
    /// When something is.
    pub fn result(&self) -> Result<(), WindowsError> {
        let mut wrong = Vec::new();
        if !self.debugger {
            wrong.push("its kernel does not speak to a debugger on COM1");
        }
        if !self.agent {
            wrong.push("no agent answers on COM2");
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(WindowsError::Unfit {
            wrong,
            picture: self.picture.clone(),
        })
    }
}

impl GuestOnDisk {
    pub(super) fn of_preparation(
        image: &Path,
        format: String,
        firmware: Option<(PathBuf, PathBuf)>,
        memory: u32,
        processors: u8,
        tpm: Option<PathBuf>,
    ) -> Self {
        Self {
            image: image.to_owned(),
            format: Some(format),
            firmware: firmware.map(|(code, variables)| (code, Some(variables))),
            memory,
            processors,
            tpm,
        }
    }

    /// The image of a guest that can be run.
    pub fn of_image(image: &crate::guest::windows::Image) -> Self {
        let installed = &image.installed;
        let firmware = installed.firmware.as_ref();
        Self {
            image: installed.disk.clone(),
            format: Some(installed.format.clone()),
            firmware: firmware.map(|it| (it.code.clone(), it.variables.clone())),
            memory: image.memory_mib,
            processors: image.processors,
            tpm: installed.tpm.clone(),
        }
    }

    /// The image.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// The guest file, which lies beside the image.
    pub(super) fn text(&self, release: Option<&str>, said: &[String]) -> String {
        let name = self.image.file_stem().unwrap_or_default().to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
        let name: String = name
            .chars()
            .map(|c| if plain(c) { c } else { '-' })
            .collect();
        let name = match name.as_str() {
            "" | "windows" => "my-windows",
            name => name,
        };
        let quoted = |path: &Path| {
            let beside = self.image.parent().unwrap_or(Path::new(""));
            let path = path.strip_prefix(beside).unwrap_or(path);
            toml::Value::String(path.display().to_string()).to_string()
        };
        let mut text = String::from("# Made by `misfire prepare windows`.\n");
        for line in release.into_iter().chain(said.iter().map(String::as_str)) {
            text += &format!("# {}\n", line.replace(['\n', '\r'], " "));
        }
        text += &format!("name = \"{name}\"\nkind = \"windows\"\n\n[windows]\n");
        text += &format!("image      = {}\n", quoted(&self.image));
        if let Some(format) = &self.format {
            text += &format!("format     = \"{format}\"\n");
        }
        if let Some((code, variables)) = &self.firmware {
            let variables = variables
                .iter()
                .map(|path| format!(", variables = {}", quoted(path)));
            let variables: String = variables.collect();
            text += &format!("firmware   = {{ code = {}{variables} }}\n", quoted(code));
        }
        if let Some(tpm) = &self.tpm {
            text += &format!("tpm        = {}\n", quoted(tpm));
        }
        text += &format!(
            "memory     = {}\nprocessors = {}\n",
            self.memory, self.processors
        );
        let flags: Vec<String> = ENLIGHTENED
            .iter()
            .map(|flag| format!("\"{flag}\""))
            .collect();
        text += &format!("cpu        = [{}]\n", flags.join(", "));
        text
    }

    /// Boots it and listens, for as long as the stage may take.
    ///
    /// # Errors
    /// When the machine can't be started. What the image lacks is in the answer.
    pub async fn check(
        &self,
        qemu: &Qemu,
        accel: Accel,
        pace: Pace,
    ) -> Result<Checked, WindowsError> {
        self.check_alone(qemu, accel, pace, None).await
    }

    /// The same, while `lock` is held.
    pub(super) async fn check_alone(
        &self,
        qemu: &Qemu,
        accel: Accel,
        pace: Pace,
        lock: Option<&File>,
    ) -> Result<Checked, WindowsError> {
        let qemu_img = disk::qemu_img(&qemu.program)?;
        let format = match &self.format {
            Some(format) => format.clone(),
            None => disk::format(&qemu_img, &self.image)?,
        };
        let hardware = Hardware {
            qemu: qemu.program.clone(),
            accel,
            firmware: self.firmware.clone(),
            disk: self.image.clone(),
            format,
            writes: false,
            stick: None,
            cds: Vec::new(),
            tpm: self.tpm.clone(),
            memory: self.memory,
            processors: self.processors,
            viewer: false,
        };
        let mut boot = Boot::start(&hardware, lock).await?;
        let limit = pace.limit(Stage::Check);
        let late = Instant::now() + limit;
        // A boot manager would take what is typed before for itself; a kernel without a debugger is given some time.
        let mut ping = Instant::now() + limit / 3;
        let mut found = Checked::default();
        while !(found.debugger && found.agent) {
            match boot.next(ping.min(late)).await {
                Heard::Debugger(build) => {
                    found.debugger = true;
                    ping = ping.min(Instant::now() + PING.min(pace.look));
                    found.build = build.or(found.build);
                }
                Heard::Agent => found.agent = true,
                Heard::Crash(bugcheck) => {
                    boot.end().await;
                    return Err(WindowsError::Crash {
                        stage: Stage::Check,
                        bugcheck,
                        picture: None,
                    });
                }
                Heard::Left(ended) => {
                    return Err(WindowsError::Left {
                        stage: Stage::Check,
                        ended,
                        messages: boot.messages(),
                    });
                }
                Heard::Marker(_) | Heard::Reset | Heard::Nothing => {}
            }
            let now = Instant::now();
            if now >= late {
                let mut name = self.image.as_os_str().to_owned();
                name.push(".check.png");
                let path = PathBuf::from(name);
                found.picture = boot.picture(&path).await.then_some(path);
                break;
            }
            if now >= ping {
                boot.ping();
                ping = now + PING.min(pace.look);
            }
        }
        boot.end().await;
        Ok(found)
    }
}
