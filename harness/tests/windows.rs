//! The guest kind `windows` from end to end, with a stand-in: the reference kernel, which speaks to a
//! kernel debugger and answers the guest's agent as a Windows would. Nothing here has been run on Windows.

mod standin;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use misfire::cli::vocabulary;
use misfire::machine::{Accel, Cache, Qemu};
use misfire::report::{ScenarioReport, one_scenario};
use misfire::run::{KeptAside, Options, Snapshots, Subject, run_scenario};
use misfire::scenario::{Library, Outcome};
use misfire::verdict::Verdict;

/// A scenario of the tests: a disk is read, in little time.
const SCENARIO: &str = r#"
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
struct Bench {
    dir: tempfile::TempDir,
    /// What the stand-in does.
    canned: &'static str,
    /// More of the guest file.
    more: String,
    /// How long the step `wait ready` may take.
    wait: &'static str,
    warm: bool,
    keeping: KeptAside,
    /// More of the scenario.
    expect: &'static str,
}

impl Bench {
    fn new(canned: &'static str) -> Self {
        Self {
            dir: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            canned,
            more: String::new(),
            wait: "8s",
            warm: false,
            keeping: KeptAside::default(),
            expect: "",
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The guest file, with everything that it names.
    fn guest_file(&self) -> PathBuf {
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
             package = \"package\"\nmemory = 64\nprocessors = 1\nhotplug = \"native\"\npace = 1\n\
             driver = \"standin@1\"\n{}\n",
            self.more
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    fn subject(&self) -> Subject {
        let name = self.guest_file().display().to_string();
        let mut subject = Subject::named(&name, true).unwrap();
        if let Subject::Windows(windows) = &mut subject
            && self.warm
        {
            windows.states = Some(self.path("states"));
        }
        subject
    }

    async fn run(&self) -> ScenarioReport {
        self.run_scenario(&SCENARIO.replace("WAIT", self.wait))
            .await
    }

    fn write_scenario(&self, text: &str) {
        let folder = self.path("scenarios/tests");
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("{text}\n{}", self.expect);
        std::fs::write(folder.join("disk.toml"), text).unwrap();
    }

    async fn run_scenario(&self, text: &str) -> ScenarioReport {
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

    fn kept(&self, name: &str) -> PathBuf {
        self.path("out/tests/disk").join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.kept("guest.log")).unwrap()
    }
}

fn told(report: &ScenarioReport) -> String {
    one_scenario(report, false)
}

fn is_png(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_is_installed_gets_its_device_and_is_judged() {
    let mut bench = Bench::new("");
    bench.keeping.recording = Some(bench.path("recording"));
    let report = bench.run().await;
    assert_eq!(
        report.verdict,
        Verdict::Pass,
        "{}\n{}",
        told(&report),
        bench.log()
    );
    assert_eq!(report.guest, "standin");
    assert_eq!(report.outcome, Some(Outcome::Started));
    assert_eq!(report.interrupts.as_deref(), Some("msix"));
    let log = bench.log();
    for line in [
        "kd: booted",
        "kd: loaded \\SystemRoot\\System32\\drivers\\standin.sys",
        "MISFIRE: dev 0 started mode=messages granted=3 used=3 queues=2",
        "MISFIRE: done ok load op=verify",
    ] {
        assert!(log.contains(line), "{line}:\n{log}");
    }
    for file in ["com1.hex", "com2.hex", "qmp.hex"] {
        let path = bench.path("recording/tests/disk").join(file);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            !misfire::machine::Recording::read(&text).is_empty(),
            "{file}"
        );
    }
}

/// What the stand-in's driver prints in words of its own.
const OWN_WORDS: &str = "log = [{ line = 'dut: q(?<queue>\\d+) asked for (?<wrote>\\d+), has \
                         (?<read>0x[0-9a-f]+)', means = \"queue-vector\" }]";

#[tokio::test(flavor = "multi_thread")]
async fn a_line_in_the_drivers_own_words_is_evidence_where_the_guest_file_says_what_it_means() {
    let mut bench = Bench::new("log=own");
    bench.more = OWN_WORDS.into();
    bench.expect = "[expect.windows]\nheld = [\"LOG-001\"]";
    let report = bench.run().await;
    let log = bench.log();
    assert_eq!(report.verdict, Verdict::Pass, "{}\n{log}", told(&report));
    let translated = "dut: q1 asked for 2, has 0x2\n\
                      MISFIRE-LOG pattern queue-vector queue=1 wrote=2 read=0x2\n";
    assert!(log.contains(translated), "{log}");

    // A driver that says what is not so is found out, and one whose words nobody knows is not.
    let mut bench = Bench::new("log=lies");
    bench.more = OWN_WORDS.into();
    let report = bench.run().await;
    let told = told(&report);
    assert_eq!(report.verdict, Verdict::Fail, "{told}");
    assert!(told.contains("LOG-001"), "{told}");
    let bench = Bench::new("log=lies");
    let report = bench.run().await;
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.reasons);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_kept_and_restored_with_the_driver_installed() {
    let mut bench = Bench::new("pnputil=259");
    bench.warm = true;
    for run in 0..2 {
        let report = bench.run().await;
        let log = bench.log();
        assert_eq!(report.verdict, Verdict::Pass, "{}\n{log}", told(&report));
        // Of the boot that the state is of, nothing is in the log: it was another machine's.
        assert!(!log.contains("kd: booted"), "{run}: {log}");
        assert!(log.contains("kd: loaded"), "{log}");
    }
    let states = std::fs::read_dir(bench.path("states")).unwrap();
    let names: Vec<_> = states.map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "state, disk and lock: {names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_powershell_that_reads_commands_from_com2_is_made_an_agent_of() {
    for canned in ["agent=prompt", "agent=console"] {
        let mut bench = Bench::new(canned);
        bench.keeping.recording = Some(bench.path("recording"));
        let report = bench.run().await;
        let log = bench.log();
        assert_eq!(report.verdict, Verdict::Pass, "{}\n{log}", told(&report));
        let which = "harness: the agent is a PowerShell on COM2, which was made an agent of";
        assert!(log.contains(which), "{canned}: {log}");
    }
}

/// The scenario of devices that come and go.
async fn moves(canned: &'static str, steps: &str, expect: &'static str) -> (Bench, ScenarioReport) {
    let mut bench = Bench::new(canned);
    bench.expect = expect;
    let report = bench.run_scenario(steps).await;
    (bench, report)
}

const PULLED: &str = r#"
title = "a disk that is pulled out under load, and put in again"
source = "the tests of the guest kind windows"

[device]
kind = "block"
queues = 2
msix = 3

[[fault]]
id  = "pull"
on  = "chain[q1]"
nth = 5
do  = "unplug.surprise"

[[step]]
wait = "ready"
[[step]]
load   = "read"
blocks = 20
timeout = "4s"
[[step]]
wait = "removed"
timeout = "4s"
[[step]]
host = "replug"
[[step]]
wait = "started"
timeout = "4s"
[[step]]
load   = "verify"
blocks = 8
timeout = "4s"
"#;

const ASKED: &str = r#"
title = "a disk that is asked for, and put in again"
source = "the tests of the guest kind windows"

[device]
kind = "block"
queues = 2
msix = 3

[[step]]
wait = "ready"
[[step]]
load   = "read"
blocks = 4
timeout = "4s"
[[step]]
host = "unplug"
timeout = "4s"
[[step]]
host = "replug"
[[step]]
wait = "started"
timeout = "4s"
[[step]]
load   = "verify"
blocks = 8
timeout = "4s"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_pulled_out_under_load_is_missed_and_comes_back() {
    let expect = "[expect.windows]\nio = \"failed\"\nheld = [\"WIN-PNP-001\"]\n\
                  log = [\"MISFIRE: dev 0 removed surprise\"]";
    let (bench, report) = moves("", PULLED, expect).await;
    let log = bench.log();
    assert_eq!(report.verdict, Verdict::Pass, "{}\n{log}", told(&report));
    assert_eq!(log.matches("MISFIRE: dev 0 started").count(), 2, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_asked_for_is_let_go_in_order_whoever_switches_its_slot() {
    // QEMU does not survive to lose a function with MSI-X: it is kept. One on the line is taken out.
    for steps in [ASKED.to_owned(), ASKED.replace("msix = 3", "msix = 0")] {
        let expect = "[expect]\nlog = [\"MISFIRE: dev 0 removed orderly\"]";
        let (bench, report) = moves("", &steps, expect).await;
        let log = bench.log();
        let told = told(&report);
        assert_eq!(report.verdict, Verdict::Pass, "{told}\n{log}");
        assert_eq!(log.matches("MISFIRE: dev 0 started").count(), 2, "{log}");
        assert!(log.contains("MISFIRE: dev 0 removed orderly"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_does_not_let_its_device_go_is_told_and_the_step_runs_out_of_time() {
    let steps = ASKED.replace("timeout = \"4s\"", "timeout = \"1s\"");
    let (bench, report) = moves("slot=veto", &steps, "").await;
    let log = bench.log();
    assert_eq!(report.verdict, Verdict::Fail, "{}\n{log}", told(&report));
    assert!(
        told(&report).contains("step `host unplug`"),
        "{}",
        told(&report)
    );
    let veto = "harness: device 0 was not let go: MISFIRE: slot stays reason=262";
    assert!(log.contains(veto), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_asks_for_a_restart_gets_one_and_a_flag_of_the_verifier_too() {
    let mut bench = Bench::new("pnputil=3010 verifier=2");
    bench.more = "verifier = [\"dma\"]\nmsi-forcedisable = true".into();
    let report = bench.run().await;
    let log = bench.log();
    assert_eq!(report.verdict, Verdict::Pass, "{}\n{log}", told(&report));
    assert_eq!(log.matches("kd: booted").count(), 2, "{log}");
    assert!(log.contains("kd: about to reboot"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_without_messages_has_a_system_that_hands_out_none() {
    let bench = Bench::new("");
    // The stand-in has no bcdedit: it is told beside.
    standin::disk(bench.dir.path(), "", "grant=none");
    let steps = SCENARIO.replace("WAIT", bench.wait) + "[guest]\ngrant = \"none\"\n";
    let report = bench.run_scenario(&steps).await;
    let log = bench.log();
    assert_eq!(report.verdict, Verdict::Pass, "{}\n{log}", told(&report));
    assert_eq!(report.interrupts.as_deref(), Some("intx"), "{log}");
    // It takes effect when the system was started again.
    assert_eq!(log.matches("kd: booted").count(), 2, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_has_its_stop_code_its_arguments_and_a_picture() {
    let bench = Bench::new("load=crash");
    let report = bench.run().await;
    assert_eq!(report.verdict, Verdict::Fail, "{}", told(&report));
    assert_eq!(report.outcome, Some(Outcome::Crashed));
    let text = told(&report);
    for part in [
        "it crashed: 0xD1 DRIVER_IRQL_NOT_LESS_OR_EQUAL (0x28, 0x2, 0x0, 0xfffff805500001a4 \
         [standin.sys+0x1a4]) in standin.sys",
        "GUEST_PANICKED",
        "the guest reset itself after the crash",
        "its memory was not kept",
    ] {
        assert!(text.contains(part), "{part}:\n{text}\n{}", bench.log());
    }
    assert!(is_png(&bench.kept("screen.png")), "{text}");
    assert!(is_png(&bench.kept("screen-stop.png")), "{text}");
    assert!(report.files.contains_key("screen"), "{:?}", report.files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_can_expect_a_crash() {
    let mut bench = Bench::new("load=crash panic=loaded");
    bench.expect = "[expect.windows]\noutcome = \"crashed\"\nbugcheck = \"0xD1\"\nio = \"none\"\nbroken = [\"WIN-SYS-001\"]";
    let report = bench.run().await;
    assert_eq!(
        report.verdict,
        Verdict::Pass,
        "{}\n{}",
        told(&report),
        bench.log()
    );
    let told = told(&report);
    assert!(
        report.notes.iter().any(|n| n.contains("GUEST_CRASHLOADED")),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_crash_is_kept_when_it_is_asked_for() {
    let mut bench = Bench::new("load=crash panic=none");
    bench.more = "dump = true".into();
    let report = bench.run().await;
    let told = told(&report);
    assert!(told.contains("its memory, as ELF"), "{told}");
    let memory = std::fs::read(bench.kept("memory.dmp")).unwrap();
    assert!(memory.starts_with(b"\x7fELF"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_hangs_is_photographed_probed_and_woken_by_an_nmi() {
    let bench = Bench::new("load=hang");
    let report = bench.run().await;
    let told = told(&report);
    assert_eq!(report.verdict, Verdict::Fail, "{told}");
    assert_eq!(report.outcome, Some(Outcome::Wedged), "{told}");
    for part in [
        "the kernel did not answer its debugger within",
        "QEMU says that the guest is `running`",
        "an interrupt that can't be masked made it stop: 0x80 NMI_HARDWARE_FAILURE",
    ] {
        assert!(told.contains(part), "{part}:\n{told}\n{}", bench.log());
    }
    assert!(is_png(&bench.kept("screen.png")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_hangs_in_a_kernel_that_lives_is_told_apart() {
    let mut bench = Bench::new("load=stuck");
    bench.more = "limits = { work = 1.0 }".into();
    let report = bench.run().await;
    let told = told(&report);
    assert_eq!(report.verdict, Verdict::Fail, "{told}");
    assert_eq!(report.outcome, Some(Outcome::Wedged), "{told}");
    assert!(
        told.contains("the kernel answers its debugger"),
        "{told}\n{}",
        bench.log()
    );
    assert!(
        bench.log().contains("harness: stage `work`"),
        "{}",
        bench.log()
    );
}

#[test]
fn the_doctor_hears_the_debugger_and_the_agent_and_has_the_driver_read() {
    let bench = Bench::new("agent=prompt");
    let guest = bench.guest_file();
    let text = std::fs::read_to_string(&guest).unwrap();
    std::fs::write(&guest, text.replace("pace = 1", "pace = 9")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_misfire"))
        .args(["doctor", "--guest"])
        .arg(guest)
        .env("XDG_CACHE_HOME", bench.path("cache"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for line in [
        "good  guest: standin (windows)",
        "good  kernel debugger: the kernel, build 26100, speaks to a debugger on COM1",
        "good  agent: it answers on COM2",
        "good  guest's driver: it read from a disk that works",
    ] {
        assert!(said.contains(line), "{line}:\n{said}");
    }
    assert!(output.status.success(), "{said}");
}

/// What is in a line after a text, up to the next blank.
fn after<'l>(line: &'l str, text: &str) -> Option<&'l str> {
    line.split_once(text)?.1.split(' ').next()
}

#[test]
fn a_guest_that_hangs_stays_for_a_debugger_and_a_viewer_until_it_is_let_go() {
    let mut bench = Bench::new("load=stuck");
    bench.more = "limits = { work = 1.0 }".into();
    let guest = bench.guest_file();
    bench.write_scenario(&SCENARIO.replace("WAIT", bench.wait));
    let mut run = Command::new(env!("CARGO_BIN_EXE_misfire"))
        .args([
            "run",
            "tests/disk",
            "--keep-on-failure",
            "--cold",
            "--accel",
            "tcg",
        ])
        .arg("--guest")
        .arg(guest)
        .arg("--scenarios")
        .arg(bench.path("scenarios"))
        .arg("--out")
        .arg(bench.path("out"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let (mut debugger, mut viewer, mut said) = (None, None, String::new());
    for line in lines.map_while(Result::ok) {
        said += &format!("{line}\n");
        debugger = debugger.or(after(&line, "misfire kd --late ").map(str::to_owned));
        viewer = viewer.or(after(&line, "a VNC viewer at ").map(str::to_owned));
        if debugger.is_some() && viewer.is_some() {
            break;
        }
    }
    let (Some(debugger), Some(viewer)) = (debugger, viewer) else {
        panic!("it did not stay: {said}");
    };
    assert!(said.contains("the guest stays until Ctrl-C"), "{said}");
    assert!(said.contains("the kernel answers its debugger"), "{said}");
    let port = debugger.rsplit(':').next().unwrap();
    let windbg = format!("windbg -k com:ipport={port},port=127.0.0.1");
    assert!(said.contains(&windbg), "{said}");

    // A viewer is greeted, and the kernel answers whoever takes the debugger's line.
    let mut greeting = [0; 4];
    let mut screen = TcpStream::connect(&viewer).unwrap();
    screen.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"RFB ");
    let mut console = Command::new(env!("CARGO_BIN_EXE_misfire"))
        .args(["kd", "--late", "--probe", "1", &debugger])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let heard = BufReader::new(console.stdout.take().unwrap()).lines();
    let mut heard = heard.map_while(Result::ok);
    assert!(heard.any(|line| line == "kd: alive"));
    console.kill().unwrap();
    console.wait().unwrap();

    let ours = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(ours, rustix::process::Signal::INT).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130));
    // With the run the machine is gone.
    assert!(TcpStream::connect(&viewer).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_refuses_its_device_is_told_with_the_problem_code() {
    let mut bench = Bench::new("node=10");
    bench.expect = "[expect.windows]\noutcome = \"refused\"\ninterrupts = \"none\"";
    let report = bench.run().await;
    let log = bench.log();
    assert_eq!(
        report.outcome,
        Some(Outcome::Refused),
        "{}\n{log}",
        told(&report)
    );
    assert!(
        log.contains("the device node has problem 10 FAILED_START"),
        "{log}"
    );
}

/// A run that ends on its way to the device, and what it says.
async fn ends(canned: &'static str, more: &str) -> (Bench, ScenarioReport) {
    let mut bench = Bench::new(canned);
    bench.more = more.to_owned();
    let report = bench.run().await;
    assert_eq!(report.verdict, Verdict::Error, "{}", told(&report));
    (bench, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stage_that_takes_too_long_is_named() {
    for (canned, more, stage) in [
        (
            "boot=silent",
            "limits = { boot = 2.0 }",
            "stage `boot`: the kernel did not speak",
        ),
        (
            "agent=silent",
            "limits = { ready = 2.0 }",
            "stage `ready`: the guest agent did not answer",
        ),
        (
            "pnputil=stuck",
            "limits = { install = 2.0 }",
            "stage `install`: installing dut.inf: the guest agent did not answer the end of a program",
        ),
        (
            "pnputil=1",
            "",
            "stage `install`: installing dut.inf: pnputil.exe ended with exit code 0x1; it said: \
             pnputil is not here; it says Some(1); setupapi.dev.log: !!!  sto: it was not installed",
        ),
        (
            "boot=crash",
            "",
            "stage `ready`: the system crashed: 0x7B INACCESSIBLE_BOOT_DEVICE",
        ),
        ("agent=crash", "", "stage `ready`: the system crashed: 0xD1"),
        (
            "pnputil=crash",
            "",
            "stage `install`: the system crashed: 0xD1 DRIVER_IRQL_NOT_LESS_OR_EQUAL (0x28, 0x2, 0x0,",
        ),
        (
            "pnputil=3010 shutdown=crash",
            "",
            "stage `restart`: the system crashed: 0xD1",
        ),
        (
            "pnputil=3010 shutdown=stuck",
            "limits = { restart = 2.0 }",
            "stage `restart`: the system did not start again within 2 s",
        ),
    ] {
        let (bench, report) = ends(canned, more).await;
        let told = told(&report);
        assert!(told.contains(stage), "{stage}:\n{told}");
        assert!(is_png(&bench.kept("screen.png")), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_nobody_gives_is_told_in_qemus_words() {
    let mut bench = Bench::new("");
    bench.more = "tpm = \"swtpm.sock\"".into();
    // Somebody listened there once.
    drop(UnixListener::bind(bench.path("swtpm.sock")).unwrap());
    let report = bench.run().await;
    assert_eq!(report.verdict, Verdict::Error);
    let told = told(&report);
    assert!(told.contains("swtpm.sock"), "{told}");
    assert!(told.contains("Connection refused"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_a_driver_that_starts_its_device_is_its_conduct_and_no_error() {
    let bench = Bench::new("node=crash");
    let report = bench.run().await;
    let told = told(&report);
    assert_eq!(report.verdict, Verdict::Fail, "{told}\n{}", bench.log());
    assert_eq!(report.outcome, Some(Outcome::Crashed), "{told}");
    assert!(told.contains("it crashed: 0xD1"), "{told}");
    assert!(is_png(&bench.kept("screen.png")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_never_comes_up_is_a_verdict() {
    let mut bench = Bench::new("node=absent");
    bench.more = "limits = { device = 1.0 }".into();
    bench.wait = "2s";
    let report = bench.run().await;
    let (told, log) = (told(&report), bench.log());
    assert_eq!(report.verdict, Verdict::Fail, "{told}");
    assert!(told.contains("step `wait ready` ran out of time"), "{told}");
    let words =
        "harness: stage `device`: device 0 was not started within 1 s: there is no device node";
    assert!(log.contains(words), "{log}");
    assert!(told.contains("the kernel answers its debugger"), "{told}");
}
