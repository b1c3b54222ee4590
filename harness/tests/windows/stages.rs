//! From the boot to the verdict: every stage, what it asks for, and its time limit.

use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use misfire::guest::windows::{Setting, Windows};
use misfire::machine::{Accel, Cache, Qemu, Recording, Way};
use misfire::report::ScenarioReport;
use misfire::run::Subject;
use misfire::scenario::Outcome;
use misfire::verdict::Verdict;
use misfire_device::port::{Attachment, Journal};

use crate::bench::*;
use crate::standin;

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_is_installed_gets_its_device_and_is_judged() {
    let mut bench = Bench::new("");
    bench.keeping.recording = Some(bench.path("recording"));
    let report = bench.passing().await;
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
    let recording = bench.path("recording/tests/disk");
    for file in ["com1.hex", "com2.hex", "qmp.hex"] {
        let text = std::fs::read_to_string(recording.join(file)).unwrap();
        let pieces = Recording::read(&text);
        for way in [Way::From, Way::To] {
            assert!(pieces.iter().any(|piece| piece.1 == way), "{file}: {way:?}");
        }
    }
    // What QEMU is asked for is there as it was asked.
    let text = std::fs::read_to_string(recording.join("qmp.hex")).unwrap();
    let asked = Recording::read(&text).into_iter();
    let asked = asked.filter(|piece| piece.1 == Way::To);
    let asked: Vec<u8> = asked.flat_map(|piece| piece.2).collect();
    let asked = String::from_utf8(asked).unwrap();
    assert!(asked.contains(r#""execute":"device_add""#), "{asked}");
    let machine = std::fs::read_to_string(recording.join(Recording::MACHINE)).unwrap();
    assert!(machine.starts_with("QEMU 1"), "{machine}");
    assert!(machine.contains("\n-device\npvpanic\n"), "{machine}");
    for file in ["trace.jsonl", "guest.log", "transcript.txt", "verdict.json"] {
        let copied = std::fs::read(recording.join(file)).unwrap();
        assert_eq!(copied, std::fs::read(bench.kept(file)).unwrap(), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_kept_and_restored_with_the_driver_installed() {
    let mut bench = Bench::new("pnputil=259");
    bench.warm = true;
    for run in 0..2 {
        let log = bench.passes().await;
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
        let log = bench.passes().await;
        let which = "harness: the agent is a PowerShell on COM2, which was made an agent of";
        assert!(log.contains(which), "{canned}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_asks_for_a_restart_gets_one_and_a_flag_of_the_verifier_too() {
    let mut bench = Bench::new("pnputil=3010 verifier=2");
    bench.more = "verifier = [\"dma\"]\nmsi-forcedisable = true".into();
    let log = bench.passes().await;
    assert_eq!(log.matches("kd: booted").count(), 2, "{log}");
    assert!(log.contains("kd: about to reboot"), "{log}");
    // Where it starts the system again by itself, what comes after it is done then, and asks for one more.
    bench.canned = "pnputil=1641";
    standin::disk(bench.dir.path(), bench.canned, "");
    let log = bench.passes().await;
    assert_eq!(log.matches("kd: booted").count(), 3, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_without_messages_has_a_system_that_hands_out_none() {
    let bench = Bench::new("");
    // The stand-in has no bcdedit: it is told beside.
    standin::disk(bench.dir.path(), "", "grant=none");
    let steps = SCENARIO.replace("WAIT", bench.wait) + "[guest]\ngrant = \"none\"\n";
    let report = bench.passing_scenario(&steps).await;
    let log = bench.log();
    assert_eq!(report.interrupts.as_deref(), Some("intx"), "{log}");
    // It takes effect when the system was started again.
    assert_eq!(log.matches("kd: booted").count(), 2, "{log}");
}

/// A run that ends on its way to the device, and what it says.
async fn ends(canned: &'static str, more: &str) -> (Bench, ScenarioReport) {
    let mut bench = Bench::new(canned);
    bench.more = more.to_owned();
    let report = bench.run().await;
    assert_eq!(report.verdict, Verdict::Error, "{}", told(&report));
    (bench, report)
}

/// Guests that end on their way to the device: what each does, its limits, and what is told.
async fn each_ends(ways: &[(&'static str, &str, &str)]) {
    for (canned, more, stage) in ways {
        let (bench, report) = ends(canned, more).await;
        let told = told(&report);
        assert!(told.contains(stage), "{stage}:\n{told}");
        assert!(is_png(&bench.kept("screen.png")), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_does_not_come_up_is_told_at_its_stage() {
    each_ends(&[
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
            "boot=crash",
            "",
            "stage `ready`: the system crashed: 0x7B INACCESSIBLE_BOOT_DEVICE",
        ),
        ("agent=crash", "", "stage `ready`: the system crashed: 0xD1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_is_not_installed_is_told_at_its_stage() {
    each_ends(&[
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
            "pnputil=crash",
            "",
            "stage `install`: the system crashed: 0xD1 DRIVER_IRQL_NOT_LESS_OR_EQUAL (0x28, 0x2, 0x0,",
        ),
        (
            "pnputil=crash panic=alone",
            "",
            "stage `install`: the system crashed: without a stop code",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_does_not_start_again_is_told_at_its_stage() {
    each_ends(&[
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
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_can_not_be_put_in_in_time_ends_the_way_at_its_stage() {
    let bench = Bench::new("");
    let Subject::Windows(subject) = bench.subject() else {
        panic!("no Windows");
    };
    let qemu = Qemu::find(&Cache::of_user()).await.unwrap();
    let sockets = tempfile::tempdir().unwrap();
    // Who serves the first never says a word, and nobody serves the second.
    let silent = sockets.path().join("silent");
    let _server = UnixListener::bind(&silent).unwrap();
    for (socket, least) in [(silent, 4), (sockets.path().join("gone"), 0)] {
        let device = serde_json::json!({
            "driver": "vfio-user-pci",
            "socket": {"type": "unix", "path": socket.display().to_string()},
        });
        let attachment = Attachment {
            chardevs: Vec::new(),
            device,
            siblings: Vec::new(),
        };
        let setting = Setting::default();
        let spec = Windows::spec(
            &qemu,
            Accel::Tcg,
            &subject.image,
            &setting,
            vec![attachment],
        );
        let journal = Journal::new(Box::new(|_| ()));
        let limit = Duration::from_secs(60);
        let booting = Windows::boot(&qemu, &subject.image, &setting, &spec, &[2], journal, limit);
        let begin = Instant::now();
        let told = booting.await.unwrap_err().to_string();
        assert!(told.starts_with("stage `plug`: QEMU "), "{told}");
        assert!(told.contains("`device_add`"), "{told}");
        assert!(begin.elapsed() >= Duration::from_secs(least), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_nobody_gives_is_told_with_how_to_run_one() {
    let mut bench = Bench::new("");
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("swtpm.sock");
    bench.more = format!("tpm = \"{}\"", socket.display());
    // Somebody listened there once.
    drop(UnixListener::bind(socket).unwrap());
    let report = bench.run().await;
    assert_eq!(report.verdict, Verdict::Error);
    let told = told(&report);
    assert!(told.contains("no TPM answers at"), "{told}");
    assert!(told.contains("swtpm.sock"), "{told}");
    assert!(told.contains("Connection refused"), "{told}");
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

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_device_that_are_not_made_are_an_error() {
    let mut bench = Bench::new("interrupts=no-device");
    bench.more = "message-number-limit = 1".into();
    let report = bench.run().await;
    let told = told(&report);
    assert_eq!(report.verdict, Verdict::Error, "{told}");
    let why = "the settings of device 0 were not made: the script said: MISFIRE: done failed \
               interrupts reason=no-device";
    assert!(told.contains(why), "{told}");
    bench.canned = "";
    standin::disk(bench.dir.path(), "", "");
    bench.passes().await;
}
