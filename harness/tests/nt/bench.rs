//! The bench: the miniports of `guests/miniports`, compiled, and scenarios that are run with them as somebody's own
//! driver would be.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use assert_cmd::Command as Misfire;
use misfire::cli::vocabulary;
use misfire::guest::NtDriver;
use misfire::inf::{Architecture, Driver, Inf};
use misfire::machine::{Accel, Cache, Qemu};
use misfire::report::{ScenarioReport, one_scenario};
use misfire::run::{Options, Snapshots, Subject, run_all};
use misfire::scenario::{Library, Scenario};
use misfire::verdict::Verdict;

use crate::said::words;

pub const HERE: &str = env!("CARGO_MANIFEST_DIR");
/// The beginning of the names of a mingw-w64's programs: what ci/setup has put under target, or beside the
/// QEMU that is named, else what is in PATH.
pub fn tools() -> String {
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
pub fn miniports() -> &'static Path {
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

pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(miniports().join(name)).unwrap()
}

/// The mistakes that our miniports can make.
pub fn mistakes() -> Vec<String> {
    let list =
        std::fs::read_to_string(Path::new(HERE).join("guests/miniports/mistakes.h")).unwrap();
    let names = list.lines().filter(|line| line.starts_with("MISTAKE("));
    names
        .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
        .collect()
}

/// Runs scenarios with an image.
pub fn run(image: &str, scenarios: &[&str], parameter: Option<String>) -> Vec<ScenarioReport> {
    run_as(1, image, scenarios, parameter, false)
}

/// The same on so many processors.
pub fn run_on(
    processors: u16,
    image: &str,
    scenarios: &[&str],
    parameter: Option<String>,
) -> Vec<ScenarioReport> {
    run_as(processors, image, scenarios, parameter, false)
}

/// The same on one processor, with a crash dump at the end if it `crashes`.
pub fn run_and_crash(
    image: &str,
    scenarios: &[&str],
    parameter: Option<String>,
    crashes: bool,
) -> Vec<ScenarioReport> {
    run_as(1, image, scenarios, parameter, crashes)
}

pub fn run_as(
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
    let crash = if crashes { "-crash" } else { "" };
    let folder = format!("{made}-{processors}{crash}");
    let mut driver = driver(image, parameter);
    driver.crash_dump = crashes;
    driver.processors = Some(processors);
    run_with(image, chosen, driver, &folder, Snapshots::Leave, 1)
}

/// One of our miniports with its INF, and with what it can be told.
pub fn driver(image: &str, parameter: Option<String>) -> NtDriver {
    let mut driver = NtDriver::new(image, &bytes(image)).unwrap();
    driver.mistakes = mistakes();
    let kind = image.split(['.', '-']).next().unwrap();
    let inf = Path::new(HERE).join(format!("guests/miniports/{kind}.inf"));
    let inf = Inf::read(&inf, &std::fs::read(&inf).unwrap()).unwrap();
    driver.inf = Some(Driver::of(&inf, Architecture::Amd64).models);
    driver.parameter = parameter;
    driver
}

pub fn run_with(
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
pub fn wrong(image: &str, scenarios: &[&str]) -> Vec<String> {
    wrong_on(1, image, scenarios)
}

pub fn wrong_on(processors: u16, image: &str, scenarios: &[&str]) -> Vec<String> {
    let reports = run_on(processors, image, scenarios, None);
    let bad = reports.iter().filter(|r| r.verdict != Verdict::Pass);
    bad.map(|report| one_scenario(report, false)).collect()
}

/// The plain miniport for a scenario.
pub fn image_for(scenario: &str) -> &'static str {
    match scenario.starts_with("scsi/") {
        true => "scsi.sys",
        false => "blk.sys",
    }
}

/// The rules that a run breaks.
pub fn broken(report: &ScenarioReport) -> Vec<&'static str> {
    let broken = report.rules.iter().filter(|rule| rule.fails());
    broken.map(|rule| rule.id).collect()
}

/// What the guest printed.
pub fn log(report: &ScenarioReport) -> String {
    std::fs::read_to_string(&report.files["log"]).unwrap()
}

/// What `misfire run --guest nt` with these arguments says, with its exit status.
pub fn misfire(arguments: &[&str]) -> (Option<i32>, String) {
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
    (output.status.code(), words(&said))
}
