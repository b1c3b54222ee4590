//! What is found out about a guest when something is wrong with it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use misfire_device::trace::What;

use super::Windows;
use crate::log::kd::Event;
use crate::machine::Happening;
use crate::verdict::phase;

/// How long the kernel may take to answer its debugger, under KVM.
const PROBE: Duration = Duration::from_secs(3);
/// How long it may take to crash because of an interrupt that can't be masked, under KVM.
const NMI: Duration = Duration::from_secs(5);
/// How long a kernel that crashed may take to tell the host by other ways, and to be reset.
const AFTER: Duration = Duration::from_secs(20);
/// The same when a dump is not asked for: most of what comes comes at once.
const AFTER_SHORT: Duration = Duration::from_secs(3);

/// Names of the files in the folder of a run.
#[derive(Clone, Copy, Debug)]
pub struct Evidence;

impl Evidence {
    /// The screen when it was found out that something is wrong.
    pub const SCREEN: &str = "screen.png";
    /// The screen after the crash was let go on: the blue screen.
    pub const STOP_SCREEN: &str = "screen-stop.png";
    /// The guest's memory.
    pub const MEMORY: &str = "memory.dmp";
}

/// How a guest has told the host of its crash, its debugger aside.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signs {
    panicked: bool,
    loaded: bool,
    /// It was reset after that.
    reset: bool,
}

impl Signs {
    /// Something happened; what it says of a crash that was not known, as a sentence.
    pub(super) fn see(&mut self, happening: &Happening) -> Option<&'static str> {
        let (sign, sentence) = match happening {
            Happening::Panicked(_) => (&mut self.panicked, PANICKED),
            Happening::CrashLoaded => (&mut self.loaded, CRASH_LOADED),
            Happening::Reset | Happening::Shutdown => {
                self.reset |= self.panicked || self.loaded;
                return None;
            }
            Happening::Asleep => return None,
        };
        (!std::mem::replace(sign, true)).then_some(sentence)
    }

    /// What it has told, in sentences.
    fn told(self) -> impl Iterator<Item = &'static str> {
        let each = [(self.panicked, PANICKED), (self.loaded, CRASH_LOADED)];
        let told = each.into_iter().filter(|(told, _)| *told);
        told.map(|(_, sentence)| sentence)
    }
}

const RESET: &str = "the guest reset itself after the crash";
const PANICKED: &str = "the guest told the host of its crash (GUEST_PANICKED)";
const CRASH_LOADED: &str =
    "the guest told the host of its crash, and that it writes its memory down (GUEST_CRASHLOADED)";

/// What was found out about a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Whether its kernel lives, so that it can be told more.
    pub lives: bool,
    /// Sentences.
    pub found: Vec<String>,
}

impl Windows {
    /// Finds out what is wrong: a picture of the screen; of a crash also what the kernel does when it is let
    /// go on, and its memory; else whether the kernel answers its debugger, and if it does not, what
    /// becomes of it after an interrupt that can't be masked. Each finding is a sentence, and a mark in
    /// the journal.
    pub async fn examine(&mut self) -> Examined {
        let mut found = Vec::new();
        self.picture(Evidence::SCREEN, &mut found).await;
        self.no_code_comes();
        let lives = if self.crashed {
            self.after_crash(&mut found).await;
            false
        } else {
            self.after_hang(&mut found).await
        };
        for text in &found {
            self.journal.record(What::Mark {
                step: None,
                phase: phase::EVIDENCE.into(),
                text: text.clone(),
            });
        }
        Examined { lives, found }
    }

    /// From here on the guest does what it does because of us: nothing of it is the driver's doing.
    fn interfere(&self) {
        self.journal.record(What::Mark {
            step: None,
            phase: phase::EXAMINED.into(),
            text: "the guest is examined".into(),
        });
    }

    async fn after_crash(&mut self, found: &mut Vec<String>) {
        self.memory(found).await;
        self.interfere();
        if let Some(debugger) = self.machine.debugger() {
            debugger.go_on();
        }
        let limit = if self.dump { AFTER } else { AFTER_SHORT };
        let end = Instant::now() + limit;
        found.extend(self.signs.told().map(str::to_owned));
        if self.signs.reset {
            return found.push(RESET.to_owned());
        }
        if self.signs.panicked {
            // It stands still since then.
            let _ = self.machine.qmp().go_on().await;
        }
        while let Some(came) = self.one(end).await {
            match came {
                One::Happened(happening @ (Happening::Panicked(_) | Happening::CrashLoaded)) => {
                    if let Some(sentence) = self.signs.see(&happening) {
                        found.push(sentence.to_owned());
                        self.picture(Evidence::STOP_SCREEN, found).await;
                    }
                    if matches!(happening, Happening::Panicked(_)) {
                        let _ = self.machine.qmp().go_on().await;
                    }
                }
                One::Happened(Happening::Reset | Happening::Shutdown) => {
                    found.push(RESET.to_owned());
                    break;
                }
                One::Kernel(Event::Booted) => break,
                One::Kernel(_) | One::Happened(Happening::Asleep) => {}
            }
        }
        if self.signs.told().next().is_none() {
            found.push("the guest did not tell the host of its crash by other ways".into());
        }
    }

    /// Whether the kernel lives.
    async fn after_hang(&mut self, found: &mut Vec<String>) -> bool {
        if let Some(debugger) = self.machine.debugger() {
            debugger.probe();
        }
        let limit = PROBE * self.pace;
        let end = Instant::now() + limit;
        while let Some(came) = self.one(end).await {
            match came {
                One::Kernel(Event::Alive) => {
                    found.push(
                        "the kernel answers its debugger: what hangs is the driver, or who waits for \
                         it"
                            .into(),
                    );
                    return true;
                }
                One::Kernel(Event::Bugcheck(bugcheck)) => {
                    found.push(format!("meanwhile the kernel crashed: {bugcheck}"));
                    return false;
                }
                One::Happened(happening) => {
                    if let Some(sentence) = self.signs.see(&happening) {
                        found.push(format!("meanwhile {sentence}"));
                        return false;
                    }
                }
                One::Kernel(_) => {}
            }
        }
        found.push(format!(
            "the kernel did not answer its debugger within {} s",
            limit.as_secs()
        ));
        if let Ok(status) = self.machine.qmp().status().await {
            found.push(format!("QEMU says that the guest is `{status}`"));
        }
        self.interfere();
        if let Err(error) = self.machine.qmp().inject_nmi().await {
            found.push(format!(
                "an interrupt that can't be masked can't be made: {error}"
            ));
            return false;
        }
        let end = Instant::now() + NMI * self.pace;
        while let Some(came) = self.one(end).await {
            let stopped = match came {
                One::Kernel(Event::Bugcheck(bugcheck)) => bugcheck.to_string(),
                One::Kernel(_) => continue,
                One::Happened(happening) => match self.signs.see(&happening) {
                    Some(sentence) => sentence.to_owned(),
                    None => continue,
                },
            };
            found.push(format!(
                "an interrupt that can't be masked made it stop: {stopped}"
            ));
            self.memory(found).await;
            return false;
        }
        found.push("an interrupt that can't be masked changed nothing".into());
        false
    }

    /// What comes next, until `end`.
    async fn one(&mut self, end: Instant) -> Option<One> {
        let (debugger, qmp) = self.machine.ends();
        let debugger = debugger?;
        let came = async {
            tokio::select! {
                biased;
                event = debugger.next() => event.map(One::Kernel),
                happening = qmp.happening() => happening.map(One::Happened),
            }
        };
        tokio::time::timeout_at(end.into(), came).await.ok()?
    }

    /// How a person can look at it. The debugger's line is given to whoever connects, so that from here on
    /// nobody answers the kernel but them.
    pub async fn show(&mut self) -> String {
        let qmp = self.machine.qmp();
        let line = qmp.open_line("console").await;
        let debugger = match line {
            Ok(port) => format!(
                "  WinDbg:  windbg -k com:ipport={port},port=127.0.0.1\n  or:      misfire kd --late \
                 127.0.0.1:{port}"
            ),
            Err(error) => format!("  its debugger's line can't be given away: {error}"),
        };
        let viewer = match qmp.monitor("info vnc".to_owned()).await {
            Ok(text) => match text
                .lines()
                .find_map(|line| line.trim().strip_prefix("Server: "))
            {
                Some(place) => {
                    let place = place.split(' ').next().unwrap_or(place);
                    format!("  screen:  a VNC viewer at {place}")
                }
                None => format!("  screen:  {}", text.trim()),
            },
            Err(error) => format!("  its screen can't be looked at: {error}"),
        };
        format!("{debugger}\n{viewer}")
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        self.evidence.as_ref().map(|folder| folder.join(name))
    }

    async fn picture(&mut self, name: &str, found: &mut Vec<String>) {
        let Some(path) = self.file(name).and_then(|path| absolute(&path)) else {
            return;
        };
        match self.machine.qmp().picture(&path).await {
            Ok(()) => found.push(format!("its screen: {}", path.display())),
            Err(error) => found.push(format!("its screen can't be kept: {error}")),
        }
    }

    async fn memory(&mut self, found: &mut Vec<String>) {
        let Some(path) = self.file(Evidence::MEMORY).and_then(|path| absolute(&path)) else {
            return;
        };
        let qmp = self.machine.qmp();
        let dumped = match qmp.dump(&path, "win-dmp").await {
            Err(_) if self.dump => qmp.dump(&path, "elf").await.map(|()| "ELF"),
            dumped => dumped.map(|()| "a Windows dump"),
        };
        match dumped {
            Ok(form) => found.push(format!("its memory, as {form}: {}", path.display())),
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                found.push(format!("its memory was not kept: {error}"));
            }
        }
    }
}

/// QEMU opens files by itself, wherever it is.
fn absolute(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()
}

/// What comes from a guest that is examined.
enum One {
    Kernel(Event),
    Happened(Happening),
}
