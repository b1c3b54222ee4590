//! The course of a preparation: stage after stage, each noted beside the image when it begins.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use super::argv::Hardware;
use super::boot::{Boot, Heard};
use super::check::GuestOnDisk;
use super::disk::{self, run};
use super::files::{Files, alone};
use super::marker::Marker;
use super::pace::Pace;
use super::record::{Record, Stage};
use super::request::{Plan, Source, WindowsRequest};
use super::{WindowsError, stick};
use crate::machine::{Accel, Ended, Qemu};

/// Looks at the screen between two reports.
const LOOKS: u32 = 6;
/// Time between two keys while the medium may ask for one, and how often one is pressed per minute of a stage.
const KEY: Duration = Duration::from_secs(1);
const KEYS: u32 = 40;

/// Prepares a Windows guest, or goes on with a preparation. `tell` hears what is being done. Returns the guest
/// file.
///
/// # Errors
/// What is in the way. What was reached is noted beside the image, and the same request goes on from there.
pub async fn windows(
    request: &WindowsRequest,
    qemu: &Qemu,
    accel: Accel,
    pace: Pace,
    tell: impl Fn(&str) + Sync,
) -> Result<PathBuf, WindowsError> {
    let plan = request.plan(qemu)?;
    let files = Files::of(&request.out);
    let alone = alone(&files.lock).await?;
    let installs = request.source != Source::Image;
    let anew = || Record::new(plan.words.clone(), Stage::Media);
    let record = match Record::of(&request.out)? {
        Some(record) if record.request != plan.words => {
            return Err(WindowsError::Other {
                out: request.out.clone(),
                before: record.request,
            });
        }
        Some(_) if installs && !request.out.exists() => {
            tell("the image that was begun is gone: it is made anew");
            anew()
        }
        Some(record) if record.stage == Stage::Done && files.guest.is_file() => {
            tell(&format!("{} is ready already", request.out.display()));
            return Ok(files.guest);
        }
        Some(mut record) => {
            record.stage = record.stage.again();
            tell(&format!("going on where {}", record.stage.doing()));
            record
        }
        None if installs && request.out.exists() => {
            return Err(WindowsError::Exists(request.out.clone()));
        }
        None => anew(),
    };
    tell(&plan.words);
    let mut course = Course {
        request,
        plan: &plan,
        files: &files,
        alone: &alone,
        qemu,
        accel,
        pace,
        tell: &tell,
        record,
    };
    course.go().await?;
    for path in [&files.stick, &files.screen] {
        // What is left over is in nobody's way.
        let _ = fs::remove_file(path);
    }
    Ok(files.guest)
}

struct Course<'a> {
    request: &'a WindowsRequest,
    plan: &'a Plan,
    files: &'a Files,
    alone: &'a File,
    qemu: &'a Qemu,
    accel: Accel,
    pace: Pace,
    tell: &'a (dyn Fn(&str) + Sync),
    record: Record,
}

impl Course<'_> {
    async fn go(&mut self) -> Result<(), WindowsError> {
        loop {
            match self.record.stage {
                Stage::Media => {
                    self.media()?;
                    let next = match self.plan.install {
                        Some(_) => Stage::Setup,
                        None => Stage::Settings,
                    };
                    self.reach(next)?;
                }
                Stage::Check => {
                    self.check().await?;
                    self.reach(Stage::Done)?;
                }
                Stage::Done => return Ok(()),
                _ => self.watch().await?,
            }
        }
    }

    fn reach(&mut self, stage: Stage) -> Result<(), WindowsError> {
        self.record.stage = stage;
        self.record.keep(&self.request.out)?;
        (self.tell)(stage.doing());
        Ok(())
    }

    /// The disk, the firmware's variables, and the medium with the answers.
    fn media(&mut self) -> Result<(), WindowsError> {
        let out = &self.request.out;
        if self.plan.install.is_some() {
            // What a Setup that did not come to its end has left.
            let _ = fs::remove_file(out);
            self.request.room()?;
            // From here on what lies there is known to be ours.
            self.record.keep(out)?;
            let mut create = Command::new(&self.plan.qemu_img);
            create.args(["create", "-q", "-f", "qcow2"]).arg(out);
            create.arg(self.request.size.to_string());
            run(create)?;
        }
        if let Some((_, variables)) = &self.plan.firmware
            && (self.plan.install.is_some() || !self.files.variables.exists())
        {
            fs::copy(variables, &self.files.variables)
                .map_err(WindowsError::os("written", &self.files.variables))?;
        }
        Ok(())
    }

    /// The medium with the answers, as this request has it: one from before may have other certificates.
    fn stick(&self) -> Result<(), WindowsError> {
        let answer = self.plan.install.as_ref().map(|it| it.answer.as_str());
        stick::make(&self.files.stick, answer, &self.request.certificates)
    }

    fn hardware(&self) -> Result<Hardware, WindowsError> {
        let mut cds = Vec::new();
        if let Source::Iso { iso, .. } = &self.request.source {
            cds.push(iso.clone());
        }
        cds.extend(self.request.virtio_win.clone());
        let format = disk::format(&self.plan.qemu_img, &self.request.out)?;
        Ok(Hardware {
            qemu: self.qemu.program.clone(),
            accel: self.accel,
            firmware: self
                .plan
                .firmware
                .as_ref()
                .map(|(code, _)| (code.clone(), Some(self.files.variables.clone()))),
            disk: self.request.out.clone(),
            format,
            writes: true,
            stick: Some(self.files.stick.clone()),
            cds,
            tpm: self.request.tpm.clone(),
            memory: self.plan.memory,
            processors: self.request.processors,
            viewer: self.request.viewer,
        })
    }

    /// Boots the machine and watches it until it shuts down in good order.
    async fn watch(&mut self) -> Result<(), WindowsError> {
        self.stick()?;
        let mut boot = Boot::start(&self.hardware()?, Some(self.alone)).await?;
        if self.request.viewer
            && let Some(place) = boot.viewer().await
        {
            (self.tell)(&format!("a VNC viewer finds the screen at {place}"));
        }
        if self.record.stage == Stage::Settings {
            // A system that was installed does it by itself, also when it was cut off.
            let when = match self.plan.install {
                None => "",
                Some(_) => "if it does not go on by itself (`--viewer`): ",
            };
            (self.tell)(&format!(
                "{when}log on in the guest and run `misfire\\apply.cmd` of the medium MISFIRE as an administrator"
            ));
        }
        let result = self.listen(&mut boot).await;
        boot.end().await;
        result
    }

    async fn listen(&mut self, boot: &mut Boot) -> Result<(), WindowsError> {
        let begin = Instant::now();
        let keys = self.pace.minute * KEYS / 60;
        let asks = self.plan.firmware.is_some();
        // The next key, and until when.
        let mut key = (self.record.stage == Stage::Setup && asks).then_some((begin, begin + keys));
        // Its settings are made, and nothing in it shuts it down a second time.
        let is_done = self.record.stage == Stage::Shutdown;
        let mut look = begin + self.pace.look;
        let mut looks = 0;
        let mut late = begin + self.limit();
        loop {
            let next_key = key.map(|(at, _)| at);
            let until = next_key.into_iter().chain([look, late]).min();
            let until = until.unwrap_or(late);
            let before = self.record.stage;
            match boot.next(until).await {
                Heard::Marker(marker) => self.hear(marker, boot).await?,
                Heard::Reset if matches!(before, Stage::Setup | Stage::Copy) => {
                    let now = Instant::now();
                    if boot.has_written().await {
                        self.pass_to(Stage::Specialize)?;
                    } else if asks {
                        // The firmware's, which has set up its TPM: the medium's turn comes once more.
                        key = Some((now, now + keys));
                    }
                }
                Heard::Reset | Heard::Agent => {}
                Heard::Debugger(Some(build)) => self.note(format!("kernel build {build}"))?,
                Heard::Debugger(None) => self.note("the kernel speaks to a debugger".into())?,
                Heard::Crash(bugcheck) => {
                    let picture = self.picture(boot).await;
                    return Err(WindowsError::Crash {
                        stage: before,
                        bugcheck,
                        picture,
                    });
                }
                Heard::Left(Ended::Exit(0)) if before == Stage::Shutdown => {
                    return self.reach(Stage::Check);
                }
                Heard::Left(ended) => {
                    return Err(WindowsError::Left {
                        stage: before,
                        ended,
                        messages: boot.messages(),
                    });
                }
                Heard::Nothing => {}
            }
            let now = Instant::now();
            if self.record.stage != before {
                late = now + self.limit();
            } else if now >= late {
                let picture = self.picture(boot).await;
                return Err(WindowsError::Late {
                    stage: before,
                    minutes: (self.limit().as_secs_f64() / 60.0).ceil() as u64,
                    picture,
                });
            }
            if let Some((at, end)) = key
                && now >= at
            {
                // "Press any key to boot from CD or DVD". One more would be for Setup.
                let asks = !self.copies() && !boot.has_written().await;
                if asks {
                    boot.press("ret").await;
                }
                key = (asks && now + KEY < end).then_some((now + KEY, end));
            }
            if now >= look {
                look = now + self.pace.look;
                if boot.is_full().await {
                    let (out, stage) = (self.request.out.clone(), self.record.stage);
                    return Err(WindowsError::Full { out, stage });
                }
                if self.record.stage == Stage::Setup && boot.has_written().await {
                    // What it says of itself does not come through, or comes late.
                    self.reach(Stage::Copy)?;
                }
                if is_done {
                    boot.press_power().await;
                }
                looks += 1;
                let shown = boot.picture(&self.files.screen).await;
                if shown && looks % LOOKS == 1 {
                    (self.tell)(&format!(
                        "{}; its screen is in {}",
                        self.record.stage.doing(),
                        self.files.screen.display()
                    ));
                }
            }
        }
    }

    /// Setup is at work, or is over.
    fn copies(&self) -> bool {
        self.record.stage >= Stage::Copy
    }

    fn limit(&self) -> Duration {
        self.pace.limit(self.record.stage)
    }

    async fn hear(&mut self, marker: Marker, boot: &mut Boot) -> Result<(), WindowsError> {
        let stage = match marker {
            Marker::Setup => Stage::Copy,
            Marker::Specialize => Stage::Logon,
            Marker::Logon => Stage::Settings,
            Marker::Done { agent } => {
                self.note(format!("agent {agent}"))?;
                Stage::Shutdown
            }
            Marker::Step { name, status } => {
                if status != 0 {
                    self.note(format!("setting {name} failed with {status}"))?;
                }
                return Ok(());
            }
            Marker::Version(version) => return self.note(version),
            Marker::Failed { what } => {
                self.note(format!("failed: {what}"))?;
                let picture = self.picture(boot).await;
                return Err(WindowsError::Guest { what, picture });
            }
        };
        self.pass_to(stage)
    }

    /// Reaches a stage, and before it each that lies between: what was to tell of them is lost, or comes later by
    /// another way.
    fn pass_to(&mut self, stage: Stage) -> Result<(), WindowsError> {
        while let Some(next) = self.record.stage.next().filter(|next| *next <= stage) {
            self.reach(next)?;
        }
        Ok(())
    }

    fn note(&mut self, line: String) -> Result<(), WindowsError> {
        if self.record.said.last() != Some(&line) {
            (self.tell)(&line);
            self.record.note(line);
        }
        self.record.keep(&self.request.out)
    }

    /// The screen, kept under the stage's name.
    async fn picture(&self, boot: &mut Boot) -> Option<PathBuf> {
        let mut name = self.request.out.as_os_str().to_owned();
        name.push(format!(".{}.png", self.record.stage.name()));
        let path = PathBuf::from(name);
        boot.picture(&path).await.then_some(path)
    }

    /// The guest file is written first: the check reads it as everybody will.
    async fn check(&mut self) -> Result<(), WindowsError> {
        let guest = GuestOnDisk::of_preparation(
            &self.request.out,
            disk::format(&self.plan.qemu_img, &self.request.out)?,
            self.plan
                .firmware
                .as_ref()
                .map(|(code, _)| (code.clone(), self.files.variables.clone())),
            self.plan.memory,
            self.request.processors,
            self.request.tpm.clone(),
        );
        let release = self.plan.install.as_ref().map(|install| {
            format!(
                "{}, {}, build {}",
                install.release, install.image.name, install.image.build
            )
        });
        let text = guest.text(release.as_deref(), &self.record.said);
        fs::write(&self.files.guest, text)
            .map_err(WindowsError::os("written", &self.files.guest))?;
        let checked = guest
            .check_alone(self.qemu, self.accel, self.pace, Some(self.alone))
            .await?;
        if let Some(build) = checked.build {
            self.note(format!("kernel build {build}"))?;
        }
        checked.result()
    }
}
