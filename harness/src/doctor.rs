//! What this machine can and can't do.

mod windows;

use std::time::Duration;

use misfire_device::port::RunDir;
use serde::Serialize;

use crate::machine::{Accel, Boot, Cache, MachineError, Qemu, hyper_v, kvm, trial};
use crate::run::{KeptAside, Options, Snapshots, Subject, run_scenario};
use crate::scenario::{Outcome, Vocabulary};
use crate::verdict::Verdict;

/// What was found out about this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doctor {
    /// One finding for each thing that was looked at.
    pub findings: Vec<Finding>,
}

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub about: &'static str,
    /// How it is.
    pub state: State,
    /// What was found, in words.
    pub found: String,
    /// What to do about it, if something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Good,
    /// Not needed, but something is slower or missing without it.
    Slower,
    /// No scenario can run.
    Bad,
}

impl Doctor {
    /// Looks at this machine. Takes at most a few seconds; nothing that was found earlier is believed.
    pub async fn examine() -> Self {
        Self::examine_with(Cache::of_user().forgetful()).await
    }

    /// Also looks at a guest: what it is made of, and whether its driver reads from a disk that works.
    pub async fn examine_guest(&mut self, subject: Subject) {
        if !self.can_run() {
            return;
        }
        self.findings.extend(about_guest(&subject));
        match &subject {
            Subject::Windows(windows) => self.examine_windows(windows).await,
            _ => self.findings.push(about_disk(subject, Accel::Tcg).await),
        }
    }

    /// Whether scenarios can run.
    pub fn can_run(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.state != State::Bad)
    }

    async fn examine_with(cache: Cache) -> Self {
        let mut findings = Vec::new();
        match Qemu::find(&cache).await {
            Ok(qemu) => {
                findings.push(about_qemu(&qemu));
                findings.push(about_start(&qemu));
                findings.push(about_boot(trial(&qemu, Accel::Tcg).await));
                let kvm = kvm(&qemu, &cache).await;
                if kvm.is_ok() {
                    findings.push(about_hyper_v(hyper_v()));
                }
                findings.push(about_kvm(kvm));
            }
            Err(error) => findings.push(missing_qemu(&error)),
        }
        findings.push(about_memfd(rustix::fs::memfd_create(
            "misfire-doctor",
            rustix::fs::MemfdFlags::CLOEXEC,
        )));
        findings.push(about_run_dir(RunDir::new()));
        Self { findings }
    }
}

fn good(about: &'static str, found: String) -> Finding {
    Finding {
        about,
        state: State::Good,
        found,
        help: None,
    }
}

fn not(about: &'static str, state: State, found: String, help: &str) -> Finding {
    Finding {
        about,
        state,
        found,
        help: Some(help.to_owned()),
    }
}

/// A disk that works, and the first of its blocks.
const WORKING_DISK: &str = "title = \"A disk that works\"\n[device]\nkind = \"block\"\n\
    [[step]]\nwait = \"ready\"\n[[step]]\nload = \"read\"\nblocks = 1\n\
    [expect]\nio = \"complete\"\n";

fn about_guest(subject: &Subject) -> Vec<Finding> {
    let (made_of, doubts) = subject.made_of();
    let name = format!("{} ({})", subject.name(), subject.kind());
    let mut findings = vec![good("guest", [&[name], made_of].concat().join(", "))];
    findings.extend(doubts.iter().map(|doubt| {
        let help = "The kernel decides whether it loads it. Build the module for this kernel if it does not.";
        not("guest", State::Slower, doubt.clone(), help)
    }));
    findings
}

/// Runs a guest with a disk that works.
async fn about_disk(subject: Subject, accel: Accel) -> Finding {
    const ABOUT: &str = "guest's driver";
    let bad = |why: String| {
        not(
            ABOUT,
            State::Bad,
            why,
            "docs/guests.md says what a guest has to bring along; the lines above are its last ones.",
        )
    };
    let read = crate::scenario::read(
        "disk.toml".as_ref(),
        "doctor/disk",
        WORKING_DISK,
        &Vocabulary::default(),
    );
    let out = match RunDir::new() {
        Ok(out) => out,
        Err(error) => return bad(format!("no folder can be made for the run: {error}")),
    };
    let (Ok(scenarios), Ok(qemu)) = (read, Qemu::find(&Cache::of_user()).await) else {
        return bad("there is no QEMU".into());
    };
    let options = Options {
        subject,
        qemu,
        accel,
        out: out.path().to_owned(),
        snapshots: Snapshots::Leave,
        jobs: 1,
        keeping: KeptAside::default(),
    };
    let Some(scenario) = scenarios.first() else {
        return bad("there is no scenario".into());
    };
    let report = run_scenario(scenario, &options).await.report;
    // A rule that it breaks is not what is asked here.
    let is_about_io = |reason: &String| reason.starts_with("io: ") || reason.starts_with("step `");
    let works = matches!(report.outcome, Some(Outcome::Started | Outcome::Degraded))
        && matches!(report.verdict, Verdict::Pass | Verdict::Fail)
        && !report.reasons.iter().any(is_about_io);
    if works {
        let seconds = report.duration_ms / 1e3;
        good(
            ABOUT,
            format!("it read from a disk that works, in {seconds:.1} s"),
        )
    } else {
        bad(format!(
            "it did not read from a disk that works: {}",
            report.reasons.join("; ")
        ))
    }
}

fn about_qemu(qemu: &Qemu) -> Finding {
    good(
        "QEMU",
        format!(
            "{} with vfio-user-pci, {}",
            qemu.about.version,
            qemu.program.display()
        ),
    )
}

fn missing_qemu(error: &MachineError) -> Finding {
    not(
        "QEMU",
        State::Bad,
        error.to_string(),
        &error.help().unwrap_or_default(),
    )
}

fn about_start(qemu: &Qemu) -> Finding {
    match qemu.boot() {
        Boot::Direct => good("start", "without firmware".into()),
        Boot::SeaBios | Boot::Agent | Boot::Loader | Boot::Firmware(_) | Boot::Disk => not(
            "start",
            State::Slower,
            "this QEMU was built without the device loader; SeaBIOS is used, which takes longer"
                .into(),
            "Nothing has to be done. `ci/setup` with MISFIRE_QEMU unset provides a QEMU that has it.",
        ),
    }
}

fn about_boot(boot: Result<Duration, String>) -> Finding {
    match boot {
        Ok(time) => good(
            "bare boot",
            format!(
                "the reference guest came and left in {:.0} ms under software emulation",
                time.as_secs_f64() * 1e3
            ),
        ),
        Err(why) => not(
            "bare boot",
            State::Bad,
            why,
            "Try again when the machine is less busy; QEMU's own messages are above if there are any.",
        ),
    }
}

fn about_kvm(kvm: Result<(), String>) -> Finding {
    match kvm {
        Ok(()) => good("KVM", "the reference guest runs under it".into()),
        Err(why) => not(
            "KVM",
            State::Slower,
            why,
            "Nothing has to be done: software emulation is used. For KVM, /dev/kvm has to be readable \
             and writable, as it is for members of the group kvm, on a host that lets guests use it.",
        ),
    }
}

/// Under software emulation there is none of it, and nothing to be said.
fn about_hyper_v(can: bool) -> Finding {
    const ABOUT: &str = "Hyper-V under KVM";
    if can {
        let found =
            "a Windows tells of its crash by itself (hv-crash), and knows that it is a guest";
        return good(ABOUT, found.into());
    }
    not(
        ABOUT,
        State::Slower,
        "this host's KVM has no KVM_CAP_HYPERV: QEMU leaves out every hv- flag without a word, hv-crash too"
            .into(),
        "Nothing has to be done: a crash of a Windows is heard through its kernel debugger. Kernels of \
         distributions have it (CONFIG_KVM_HYPERV).",
    )
}

fn about_memfd<T>(made: rustix::io::Result<T>) -> Finding {
    match made {
        Ok(_) => good("shared memory", "memfd_create works".into()),
        Err(error) => not(
            "shared memory",
            State::Bad,
            format!("memfd_create failed: {error}"),
            "Linux 3.17 or newer is needed, and a sandbox that allows memfd_create.",
        ),
    }
}

fn about_run_dir(made: std::io::Result<RunDir>) -> Finding {
    match made {
        Ok(dir) => {
            let folder = dir.path().parent().unwrap_or(dir.path());
            good("folder for sockets", folder.display().to_string())
        }
        Err(error) => not(
            "folder for sockets",
            State::Bad,
            format!("no folder can be made for sockets: {error}"),
            "Set XDG_RUNTIME_DIR or TMPDIR to a folder that can be written.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_thing_that_is_not_good_comes_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let doctor = Doctor::examine_with(Cache::in_folder(dir.path())).await;
        for finding in &doctor.findings {
            assert_eq!(
                finding.help.is_some(),
                finding.state != State::Good,
                "{finding:?}"
            );
        }
    }

    #[test]
    fn without_a_boot_no_scenario_can_run_and_without_kvm_all_can() {
        let doctor = |finding| Doctor {
            findings: vec![finding],
        };
        assert!(!doctor(about_boot(Err("it hung".into()))).can_run());
        assert!(doctor(about_boot(Ok(Duration::from_millis(44)))).can_run());
        assert!(doctor(about_kvm(Err("it hung".into()))).can_run());
        assert!(doctor(about_hyper_v(false)).can_run());
        assert_eq!(about_hyper_v(true).state, State::Good);
    }

    #[test]
    fn a_missing_qemu_is_reported_with_where_it_was_looked_for() {
        let finding = missing_qemu(&MachineError::NoQemu {
            looked: vec!["nothing in PATH".into()],
        });
        assert_eq!(finding.state, State::Bad);
        assert_eq!(finding.found, "no QEMU was found: nothing in PATH");
        assert!(finding.help.unwrap().contains("ci/setup"));
    }
}
