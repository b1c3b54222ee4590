//! The guest of kind `nt`: drivers that are images. The miniports of `guests/miniports` are compiled, read,
//! and run as somebody's own driver would be.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use assert_cmd::Command as Misfire;
use misfire::cli::vocabulary;
use misfire::guest::NtDriver;
use misfire::image::Image;
use misfire::inf::{Architecture, Driver, Inf};
use misfire::machine::{Accel, Cache, Qemu};
use misfire::report::{ScenarioReport, one_scenario};
use misfire::rules::Outcome as Ruling;
use misfire::run::{Options, Snapshots, Subject, run_all};
use misfire::scenario::{Library, Outcome, Scenario};
use misfire::verdict::Verdict;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The builds of the correct miniports.
const BUILDS: [&str; 4] = ["blk.sys", "blk-release.sys", "scsi.sys", "scsi-release.sys"];
/// Why scenarios are not for our miniports: how the sentences begin or end.
const NOT_FOR_THEM: &[&str] = &[
    "a StorPort miniport is no driver for a ",
    "none of the INF's ",
    "the driver makes the mistake ",
    "it tells the driver how to reach its device, ",
    "nothing in Windows asks a miniport for ",
];
/// When this is set, what comes out is written into the tables of snapshots.
const BLESS: &str = "MISFIRE_BLESS_NT";
/// Scenarios in which the miniport makes a mistake.
const MISTAKEN: &[&str] = &[
    "vectors/per-queue@no-read-back",
    "vectors/per-queue@vector-after-enable",
    "vectors/per-queue@early-notify",
    "vectors/per-queue@features-unchecked",
];

/// Mistakes in what StorPort asks for: each with the scenario that shows it, and the rules that it breaks.
const BREACHES: &[(&str, &str, &[&str])] = &[
    ("irql-kept", "vectors/per-queue", &["WIN-SPT-001"]),
    ("lock-taken-twice", "vectors/per-queue", &["WIN-SPT-002"]),
    ("lock-kept", "vectors/per-queue", &["WIN-SPT-002"]),
    ("completes-twice", "vectors/per-queue", &["WIN-SPT-003"]),
    (
        "reset-keeps-requests",
        "rings/stall@until-reset",
        &["WIN-SPT-003"],
    ),
    ("address-not-mapped", "vectors/per-queue", &["WIN-SPT-004"]),
    (
        "dpc-not-initialised",
        "shapes/table@msix=1,pin=true,queues=1",
        &["WIN-SPT-005"],
    ),
    (
        "found-odd",
        "shapes/features@no-version-1",
        &["WIN-SPT-006"],
    ),
    ("long-stall", "vectors/per-queue", &["WIN-SPT-007"]),
    ("touches-completed", "vectors/per-queue", &["WIN-SPT-008"]),
    ("touches-removed", "hotplug/surprise", &["WIN-SPT-009"]),
    ("locks-out-of-order", "vectors/per-queue", &["WIN-SPT-002"]),
    ("locks-either-way", "vectors/per-queue", &["WIN-SPT-020"]),
    ("keeps-pnp-request", "hotplug/orderly", &["WIN-SPT-010"]),
    ("keeps-power-request", "power/sleep", &["WIN-SPT-010"]),
    (
        "control-list-overrun",
        "vectors/per-queue",
        &["WIN-SPT-011"],
    ),
    ("unit-list-overrun", "scsi/disk", &["WIN-SPT-011"]),
    (
        "overruns-common-buffer",
        "vectors/per-queue",
        &["WIN-SPT-012", "WIN-SYS-001"],
    ),
    (
        "overruns-srb-extension",
        "vectors/per-queue",
        &["WIN-SPT-012", "WIN-SYS-001"],
    ),
    (
        "overruns-device-extension",
        "vectors/per-queue",
        &["WIN-SPT-012", "WIN-SYS-001"],
    ),
    ("dma-elsewhere", "vectors/per-queue", &["WIN-SPT-013"]),
    ("claims-all", "interrupts/line", &["WIN-SPT-014"]),
    ("claims-nothing", "interrupts/line", &["WIN-SPT-014"]),
    (
        "endless-poll",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    (
        "endless-memory-poll",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    (
        "endless-poll-in-interrupt",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    (
        "endless-poll-in-dpc",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    (
        "endless-loop",
        "vectors/per-queue",
        &["WIN-SPT-015", "WIN-SYS-001"],
    ),
    ("completes-early", "vectors/per-queue", &["WIN-SPT-017"]),
];

/// Mistakes that a miniport makes while it writes a crash dump: each breaks WIN-SPT-016.
const DUMP_BREACHES: &[&str] = &[
    "dump-initialises-dpc",
    "dump-reads-registry",
    "dump-waits-for-interrupt",
    "dump-takes-memory",
];

/// The beginning of the names of a mingw-w64's programs: what ci/setup has put under target, or beside the
/// QEMU that is named, else what is in PATH.
fn tools() -> String {
    const NAME: &str = "x86_64-w64-mingw32-";
    let targets = [env!("CARGO_TARGET_TMPDIR").into(), HERE.into()];
    let qemu = std::env::var_os("MISFIRE_QEMU").map(PathBuf::from);
    let places: Vec<PathBuf> = targets.into_iter().chain(qemu).collect();
    let folders = places.iter().flat_map(|at| at.ancestors());
    let private = folders
        .flat_map(|at| [at.join("mingw/bin"), at.join("target/mingw/bin")])
        .map(|bin| bin.join(NAME).display().to_string())
        .find(|prefix| Path::new(&format!("{prefix}gcc")).exists());
    private.unwrap_or_else(|| NAME.into())
}

/// The folder of the compiled miniports.
fn miniports() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("miniports");
        let output = Command::new(Path::new(HERE).join("guests/miniports/build"))
            .arg(tools())
            .arg(&folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "the miniports can't be compiled (ci/setup sees to a mingw-w64): {said}"
        );
        folder
    })
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(miniports().join(name)).unwrap()
}

/// The mistakes that our miniports can make.
fn mistakes() -> Vec<String> {
    let list =
        std::fs::read_to_string(Path::new(HERE).join("guests/miniports/mistakes.h")).unwrap();
    let names = list.lines().filter(|line| line.starts_with("MISTAKE("));
    names
        .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
        .collect()
}

/// Runs scenarios with an image.
fn run(image: &str, scenarios: &[&str], parameter: Option<String>) -> Vec<ScenarioReport> {
    run_as(1, image, scenarios, parameter, false)
}

/// The same on so many processors.
fn run_on(
    processors: u16,
    image: &str,
    scenarios: &[&str],
    parameter: Option<String>,
) -> Vec<ScenarioReport> {
    run_as(processors, image, scenarios, parameter, false)
}

/// The same on one processor, with a crash dump at the end if it `crashes`.
fn run_and_crash(
    image: &str,
    scenarios: &[&str],
    parameter: Option<String>,
    crashes: bool,
) -> Vec<ScenarioReport> {
    run_as(1, image, scenarios, parameter, crashes)
}

fn run_as(
    processors: u16,
    image: &str,
    scenarios: &[&str],
    parameter: Option<String>,
    crashes: bool,
) -> Vec<ScenarioReport> {
    let root = Path::new(HERE).join("../scenarios");
    let names: Vec<String> = scenarios.iter().map(|name| (*name).to_owned()).collect();
    let library = Library::open(Some(&root), &names, &vocabulary()).unwrap();
    let mut chosen = library.scenarios;
    chosen.retain(|scenario| scenarios.contains(&scenario.name.as_str()));
    assert_eq!(chosen.len(), scenarios.len());
    let made = parameter.clone().unwrap_or_else(|| "correct".into());
    let folder = format!("{made}-{processors}");
    let mut driver = driver(image, parameter);
    driver.crash_dump = crashes;
    driver.processors = Some(processors);
    run_with(image, chosen, driver, &folder, Snapshots::Leave, 1)
}

/// One of our miniports with its INF, and with what it can be told.
fn driver(image: &str, parameter: Option<String>) -> NtDriver {
    let mut driver = NtDriver::new(image, &bytes(image)).unwrap();
    driver.mistakes = mistakes();
    let kind = image.split(['.', '-']).next().unwrap();
    let inf = Path::new(HERE).join(format!("guests/miniports/{kind}.inf"));
    let inf = Inf::read(&inf, &std::fs::read(&inf).unwrap()).unwrap();
    driver.inf = Some(Driver::of(&inf, Architecture::Amd64).models);
    driver.parameter = parameter;
    driver
}

fn run_with(
    image: &str,
    scenarios: Vec<Scenario>,
    driver: NtDriver,
    folder: &str,
    snapshots: Snapshots,
    jobs: usize,
) -> Vec<ScenarioReport> {
    let runs = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("nt");
        let options = Options {
            subject: Subject::Nt(Box::new(driver)),
            qemu: Qemu::find(&Cache::of_user()).await.unwrap(),
            accel: Accel::Tcg,
            out: out.join(image).join(folder),
            snapshots,
            jobs,
            keeping: misfire::run::KeptAside::default(),
        };
        let (tell, _) = tokio::sync::mpsc::unbounded_channel();
        run_all(scenarios, options, tell, std::future::pending())
            .await
            .unwrap()
    });
    runs.each.into_iter().map(|run| run.report).collect()
}

/// Runs scenarios with an image, and says which are not as expected.
fn wrong(image: &str, scenarios: &[&str]) -> Vec<String> {
    wrong_on(1, image, scenarios)
}

fn wrong_on(processors: u16, image: &str, scenarios: &[&str]) -> Vec<String> {
    let reports = run_on(processors, image, scenarios, None);
    let bad = reports.iter().filter(|r| r.verdict != Verdict::Pass);
    bad.map(|report| one_scenario(report, false)).collect()
}

#[test]
fn both_builds_are_read_and_import_nothing_that_the_model_lacks() {
    for kind in ["blk", "scsi"] {
        both_builds_are_read(kind);
    }
}

fn both_builds_are_read(kind: &str) {
    let plain = Image::read(&bytes(&format!("{kind}.sys"))).unwrap();
    let release = Image::read(&bytes(&format!("{kind}-release.sys"))).unwrap();
    assert_eq!((plain.missing(), release.missing()), (vec![], vec![]));
    assert_eq!((plain.cookie, plain.functions), (None, None));
    assert!(release.cookie.is_some() && release.functions.is_some());
    assert!(release.sections.iter().any(|s| s.name == "INIT"));
    // Registers are imported calls in the one, and instructions in the other.
    let calls = |image: &Image| {
        image
            .imports
            .iter()
            .filter(|i| i.name.contains("Register"))
            .count()
    };
    assert!(calls(&plain) > 0 && calls(&release) == 0);
}

#[test]
fn an_image_that_is_cut_off_anywhere_is_refused() {
    let whole = bytes("blk-release.sys");
    let ends = (0..whole.len())
        .step_by(101)
        .chain(whole.len() - 64..whole.len());
    for end in ends {
        assert!(
            Image::read(&whole[..end]).is_err(),
            "{end} bytes of {}",
            whole.len()
        );
    }
}

/// Every scenario of the suite with an image, against the tables of snapshots. What is not as it should be.
fn whole_suite(image: &str) -> Vec<String> {
    let root = Path::new(HERE).join("../scenarios");
    let library = Library::open(Some(&root), &[], &vocabulary()).unwrap();
    let snapshots = match std::env::var_os(BLESS) {
        Some(_) => Snapshots::Bless,
        None => Snapshots::Compare,
    };
    let driver = driver(image, None);
    let reports = run_with(image, library.scenarios, driver, "suite", snapshots, 2);
    let name = image.trim_end_matches(".sys");
    let mut wrong = Vec::new();
    for report in &reports {
        let skipped = report.verdict == Verdict::Skip;
        let known = |reason: &String| NOT_FOR_THEM.iter().any(|begin| reason.starts_with(begin));
        let right = match report.verdict {
            Verdict::Pass => true,
            Verdict::Skip => report.reasons.iter().all(known),
            _ => false,
        };
        if !right {
            wrong.push(format!("{image}: {}", one_scenario(report, false)));
        } else if !skipped && !has_line(&root, &report.name, name) {
            wrong.push(format!(
                "{image}: {}: no line in nt.snap ({BLESS}=1 writes it)",
                report.name
            ));
        }
    }
    let run = reports.iter().filter(|r| r.verdict == Verdict::Pass);
    let least = if name.starts_with("blk") { 200 } else { 50 };
    assert!(run.count() >= least, "{image}");
    wrong
}

/// Whether the table of a scenario's family has a line for it on a driver.
fn has_line(root: &Path, scenario: &str, driver: &str) -> bool {
    let (family, name) = scenario.split_once('/').unwrap();
    let table = root.join(family).join("snapshots/nt.snap");
    let table = std::fs::read_to_string(table).unwrap_or_default();
    table.lines().any(|line| {
        let mut parts = line.splitn(3, ": ");
        let (what, whom) = (parts.next(), parts.next().unwrap_or_default());
        what == Some(name) && whom.split(", ").any(|known| known == driver)
    })
}

#[test]
fn every_scenario_for_disks_and_hosts_passes_on_the_miniports_as_their_tables_say() {
    let wrong: Vec<String> = BUILDS.into_iter().flat_map(whole_suite).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_miniport_that_offers_its_buffers_too_early_is_found() {
    let wrong = wrong("scsi.sys", &["scsi/disk@early-events"]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_miniports_mistake_breaks_the_rule_that_it_is_there_for_and_no_other() {
    let wrong = wrong("blk.sys", MISTAKEN);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_correct_miniport_keeps_what_storport_asks_for() {
    let reports = run(
        "blk-release.sys",
        &[
            "vectors/per-queue",
            "reset/slow",
            "hotplug/surprise",
            "interrupts/line",
        ],
        None,
    );
    for id in [
        "001", "002", "003", "004", "005", "006", "007", "008", "009", "010", "011", "012", "013",
        "014", "015", "017",
    ] {
        let id = format!("WIN-SPT-{id}");
        let mut rules = reports.iter().flat_map(|report| &report.rules);
        assert!(
            rules.any(|r| r.id == id && r.outcome == Ruling::Held),
            "{id}"
        );
    }
}

#[test]
fn a_breach_of_what_storport_asks_for_breaks_its_rule_and_no_other() {
    for (mistake, scenario, rules) in BREACHES {
        let image = if scenario.starts_with("scsi/") {
            "scsi.sys"
        } else {
            "blk.sys"
        };
        let reports = run(image, &[scenario], Some(format!("mistake={mistake}")));
        let broken = reports[0].rules.iter().filter(|rule| rule.fails());
        let broken: Vec<&str> = broken.map(|rule| rule.id).collect();
        assert_eq!(
            broken,
            *rules,
            "{mistake}: {}",
            one_scenario(&reports[0], false)
        );
    }
}

#[test]
fn every_mistake_of_the_miniports_is_made_in_a_scenario_or_a_test() {
    let root = Path::new(HERE).join("../scenarios");
    let library = Library::open(Some(&root), &[], &vocabulary()).unwrap();
    let drivers = ["blk.sys", "scsi.sys"].map(|image| driver(image, None));
    let scenarios = library.scenarios.iter();
    let scenarios = scenarios.filter(|s| drivers.iter().any(|d| d.unsuited(s).is_none()));
    let mut made: Vec<&str> = scenarios
        .flat_map(|s| std::iter::once(&s.guest.all).chain(&s.guest.devices))
        .flat_map(|set| set.mistakes.iter().map(String::as_str))
        .collect();
    made.extend(BREACHES.iter().chain(RACES).map(|(mistake, ..)| *mistake));
    made.extend(DUMP_BREACHES);
    // The first two are none, the others have tests of their own or are made with scenarios' own words.
    made.extend(["legacy-interface", "calls-routines", "deadlocks"]);
    let left = mistakes();
    let left: Vec<_> = left
        .iter()
        .filter(|own| !made.contains(&own.as_str()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_crash_dump_is_written_without_interrupts_and_read_back() {
    for (image, scenario) in [
        ("blk.sys", "vectors/shared"),
        ("blk-release.sys", "interrupts/line"),
        ("scsi.sys", "scsi/disk"),
        ("scsi-release.sys", "scsi/disk@line"),
    ] {
        let reports = run_and_crash(image, &[scenario], None, true);
        let text = one_scenario(&reports[0], false);
        assert_eq!(reports[0].verdict, Verdict::Pass, "{image}: {text}");
        let mut rules = reports[0].rules.iter();
        let kept = rules.any(|r| r.id == "WIN-SPT-016" && r.outcome == Ruling::Held);
        assert!(kept, "{image}: {text}");
    }
}

#[test]
fn what_may_not_be_done_while_a_dump_is_written_is_found_and_nothing_else() {
    for mistake in DUMP_BREACHES {
        let parameter = Some(format!("mistake={mistake}"));
        let reports = run_and_crash("blk.sys", &["vectors/shared"], parameter, true);
        let broken = reports[0].rules.iter().filter(|rule| rule.fails());
        let broken: Vec<&str> = broken.map(|rule| rule.id).collect();
        assert_eq!(
            broken,
            ["WIN-SPT-016"],
            "{mistake}: {}",
            one_scenario(&reports[0], false)
        );
    }
}

#[test]
fn an_overrun_is_a_crash_that_names_its_place_in_the_image() {
    let parameter = Some("mistake=overruns-common-buffer".to_owned());
    let reports = run("blk-release.sys", &["vectors/per-queue"], parameter);
    assert_eq!(reports[0].outcome, Some(Outcome::Crashed));
    let log = std::fs::read_to_string(&reports[0].files["log"]).unwrap();
    assert!(
        log.contains("NT: the exception is in blk-release.sys+0x"),
        "{log}"
    );
    assert!(log.contains("(the function 0x"), "{log}");
    let calls = log
        .lines()
        .skip_while(|line| !line.contains("the last calls into the model"));
    let calls: Vec<&str> = calls.skip(1).take(2).collect();
    assert!(
        calls[0].contains("NT:   StorPortGetUncachedExtension from blk-release.sys+0x"),
        "{log}"
    );
    assert!(calls[1].contains("NT:   StorPort"), "{log}");
}

/// What the correct miniports are put to on several processors.
const PARALLEL: &[&str] = &[
    "vectors/processors",
    "vectors/per-queue",
    "vectors/shared",
    "vectors/one-granted",
    "vectors/rebalance",
    "interrupts/line",
    "config/changes",
    "reset/needs-reset",
    "power/sleep",
    "hotplug/surprise",
    "rings/split@largest",
    "rings/stall@until-reset",
];
/// The same for hosts.
const PARALLEL_SCSI: &[&str] = &[
    "scsi/disk",
    "scsi/disk@one-vector",
    "scsi/disk@line",
    "scsi/events",
    "scsi/task-management",
];
/// Mistakes that are none on one processor, and what they break on two.
const RACES: &[(&str, &str, &[&str])] = &[
    ("submits-from-build", "vectors/per-queue", &["WIN-SPT-021"]),
    (
        "messages-share-a-word",
        "vectors/per-queue",
        &["WIN-SPT-021"],
    ),
    (
        "lock-released-elsewhere",
        "vectors/processors",
        &["WIN-SPT-002"],
    ),
];

#[test]
fn the_correct_miniports_are_right_on_several_processors() {
    for processors in [2, 4] {
        for image in ["blk.sys", "blk-release.sys"] {
            let wrong = wrong_on(processors, image, PARALLEL);
            assert!(
                wrong.is_empty(),
                "{processors}, {image}: {}",
                wrong.join("\n")
            );
        }
    }
    let wrong = wrong_on(2, "scsi-release.sys", PARALLEL_SCSI);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn locks_and_what_they_guard_are_put_to_the_test_on_two_processors() {
    let reports = run_on(2, "blk.sys", &["vectors/per-queue"], None);
    let log = std::fs::read_to_string(&reports[0].files["log"]).unwrap();
    assert!(log.contains("NT: 2 processors"), "{log}");
    for id in ["WIN-SPT-020", "WIN-SPT-021"] {
        let mut rules = reports[0].rules.iter();
        assert!(
            rules.any(|r| r.id == id && r.outcome == Ruling::Held),
            "{id}"
        );
    }
}

#[test]
fn a_race_is_found_on_two_processors_and_is_none_on_one() {
    for (mistake, scenario, rules) in RACES {
        for (processors, rules) in [(1, &[][..]), (2, *rules)] {
            let parameter = Some(format!("mistake={mistake}"));
            let reports = run_on(processors, "blk.sys", &[scenario], parameter);
            let broken = reports[0].rules.iter().filter(|rule| rule.fails());
            let broken: Vec<&str> = broken.map(|rule| rule.id).collect();
            assert_eq!(
                broken,
                rules,
                "{mistake} on {processors}: {}",
                one_scenario(&reports[0], false)
            );
        }
    }
}

#[test]
fn processors_that_wait_for_each_other_are_a_stop_that_says_who_has_which_lock() {
    let parameter = Some("mistake=deadlocks".to_owned());
    let reports = run_on(2, "blk-release.sys", &["vectors/processors"], parameter);
    let broken = reports[0].rules.iter().filter(|rule| rule.fails());
    let broken: Vec<&str> = broken.map(|rule| rule.id).collect();
    let text = one_scenario(&reports[0], false);
    assert_eq!(broken, ["WIN-SPT-020", "WIN-SYS-001"], "{text}");
    let log = std::fs::read_to_string(&reports[0].files["log"]).unwrap();
    assert!(
        log.contains("processors wait for each other; processor 0: "),
        "{log}"
    );
    assert!(log.contains("MISFIRE: crash 0x133"), "{log}");
}

#[test]
fn the_other_processors_are_stopped_while_a_crash_dump_is_written() {
    let reports = run_as(2, "blk.sys", &["vectors/processors"], None, true);
    let text = one_scenario(&reports[0], false);
    assert_eq!(reports[0].verdict, Verdict::Pass, "{text}");
    let log = std::fs::read_to_string(&reports[0].files["log"]).unwrap();
    assert!(
        log.contains("NT: the other processors have stopped"),
        "{log}"
    );
    assert!(log.contains("NT: the crash dump is written"), "{log}");
}

#[test]
fn where_a_driver_waits_without_an_end_is_said_with_its_routine_and_the_register() {
    for (mistake, routine, what) in [
        (
            "endless-poll-in-interrupt",
            "the interrupt routine",
            "it polls the register at 0x14 of BAR",
        ),
        (
            "endless-poll-in-dpc",
            "HwStorDpcRoutine",
            "it polls the register at 0x14 of BAR",
        ),
        (
            "endless-poll",
            "HwStorInitialize",
            "it polls the register at 0x12 of BAR",
        ),
        (
            "endless-memory-poll",
            "HwStorInitialize",
            "it polls the common buffer at ",
        ),
        (
            "endless-loop",
            "HwStorInitialize",
            "does not come back: it is at blk-release.sys+0x",
        ),
    ] {
        let parameter = Some(format!("mistake={mistake}"));
        let reports = run("blk-release.sys", &["vectors/per-queue"], parameter);
        let log = std::fs::read_to_string(&reports[0].files["log"]).unwrap();
        let found = log.lines().any(|line| {
            line.contains("NT: check poll") && line.contains(routine) && line.contains(what)
        });
        assert!(found, "{mistake}: {log}");
        assert_eq!(reports[0].outcome, Some(Outcome::Wedged), "{mistake}");
    }
}

fn misfire(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Misfire::cargo_bin("misfire").unwrap();
    let root = Path::new(HERE).join("../scenarios").display().to_string();
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("nt/command");
    let output = command
        .args(["run", "--guest", "nt", "--scenarios", &root, "--out"])
        .arg(out)
        .args(arguments)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    // Messages are broken into lines as wide as a terminal.
    let words: Vec<String> = String::from_utf8_lossy(&said)
        .split_whitespace()
        .filter(|word| *word != "│")
        .map(str::to_owned)
        .collect();
    (output.status.code(), words.join(" "))
}

#[test]
fn what_is_no_driver_is_refused_with_its_name_and_nothing_is_started() {
    let readme = Path::new(HERE).join("Cargo.toml").display().to_string();
    let (status, said) = misfire(&["vectors/per-queue", "--driver", &readme]);
    assert_eq!(status, Some(2));
    assert!(
        said.contains("Cargo.toml") && said.contains("not a PE image"),
        "{said}"
    );
    let (status, said) = misfire(&["vectors/per-queue"]);
    assert_eq!(status, Some(2));
    assert!(said.contains("--driver X.sys"), "{said}");
}

#[test]
fn an_inf_with_a_value_that_cannot_be_handed_on_is_refused_with_its_line() {
    let image = miniports().join("blk.sys").display().to_string();
    let own = Path::new(HERE).join("guests/miniports/blk.inf");
    let text =
        std::fs::read_to_string(own).unwrap() + "HKR, Parameters\\Device, Odd, 0x00010000, a\n";
    let inf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("odd-value.inf");
    std::fs::write(&inf, &text).unwrap();
    let inf = inf.display().to_string();
    let (status, said) = misfire(&["vectors/per-queue", "--driver", &image, "--inf", &inf]);
    assert_eq!(status, Some(2), "{said}");
    let line = format!(":{}:", text.lines().count());
    assert!(said.contains(&line), "{line}: {said}");
    assert!(said.contains("REG_BINARY"), "{said}");
}

#[test]
fn what_the_kernel_exports_answers_as_it_should() {
    let image = miniports().join("routines.sys").display().to_string();
    let (status, said) = misfire(&["vectors/shared", "--driver", &image]);
    assert_eq!(status, Some(1), "{said}");
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nt/command/vectors/shared/guest.log");
    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("ROUTINE:"))
        .collect();
    assert_eq!(lines.len(), 19, "{log}");
    assert!(lines.iter().all(|line| line.ends_with(" answers")), "{log}");
}

#[test]
fn what_the_port_driver_is_asked_for_by_a_code_answers_as_it_should() {
    for processors in [1, 2] {
        let parameter = Some("mistake=calls-routines".to_owned());
        let reports = run_on(processors, "blk.sys", &["vectors/processors"], parameter);
        let text = one_scenario(&reports[0], false);
        let broken = reports[0].rules.iter().filter(|rule| rule.fails());
        assert_eq!(broken.count(), 0, "{text}");
        let log = std::fs::read_to_string(&reports[0].files["log"]).unwrap();
        let lines = log.lines().filter(|line| line.contains("ROUTINE:"));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 18, "{log}");
        assert!(lines.iter().all(|line| line.ends_with(" answers")), "{log}");
        // What it does not have is told by its name.
        assert!(
            log.contains("NT: StorPortExtendedFunction(27), InvokeAcpiMethod, is not modelled"),
            "{log}"
        );
    }
}

#[test]
fn a_miniport_reads_what_its_inf_puts_into_the_registry_and_nothing_without_one() {
    let told = |inf: bool| {
        let root = Path::new(HERE).join("../scenarios");
        let name = "vectors/per-queue";
        let library = Library::open(Some(&root), &[name.into()], &vocabulary()).unwrap();
        let mut chosen = library.scenarios;
        chosen.retain(|scenario| scenario.name == name);
        let mut driver = driver("blk.sys", Some("mistake=calls-routines".into()));
        driver.inf = driver.inf.filter(|_| inf);
        let folder = if inf { "registry" } else { "no-registry" };
        let reports = run_with("blk.sys", chosen, driver, folder, Snapshots::Leave, 1);
        let log = std::fs::read_to_string(&reports[0].files["log"]).unwrap();
        let lines = log
            .lines()
            .filter_map(|line| line.split("REGISTRY: ").nth(1));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let with = [
        "too small by 4",
        "number 1234 of 4 bytes",
        "text of all of 7 bytes",
        "bytes a ff of 2",
        "written 5 of 4 bytes",
    ];
    assert_eq!(told(true), with);
    let without = [
        "too small by 0",
        "no number, 0 bytes",
        "written 5 of 4 bytes",
    ];
    assert_eq!(told(false), without);
}

/// What two StorPort drivers for virtio devices import that were built from their source: `storport.sys`, then
/// `ntoskrnl.exe`.
const IMPORTED: [&[&str]; 2] = [
    &[
        "StorPortAllocateRegistryBuffer",
        "StorPortBusy",
        "StorPortExtendedFunction",
        "StorPortFreeRegistryBuffer",
        "StorPortGetBusData",
        "StorPortGetDeviceBase",
        "StorPortGetPhysicalAddress",
        "StorPortGetScatterGatherList",
        "StorPortGetUncachedExtension",
        "StorPortInitialize",
        "StorPortMoveMemory",
        "StorPortNotification",
        "StorPortPause",
        "StorPortReadPortUchar",
        "StorPortReadPortUlong",
        "StorPortReadPortUshort",
        "StorPortReadRegisterUchar",
        "StorPortReadRegisterUlong",
        "StorPortReadRegisterUshort",
        "StorPortRegistryRead",
        "StorPortResume",
        "StorPortSetDeviceQueueDepth",
        "StorPortStallExecution",
        "StorPortSynchronizeAccess",
        "StorPortWritePortUchar",
        "StorPortWritePortUlong",
        "StorPortWritePortUshort",
        "StorPortWriteRegisterUchar",
        "StorPortWriteRegisterUlong",
        "StorPortWriteRegisterUshort",
    ],
    &[
        "DbgPrint",
        "KeBugCheck",
        "KeBugCheckEx",
        "KeQueryActiveProcessorCountEx",
        "KeQueryMaximumProcessorCountEx",
        "MmGetPhysicalAddress",
        "_vsnprintf",
        "_vsnwprintf",
        "memcpy",
        "memset",
        "strlen",
        "wcslen",
    ],
];

#[test]
fn what_storport_drivers_import_is_there_or_said_in_the_documentation_to_be_missing() {
    use misfire::image::{KERNEL, STORPORT};
    let page = Path::new(HERE).join("../docs/nt-guest.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (wanted, known) in IMPORTED.into_iter().zip([STORPORT, KERNEL]) {
        for name in wanted {
            assert!(known.contains(name) || page.contains(name), "{name}");
        }
    }
}

#[test]
fn an_import_that_the_model_lacks_is_named_before_the_start_or_when_it_is_called() {
    let image = miniports().join("missing.sys").display().to_string();
    let arguments = ["vectors/per-queue", "--driver", &image];
    let (status, said) = misfire(&arguments);
    assert_eq!(status, Some(2));
    assert!(said.contains("IoNoSuchRoutine of ntoskrnl.exe"), "{said}");
    let (status, said) = misfire(&[&arguments[..], &["--allow-missing"]].concat());
    assert_eq!(status, Some(1));
    assert!(
        said.contains("crashed") && said.contains("not Windows"),
        "{said}"
    );
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nt/command/vectors/per-queue/guest.log");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(
        log.contains("the driver calls IoNoSuchRoutine of ntoskrnl.exe"),
        "{log}"
    );
}
