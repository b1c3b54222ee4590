//! Every scenario, and every variant of one, is a test: the guest is booted, the device misbehaves,
//! the verdict must be as expected, and the transcript must be that of the snapshot.
//!
//! `cargo test --test conformance vectors/` runs a family; `cargo insta review` shows transcripts that
//! changed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use misfire::cli::vocabulary;
use misfire::machine::{Accel, Cache, Qemu};
use misfire::report::one_scenario;
use misfire::run::{Options, Snapshots, Subject, run_scenario};
use misfire::scenario::{Library, Scenario};
use misfire::snapshot::Comparison;
use misfire::verdict::Verdict;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let library = match Library::open(Some(&root), &[], &vocabulary()) {
        Ok(library) => library,
        Err(problems) => {
            eprintln!("{:?}", miette::Report::new(problems));
            return ExitCode::FAILURE;
        }
    };
    let runtime = match Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let trials = library
        .scenarios
        .into_iter()
        .map(|scenario| {
            let runtime = Arc::clone(&runtime);
            Trial::test(scenario.name.clone(), move || test(&scenario, &runtime))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn test(scenario: &Scenario, runtime: &Runtime) -> Result<(), Failed> {
    let run = runtime.block_on(async {
        // A machine without QEMU can't pass: it says what to install.
        let qemu = Qemu::find(&Cache::of_user())
            .await
            .map_err(|error| format!("{error}\n{}", error.help().unwrap_or_default()))?;
        let options = Options {
            subject: Subject::Reference,
            qemu,
            accel: Accel::Tcg,
            out: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("conformance"),
            snapshots: Snapshots::Leave,
            jobs: 1,
        };
        Ok::<_, String>(run_scenario(scenario, &options).await)
    })?;
    if run.report.verdict != Verdict::Pass {
        return Err(one_scenario(&run.report, false).into());
    }
    let path = scenario.snapshot();
    if let (Some(cell), Some(row)) = (scenario.cell(), &run.row) {
        return match misfire::snapshot::row::compare(&path, cell, row) {
            Ok(Comparison::Same) => Ok(()),
            Ok(other) => Err(format!("{} has another line: {other:?}", path.display()).into()),
            Err(error) => Err(format!("{}: {error}", path.display()).into()),
        };
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_stem()) else {
        return Err("the scenario has no place for a snapshot".into());
    };
    let assert = || {
        insta::with_settings!({
            snapshot_path => folder,
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(name.to_string_lossy().into_owned(), run.transcript);
        });
    };
    catch_unwind(AssertUnwindSafe(assert))
        .map_err(|_| Failed::from("the transcript is not that of the snapshot: see above"))
}
