//! Runs that are killed, and many runs in a row. `ci/soak` has more of both than a test run has.
//!
//! * `MISFIRE_SOAK_KILLS`: how often a run is killed.
//! * `MISFIRE_SOAK_RUNS`: how many shipped scenarios are run by one process.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::CommandCargoExt as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long something may take that has to happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// Kills and runs of an ordinary test run.
const KILLS: usize = 8;
const RUNS: usize = 12;
/// How much the memory of a process may grow between the middle of its runs and their end, in KiB.
const GROWTH: u64 = 24 << 10;

const BLOCK: &str = "title = \"Reads\"\n[device]\nkind = \"block\"\n[[step]]\nwait = \"ready\"\n\
    [[step]]\nload = \"verify\"\nblocks = 200\n[expect]\nio = \"complete\"\n";
const CARD: &str = "title = \"Events\"\n[device]\nkind = \"port-card\"\nports = 2\nmsix = 2\n\
    [[step]]\nload = \"port\"\nevents = 100\n[expect]\nio = \"complete\"\n";

fn count(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |n| n.parse().unwrap())
}

fn misfire(dir: &Path, temporary: &Path) -> Command {
    let mut command = Command::cargo_bin("misfire").unwrap();
    command
        .current_dir(dir)
        .env("NO_COLOR", "1")
        .env("TMPDIR", temporary)
        .env_remove("XDG_RUNTIME_DIR")
        .args(["run", "--accel", "tcg", "--format", "json"])
        .stdout(Stdio::piped());
    command
}

/// Processes that have this folder as theirs for temporary files: runs, and their machines.
fn processes(temporary: &Path) -> Vec<Pid> {
    let ours = format!("TMPDIR={}", temporary.display()).into_bytes();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|set| set == ours)
        })
        .collect()
}

/// The machines of a run: beside its own process, and beside a QEMU that is only asked what it can do.
fn machines(child: &Child, temporary: &Path) -> Vec<Pid> {
    let own = Pid::from_child(child);
    let folder = temporary.as_os_str().as_encoded_bytes();
    let is_machine = |pid: &Pid| {
        let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
        *pid != own && command.windows(folder.len()).any(|part| part == folder)
    };
    let all = processes(temporary).into_iter();
    all.filter(is_machine).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < patience, "{what} does not come");
        std::thread::yield_now();
    }
}

/// Verdicts and reasons, by scenario.
fn told(output: &[u8]) -> Vec<(String, String)> {
    let document: Value = serde_json::from_slice(output).unwrap();
    let scenarios = document["scenarios"].as_array().unwrap().iter();
    scenarios
        .map(|s| {
            (
                s["verdict"].as_str().unwrap().into(),
                s["reasons"].to_string(),
            )
        })
        .collect()
}

#[test]
fn whatever_is_killed_at_whatever_moment_the_next_run_works_and_nothing_stays() {
    let dir = tempfile::tempdir().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("scenarios/a")).unwrap();
    for (name, text) in [("block", BLOCK), ("card", CARD)] {
        fs::write(dir.path().join(format!("scenarios/a/{name}.toml")), text).unwrap();
    }
    let kills = count("MISFIRE_SOAK_KILLS", KILLS);
    for kill in 0..kills {
        let child = misfire(dir.path(), temporary.path()).spawn().unwrap();
        until("a machine", || {
            !machines(&child, temporary.path()).is_empty()
        });
        // The moments go through a run, in no order.
        std::thread::sleep(Duration::from_millis(kill as u64 * 37 % 401));
        if kill % 2 == 0 {
            let _ = kill_process(Pid::from_child(&child), Signal::KILL);
            child.wait_with_output().unwrap();
        } else {
            for machine in machines(&child, temporary.path()) {
                // It may just have ended.
                let _ = kill_process(machine, Signal::KILL);
            }
            let output = child.wait_with_output().unwrap();
            for (verdict, reasons) in told(&output.stdout) {
                let died = reasons.contains("QEMU was killed by signal 9");
                assert!(
                    verdict == "PASS" || verdict == "ERROR" && died,
                    "{kill}: {verdict}: {reasons}"
                );
            }
        }
        until("the end of every machine", || {
            processes(temporary.path()).is_empty()
        });
    }
    let output = misfire(dir.path(), temporary.path()).output().unwrap();
    let verdicts = told(&output.stdout);
    assert!(verdicts.iter().all(|(v, _)| v == "PASS"), "{verdicts:?}");
    let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().flatten().collect();
    // One that was killed while it made its folder leaves that for a while.
    let swept = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().contains(".new-");
    assert!(left.iter().all(swept), "{left:?}");
}

/// Resident memory of a process in KiB; `None` when it is gone.
fn resident(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[test]
fn many_runs_in_a_row_leave_nothing_and_take_no_more_memory() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let temporary = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let scenarios = root.join("scenarios");
    let runs = count("MISFIRE_SOAK_RUNS", RUNS);
    let mut done = 0;
    let mut part = 0;
    while done < runs {
        // An ordinary test run takes a few of every family.
        let parts = if runs < 100 { 40 } else { 1 };
        part = part % parts + 1;
        let mut child = misfire(&root, temporary.path())
            .args(["--jobs", "2", "--partition", &format!("{part}/{parts}")])
            .arg("--scenarios")
            .arg(&scenarios)
            .arg("--out")
            .arg(out.path())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let mut memory = Vec::new();
        let stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || std::io::read_to_string(stdout).unwrap());
        while child.try_wait().unwrap().is_none() {
            memory.extend(resident(pid));
            std::thread::sleep(Duration::from_millis(50));
        }
        let document = reader.join().unwrap();
        for (verdict, reasons) in told(document.as_bytes()) {
            assert_eq!(verdict, "PASS", "after {done} runs: {reasons}");
            done += 1;
        }
        let most = |samples: &[u64]| samples.iter().max().copied().unwrap_or(0);
        let (early, late) = memory.split_at(memory.len() / 2);
        let (early, late) = (most(early), most(late));
        assert!(
            late <= early + GROWTH,
            "{early} KiB at first, then {late} KiB"
        );
        assert!(processes(temporary.path()).is_empty());
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}
