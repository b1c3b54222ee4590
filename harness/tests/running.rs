//! Whole runs: a guest is booted, and what comes of it is looked at from outside.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use assert_cmd::cargo::CommandCargoExt as _;
use serde_json::Value;

const CARD: &str = "title = \"A card whose ports all have events\"\n\
    [device]\nkind = \"port-card\"\nports = 2\nmsix = 2\n\
    [[step]]\nload = \"port\"\nevents = 3\n[expect]\noutcome = \"started\"\nio = \"complete\"\n";

/// A folder with one scenario, `a/card`.
fn folder(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("scenarios/a")).unwrap();
    fs::write(dir.path().join("scenarios/a/card.toml"), text).unwrap();
    dir
}

fn misfire(dir: &Path) -> std::process::Command {
    let mut command = std::process::Command::cargo_bin("misfire").unwrap();
    command.current_dir(dir).env("NO_COLOR", "1");
    command
}

/// Standard output, standard error, exit status of `misfire run …`.
fn run(dir: &Path, args: &[&str]) -> (String, String, i32) {
    let output = misfire(dir)
        .args(["run", "--accel", "tcg"])
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap(),
    )
}

fn document(dir: &Path, args: &[&str]) -> Value {
    let (out, err, _) = run(dir, &[&["--format", "json"], args].concat());
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"))
}

#[test]
fn a_run_is_told_as_one_document_and_kept() {
    let dir = folder(CARD);
    let document = document(dir.path(), &[]);
    assert_eq!(document["schema"], 1);
    assert_eq!(document["summary"]["pass"], 1, "{document:#}");
    let scenario = &document["scenarios"][0];
    for (key, value) in [
        ("name", "a/card"),
        ("guest", "reference"),
        ("verdict", "PASS"),
        ("outcome", "started"),
        ("interrupts", "msix"),
    ] {
        assert_eq!(scenario[key], value, "{key}");
    }
    assert!(scenario["duration_ms"].as_f64().unwrap() > 1.0);
    let rules = scenario["rules"].as_array().unwrap();
    assert!(
        rules
            .iter()
            .all(|r| r["id"].is_string() && r["outcome"].is_string() && r["evidence"].is_array())
    );
    for (what, path) in scenario["files"].as_object().unwrap() {
        let path = dir.path().join(path.as_str().unwrap());
        assert!(
            fs::metadata(&path).is_ok_and(|m| m.len() > 0),
            "{what}: {}",
            path.display()
        );
    }
}

#[test]
fn a_trace_replayed_gives_the_same_rules() {
    let dir = folder(CARD);
    let document = document(dir.path(), &[]);
    let trace = document["scenarios"][0]["files"]["trace"].as_str().unwrap();
    let output = misfire(dir.path())
        .args(["replay", trace, "--format", "json"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let replayed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(replayed["rules"], document["scenarios"][0]["rules"]);
}

#[test]
fn the_same_scenario_gives_the_same_transcript_every_time() {
    let dir = folder(CARD);
    let (out, _, status) = run(dir.path(), &["--bless"]);
    assert_eq!(status, 0);
    assert!(
        out.contains("wrote scenarios/a/snapshots/card.snap"),
        "{out}"
    );
    assert!(dir.path().join("scenarios/a/snapshots/card.snap").is_file());
    for _ in 0..20 {
        let (out, err, status) = run(dir.path(), &[]);
        assert_eq!(status, 0, "{out}{err}");
        assert!(!out.contains("no snapshot"), "{out}");
    }
}

#[test]
fn what_is_not_as_expected_ends_with_status_1_and_says_why() {
    let dir = folder(&CARD.replace("started", "crashed"));
    let (out, _, status) = run(dir.path(), &["--junit", "junit.xml", "--html", "page.html"]);
    assert_eq!(status, 1);
    assert!(
        out.contains("FAIL") && out.contains("outcome: expected crashed, found started"),
        "{out}"
    );
    assert!(
        fs::read_to_string(dir.path().join("junit.xml"))
            .unwrap()
            .contains("<failure")
    );
    assert!(
        fs::read_to_string(dir.path().join("page.html"))
            .unwrap()
            .contains("a/card")
    );
}

#[test]
fn a_predicted_deviation_does_not_fail_the_run_and_its_absence_does() {
    let known = "[expect.known.\"reference@1\"]\nwhy = \"it is a model\"\n";
    let deviates = CARD.replace("started", "crashed") + known + "outcome = \"started\"\n";
    let (out, _, status) = run(folder(&deviates).path(), &[]);
    assert!(status == 0 && out.contains("XFAIL"), "{out}");
    assert!(out.contains("known: it is a model"), "{out}");
    let does_not = CARD.to_owned() + known + "outcome = \"crashed\"\n";
    let (out, _, status) = run(folder(&does_not).path(), &[]);
    assert!(status == 1 && out.contains("XPASS"), "{out}");
}

#[test]
fn a_dry_run_starts_nothing() {
    let dir = folder(CARD);
    let (out, err, status) = run(dir.path(), &["--dry-run"]);
    assert_eq!(status, 0, "{err}");
    assert!(
        out.contains("vfio-user-pci") && out.contains("-accel tcg"),
        "{out}"
    );
    assert!(!dir.path().join("target").exists());
}

#[test]
fn without_qemu_the_command_ends_with_status_3_and_says_what_to_install() {
    let dir = folder(CARD);
    let output = misfire(dir.path())
        .args(["run", "--accel", "tcg"])
        .env("MISFIRE_QEMU", dir.path().join("nothing"))
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains("ci/setup") && err.contains("10.2"), "{err}");
}

#[test]
fn an_unknown_guest_is_refused() {
    let dir = folder(CARD);
    let (_, err, status) = run(dir.path(), &["--guest", "beos"]);
    assert_eq!(status, 2);
    assert!(err.contains("no guest is called `beos`"), "{err}");
}

/// Processes whose parent is `pid`.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|c| c.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn nothing_stays_behind_when_it_is_stopped() {
    use rustix::process::Signal;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        nothing_stays_behind_after(signal);
    }
}

fn nothing_stays_behind_after(signal: rustix::process::Signal) {
    let text = CARD.replace(
        "[expect]",
        "[[step]]\nguest = \"idle 30s\"\ntimeout = \"60s\"\n[expect]",
    );
    let dir = folder(&text);
    let temporary = tempfile::tempdir().unwrap();
    let child = misfire(dir.path())
        .args(["run", "--accel", "tcg"])
        .env("TMPDIR", temporary.path())
        .env_remove("XDG_RUNTIME_DIR")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(10);
    let machines = loop {
        let found = children(child.id());
        if !found.is_empty() {
            break found;
        }
        assert!(Instant::now() < patience, "no machine was started");
        std::thread::yield_now();
    };
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, signal).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        err.contains("interrupted: 0 of 1 scenarios were run"),
        "{err}"
    );
    for machine in machines {
        // Its parent is gone; it may still be on its way out.
        while fs::metadata(format!("/proc/{machine}")).is_ok() {
            assert!(Instant::now() < patience, "{machine} is still there");
            std::thread::yield_now();
        }
    }
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn a_machine_that_is_killed_is_an_error_and_said_so() {
    let text = CARD.replace(
        "[expect]",
        "[[step]]\nguest = \"idle 30s\"\ntimeout = \"60s\"\n[expect]",
    );
    let dir = folder(&text);
    let child = misfire(dir.path())
        .args(["run", "--accel", "tcg", "--format", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let trace = dir.path().join("target/misfire/a/card/trace.jsonl");
    let patience = Instant::now() + Duration::from_secs(10);
    let machine = loop {
        // Its trace is opened before the machine is started.
        if let Some(machine) = children(child.id()).first().filter(|_| trace.is_file()) {
            break *machine;
        }
        assert!(Instant::now() < patience, "no machine was started");
        std::thread::yield_now();
    };
    let pid = rustix::process::Pid::from_raw(i32::try_from(machine).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let scenario = &document["scenarios"][0];
    assert_eq!(scenario["verdict"], "ERROR");
    let reason = scenario["reasons"][0].as_str().unwrap();
    assert!(reason.contains("was killed by signal 9"), "{reason}");
    assert_eq!(scenario["reasons"].as_array().unwrap().len(), 1);
    assert!(scenario["outcome"].is_null() && scenario["interrupts"].is_null());
    let output = misfire(dir.path())
        .args(["replay", "target/misfire/a/card/trace.jsonl"])
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("no mark of its run's end"), "{err}");
}

#[test]
fn a_run_that_can_not_be_kept_is_not_begun() {
    let dir = folder(CARD);
    fs::write(dir.path().join("file"), "").unwrap();
    for (args, path) in [
        (&["--out", "file"][..], "file"),
        (&["--out", "file/below"], "file/below"),
        (&["--junit", "nowhere/junit.xml"], "nowhere/junit.xml"),
        (&["--html", "nowhere/page.html"], "nowhere/page.html"),
    ] {
        let (out, err, status) = run(dir.path(), args);
        assert_eq!((status, out.as_str()), (2, ""), "{args:?}: {err}");
        let words = format!("{path} can't be written");
        assert!(err.contains(&words) && err.contains("os error"), "{err}");
    }
    assert!(!dir.path().join("target/misfire/a").exists());
}

#[test]
fn a_scenario_whose_files_can_not_be_written_is_an_error() {
    let dir = folder(CARD);
    let trace = dir.path().join("target/misfire/a/card/trace.jsonl");
    fs::create_dir_all(&trace).unwrap();
    let (out, err, status) = run(dir.path(), &[]);
    assert_eq!(status, 1, "{out}{err}");
    assert!(
        out.contains("ERROR") && out.contains("can't be written"),
        "{out}"
    );
}

/// Its driver makes our backend warn: the available index jumps.
const WARNED: &str = "title = \"A driver whose index jumps\"\n[device]\nkind = \"block\"\n\
    [guest]\nmistake = \"available-index-jumps\"\n[[step]]\nload = \"read\"\nblocks = 2\n";

#[test]
fn streams_that_are_full_end_the_run_with_status_2_and_nothing_worse() {
    let full = || fs::File::create("/dev/full").unwrap();
    let dir = folder(CARD);
    fs::write(dir.path().join("scenarios/a/warned.toml"), WARNED).unwrap();
    for format in ["pretty", "json"] {
        let output = misfire(dir.path())
            .args(["run", "--accel", "tcg", "a/card", "--format", format])
            .stdout(full())
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert_eq!(
            err,
            "standard output can't be written: No space left on device (os error 28)\n"
        );
    }
    let both = misfire(dir.path())
        .args(["run", "--accel", "tcg"])
        .stdout(full())
        .stderr(full())
        .status()
        .unwrap();
    assert_eq!(both.code(), Some(2));
    let errors = misfire(dir.path())
        .args(["run", "--accel", "tcg", "a/card"])
        .stderr(full())
        .output()
        .unwrap();
    assert_eq!(errors.status.code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_changes_nothing() {
    let dir = folder(CARD);
    let mut child = misfire(dir.path())
        .args(["run", "--accel", "tcg"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_transcript_that_differs_is_offered_for_review_and_only_a_passing_one_is_accepted() {
    let dir = folder(CARD);
    let path = dir.path().join("scenarios/a/snapshots/card.snap");
    let new = dir.path().join("scenarios/a/snapshots/card.snap.new");
    let scenario = dir.path().join("scenarios/a/card.toml");
    let stale = "---\nsource: x\n---\nanother\n";
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, stale).unwrap();

    fs::write(&scenario, CARD.replace("started", "crashed")).unwrap();
    let (out, _, status) = run(dir.path(), &["--bless"]);
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("the transcript is not accepted"), "{out}");
    assert_eq!(fs::read_to_string(&path).unwrap(), stale);
    run(dir.path(), &[]);
    assert!(!new.exists());

    fs::write(&scenario, CARD).unwrap();
    let (out, _, status) = run(dir.path(), &[]);
    assert!(status == 1 && out.contains("-another"), "{out}");
    let offered = fs::read_to_string(&new).unwrap();
    let (out, _, status) = run(dir.path(), &["--bless"]);
    assert_eq!(status, 0, "{out}");
    assert!(!new.exists());
    assert_eq!(fs::read_to_string(&path).unwrap(), offered);
    let (out, _, _) = run(dir.path(), &["--bless"]);
    assert!(!out.contains("wrote"), "{out}");
}
