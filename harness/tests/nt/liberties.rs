//! What the documentation lets a miniport do, and few do: nothing that is checked calls it wrong.

use misfire::report::one_scenario;
use misfire::verdict::Verdict;

use crate::bench::*;

/// What it is put to.
const SCENARIOS: &[&str] = &[
    "vectors/per-queue",
    "vectors/one-granted",
    "interrupts/line",
    "config/changes",
    "reset/needs-reset",
    "power/sleep",
    "hotplug/surprise",
    "rings/stall@until-reset",
];
/// The same for hosts.
const SCSI: &[&str] = &["scsi/disk", "scsi/disk@line", "scsi/units", "scsi/events"];

/// What is said of a miniport that does as its `parameter` says, and is right.
fn wrong(parameter: &str, processors: u16, image: &str, scenarios: &[&str]) -> Vec<String> {
    let parameter = Some(format!("mistake={parameter}"));
    let reports = run_on(processors, image, scenarios, parameter);
    let bad = reports.iter().filter(|r| r.verdict != Verdict::Pass);
    bad.map(|report| format!("{processors}, {image}: {}", one_scenario(report, false)))
        .collect()
}

#[test]
fn a_miniport_that_does_what_few_do_is_right() {
    for processors in [1, 2, 4] {
        let image = ["blk.sys", "blk-release.sys"][usize::from(processors == 2)];
        let mut said = wrong("takes-liberties", processors, image, SCENARIOS);
        said.extend(wrong("takes-liberties", processors, "scsi.sys", SCSI));
        assert!(said.is_empty(), "{}", said.join("\n"));
    }
}

#[test]
fn a_half_duplex_miniport_has_its_interrupt_lock_in_its_other_routines() {
    for processors in [1, 2, 4] {
        let image = ["blk.sys", "blk-release.sys"][usize::from(processors == 2)];
        let mut said = wrong("half-duplex", processors, image, SCENARIOS);
        said.extend(wrong("half-duplex", processors, "scsi.sys", &["scsi/disk"]));
        assert!(said.is_empty(), "{}", said.join("\n"));
    }
}
