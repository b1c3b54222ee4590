//! How a run of a stand-in is set up, and what is asked of it afterwards.

use std::path::{Path, PathBuf};

use misfire::cli::vocabulary;
use misfire::machine::{Accel, Cache, Qemu};
use misfire::report::{ScenarioReport, one_scenario};
use misfire::run::{KeptAside, Options, Snapshots, Subject, run_scenario};
use misfire::scenario::Library;
use misfire::verdict::Verdict;

use crate::standin;

/// A scenario of the tests: a disk is read, in little time.
pub const SCENARIO: &str = r#"
title = "a disk that is read and verified"
source = "the tests of the guest kind windows"

[device]
kind = "block"
queues = 2
msix = 3

[[step]]
wait = "ready"
timeout = "WAIT"

[[step]]
load = "verify"
blocks = 8
timeout = "4s"
"#;

/// How a run is to be.
pub struct Bench {
    pub dir: tempfile::TempDir,
    /// What the stand-in does.
    pub canned: &'static str,
    /// Its memory in MiB.
    pub memory: u32,
    /// Who tells it that a device comes.
    pub hotplug: &'static str,
    /// More of the guest file.
    pub more: String,
    /// How long the step `wait ready` may take.
    pub wait: &'static str,
    pub warm: bool,
    pub keeping: KeptAside,
    /// More of the scenario.
    pub expect: &'static str,
}

impl Bench {
    pub fn new(canned: &'static str) -> Self {
        Self {
            dir: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            canned,
            memory: 64,
            hotplug: "native",
            more: String::new(),
            wait: "8s",
            warm: false,
            keeping: KeptAside::default(),
            expect: "",
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The guest file, with everything that it names.
    pub fn guest_file(&self) -> PathBuf {
        if !self.path("standin.img").exists() {
            standin::disk(self.dir.path(), self.canned, "");
        }
        let package = self.path("package");
        std::fs::create_dir_all(&package).unwrap();
        for name in ["dut.inf", "dut.sys", "dut.cat", "dut.cer"] {
            std::fs::write(package.join(name), name.repeat(300)).unwrap();
        }
        let path = self.path("standin.toml");
        let text = format!(
            "name = \"standin\"\nkind = \"windows\"\n\n[windows]\nimage = \"standin.img\"\n\
             package = \"package\"\nmemory = {}\nprocessors = 1\nhotplug = \"{}\"\npace = 1\n\
             driver = \"standin@1\"\n{}\n",
            self.memory, self.hotplug, self.more
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn subject(&self) -> Subject {
        let name = self.guest_file().display().to_string();
        let mut subject = Subject::named(&name, true).unwrap();
        if let Subject::Windows(windows) = &mut subject
            && self.warm
        {
            windows.states = Some(self.path("states"));
        }
        subject
    }

    pub async fn run(&self) -> ScenarioReport {
        self.run_scenario(&SCENARIO.replace("WAIT", self.wait))
            .await
    }

    /// The log of a run that passes.
    pub async fn passes(&self) -> String {
        self.passes_scenario(&SCENARIO.replace("WAIT", self.wait))
            .await
    }

    /// The report of a run that passes.
    pub async fn passing(&self) -> ScenarioReport {
        self.passing_scenario(&SCENARIO.replace("WAIT", self.wait))
            .await
    }

    /// The log of a run of this scenario that passes.
    pub async fn passes_scenario(&self, text: &str) -> String {
        self.passing_scenario(text).await;
        self.log()
    }

    /// The report of a run of this scenario that passes.
    pub async fn passing_scenario(&self, text: &str) -> ScenarioReport {
        let report = self.run_scenario(text).await;
        let (told, log) = (told(&report), self.log());
        assert_eq!(report.verdict, Verdict::Pass, "{told}\n{log}");
        report
    }

    pub fn write_scenario(&self, text: &str) {
        let folder = self.path("scenarios/tests");
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("{text}\n{}", self.expect);
        std::fs::write(folder.join("disk.toml"), text).unwrap();
    }

    pub async fn run_scenario(&self, text: &str) -> ScenarioReport {
        let root = self.path("scenarios");
        self.write_scenario(text);
        let names = ["tests/disk".to_owned()];
        let library = Library::open(Some(&root), &names, &vocabulary())
            .unwrap_or_else(|problems| panic!("{problems:?}"));
        let options = Options {
            subject: self.subject(),
            qemu: Qemu::find(&Cache::of_user()).await.unwrap(),
            accel: Accel::Tcg,
            out: self.path("out"),
            snapshots: Snapshots::Leave,
            jobs: 1,
            keeping: self.keeping.clone(),
        };
        run_scenario(&library.scenarios[0], &options).await.report
    }

    pub fn kept(&self, name: &str) -> PathBuf {
        self.path("out/tests/disk").join(name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.kept("guest.log")).unwrap()
    }
}

pub fn told(report: &ScenarioReport) -> String {
    one_scenario(report, false)
}

pub fn is_png(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG"))
}
