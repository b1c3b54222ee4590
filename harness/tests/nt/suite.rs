//! Every scenario for disks and hosts, on the correct miniports.

use std::path::Path;

use misfire::cli::vocabulary;
use misfire::report::one_scenario;
use misfire::run::Snapshots;
use misfire::scenario::Library;
use misfire::verdict::Verdict;

use crate::bench::*;

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
    "config/torn@not-compared",
    "faults/generation@believed",
];

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
