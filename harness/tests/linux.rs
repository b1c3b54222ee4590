//! A Linux of the distribution, restored and with our device put in: it works on both attachments.
//!
//! `misfire prepare linux` makes the guest; `ci/test` does it first. Without it these tests fail.

use std::path::{Path, PathBuf};

use misfire::cli::vocabulary;
use misfire::machine::{Accel, Cache, Qemu};
use misfire::report::one_scenario;
use misfire::run::{Options, Snapshots, Subject, run_scenario};
use misfire::scenario::{Interrupts, Library, Outcome};
use misfire::verdict::Verdict;

/// The report of a scenario that ran on the newest Linux that is prepared.
async fn run(name: &str, cold: bool) -> misfire::report::ScenarioReport {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let library = Library::open(Some(&root), &[name.to_owned()], &vocabulary()).unwrap();
    let scenario = library
        .scenarios
        .iter()
        .find(|scenario| scenario.name == name)
        .unwrap();
    let subject = Subject::named("linux", cold)
        .unwrap_or_else(|error| panic!("{error}: run `misfire prepare linux`, as ci/test does"));
    let options = Options {
        subject,
        qemu: Qemu::find(&Cache::of_user()).await.unwrap(),
        accel: Accel::Tcg,
        out: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("linux"),
        snapshots: Snapshots::Leave,
        jobs: 1,
    };
    run_scenario(scenario, &options).await.report
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_linux_uses_a_device_on_both_attachments() {
    for name in ["vectors/per-queue", "attach/vhost-user"] {
        let report = run(name, false).await;
        assert_eq!(
            report.verdict,
            Verdict::Pass,
            "{}",
            one_scenario(&report, false)
        );
        assert_eq!(report.outcome, Some(Outcome::Started));
        assert_eq!(report.interrupts.as_deref(), Some(Interrupts::Msix.word()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_about_the_reference_driver_is_skipped_with_a_reason() {
    let report = run("vectors/per-queue@no-read-back", false).await;
    assert_eq!(report.verdict, Verdict::Skip);
    assert_eq!(
        report.reasons,
        ["a mistake is made by the reference guest's driver only"]
    );
}
