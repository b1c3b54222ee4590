//! QEMU's SeaBIOS, whose driver boots a boot sector from our disk, and reads and writes for it; and OVMF, whose
//! drivers are used by an application of ours. `ci/setup` makes OVMF available; without it its test fails.

use std::path::PathBuf;

use misfire::cli::vocabulary;
use misfire::machine::{Accel, Cache, Qemu};
use misfire::report::ScenarioReport;
use misfire::run::{Options, Snapshots, Subject, run_scenario};
use misfire::scenario::{Interrupts, Outcome, read};
use misfire::verdict::Verdict;

/// The report of the scenario that is written so.
async fn run(name: &str, text: &str) -> ScenarioReport {
    run_on("seabios", name, text).await
}

/// The same on another firmware.
async fn run_on(guest: &str, name: &str, text: &str) -> ScenarioReport {
    let name = format!("firmware/{name}");
    let text = format!("title = \"t\"\n{text}");
    let scenarios = read("x.toml".as_ref(), &name, &text, &vocabulary()).unwrap();
    let options = Options {
        subject: Subject::named(guest, false).unwrap(),
        qemu: Qemu::find(&Cache::of_user()).await.unwrap(),
        accel: Accel::Tcg,
        out: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        snapshots: Snapshots::Leave,
        jobs: 1,
        keeping: misfire::run::KeptAside::default(),
    };
    run_scenario(&scenarios[0], &options).await.report
}

#[tokio::test(flavor = "multi_thread")]
async fn the_boot_sector_reads_and_writes_through_the_firmwares_driver() {
    for (name, device) in [
        ("function", ""),
        ("legacy", "virtio = \"legacy\"\n"),
        ("transport", "attach = \"vhost-user\"\n"),
    ] {
        let text = format!(
            "[device]\nkind = \"block\"\n{device}[[step]]\nload = \"mixed\"\nblocks = 60\n\
             [expect]\nio = \"complete\"\ninterrupts = \"polled\"\n"
        );
        let report = run(name, &text).await;
        assert_eq!(
            report.outcome,
            Some(Outcome::Degraded),
            "{:?}",
            report.reasons
        );
        assert_eq!(
            report.interrupts.as_deref(),
            Some(Interrupts::Polled.word())
        );
        let wrong = |reason: &&String| !reason.contains("broken");
        assert_eq!(report.reasons.iter().find(wrong), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_uses_devices_through_the_uefi_firmwares_drivers() {
    let one = |name: &'static str, kind: &str, load: &str| {
        let text = format!(
            "[device]\n{kind}\n[[step]]\nwait = \"live\"\n[[step]]\n{load}\n\
             [expect]\nio = \"complete\"\ninterrupts = \"polled\"\n"
        );
        async move { (name, run_on("ovmf", name, &text).await) }
    };
    let verify = "load = \"verify\"\nblocks = 16";
    // Two at a time: the way to the application is some seconds of instructions that are emulated.
    let (block, scsi) = tokio::join!(
        one("block", "kind = \"block\"", verify),
        one("scsi", "kind = \"scsi\"", verify),
    );
    let (net, rng) = tokio::join!(
        one(
            "net",
            "kind = \"net\"",
            "load = \"frames\"\nframes = 4\nsize = 200"
        ),
        one("rng", "kind = \"rng\"", "load = \"entropy\"\nbytes = 200"),
    );
    for (name, report) in [block, scsi, net, rng] {
        let reasons = &report.reasons;
        assert_eq!(
            report.outcome,
            Some(Outcome::Degraded),
            "{name}: {reasons:?}"
        );
        let wrong = |reason: &&String| !reason.contains("broken");
        assert_eq!(reasons.iter().find(wrong), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_the_firmware_does_not_take_is_refused() {
    let text = "[device]\nkind = \"block\"\n[[fault]]\non = \"status.+FEATURES_OK\"\n\
        nth = \"1..\"\ndo = \"status.refuse\"\n[[step]]\nload = \"read\"\n";
    let report = run("refused", text).await;
    assert_eq!(
        report.outcome,
        Some(Outcome::Refused),
        "{:?}",
        report.reasons
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_firmware_can_not_do_is_skipped_with_a_reason() {
    let card = "[device]\nkind = \"port-card\"\n";
    let flush = "[device]\nkind = \"block\"\n[[step]]\nload = \"flush\"\n";
    for (name, text, reason) in [
        ("card", card, "a BIOS boots from a block device"),
        (
            "flush",
            flush,
            "a firmware's disk service reads and writes, and no more",
        ),
    ] {
        let report = run(name, text).await;
        assert_eq!(report.verdict, Verdict::Skip);
        assert_eq!(report.reasons, [reason]);
    }
}

/// What is known of this revision of SeaBIOS stands in the scenarios, and what came of each in tables beside them.
const LOOKED_AT: &str = "1.17.";

#[test]
fn every_scenario_for_a_bios_comes_out_on_seabios_as_its_tables_say() {
    use assert_cmd::cargo::CommandCargoExt as _;
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("seabios");
    let mut command = std::process::Command::cargo_bin("misfire").unwrap();
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command.args(["run", "--guest", "seabios", "--accel", "tcg", "--jobs", "2"]);
    command.args(["--format", "json", "--out"]).arg(&out);
    let output = command.output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let log = std::fs::read_to_string(out.join("rings/chains/guest.log")).unwrap();
    let version = log.split_once("SeaBIOS (version ").unwrap().1;
    let version = version.strip_prefix("rel-").unwrap_or(version);
    let is_looked_at = version.starts_with(LOOKED_AT);
    let is_seen = |scenario: &&serde_json::Value| scenario["verdict"] != "SKIP";
    let scenarios = report["scenarios"].as_array().unwrap();
    let seen: Vec<_> = scenarios.iter().filter(is_seen).collect();
    assert!(seen.len() >= 60, "{}", seen.len());
    for scenario in seen {
        let has_line = !scenario["notes"].to_string().contains("no snapshot yet");
        let right = match scenario["verdict"].as_str().unwrap() {
            "PASS" | "XFAIL" => has_line || !is_looked_at,
            // Of a revision that nobody has looked at nothing is known.
            "FAIL" => !is_looked_at,
            _ => false,
        };
        assert!(right, "{scenario:#}");
    }
}

#[test]
fn two_guests_are_compared_side_by_side() {
    use assert_cmd::cargo::CommandCargoExt as _;
    let dir = tempfile::tempdir().unwrap();
    let text = "title = \"t\"\n[device]\nkind = \"block\"\n[[step]]\nload = \"read\"\nblocks = 2\n";
    std::fs::write(dir.path().join("x.toml"), text).unwrap();
    let diff = |args: &[&str]| {
        let mut command = std::process::Command::cargo_bin("misfire").unwrap();
        command.current_dir(dir.path()).env("COLUMNS", "101");
        command
            .args(["diff", "./x.toml", "--accel", "tcg"])
            .args(args);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            text(&output.stdout),
            text(&output.stderr),
            output.status.code(),
        )
    };
    let (out, err, status) = diff(&["--guest", "reference,seabios"]);
    assert_eq!(status, Some(1), "{out}{err}");
    let begin: Vec<&str> = out.lines().take(3).collect();
    assert_eq!(
        begin,
        [
            "reference                                           seabios",
            "started  msix                                     | degraded  polled",
            "VIO-INIT-002: held                                | VIO-INIT-002: noted",
        ]
    );
    assert!(out.contains("| VIO-RST-001: broken"), "{out}");

    let (out, err, status) = diff(&["--attach", "vfio-user,vhost-user"]);
    assert_eq!(status, Some(1), "{out}{err}");
    assert!(out.starts_with("reference, vfio-user"), "{out}");
    assert!(
        out.contains("rules are put to the test on one side only"),
        "{out}"
    );

    let (_, err, status) = diff(&["--attach", "vfio-user"]);
    assert_eq!(status, Some(2));
    assert!(err.contains("two sides are compared"), "{err}");
}
