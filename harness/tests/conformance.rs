//! Every scenario, and every variant of one, is a test: the guest is booted, the device misbehaves,
//! the verdict must be as expected, and the transcript must be that of the snapshot.
//!
//! `cargo test --test conformance vectors/` runs a family; `cargo insta review` shows transcripts that
//! changed.
//!
//! When all of them were run, what they prove together is one test more: `misfire proof` with these runs.

use std::future::pending;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use misfire::cli::vocabulary;
use misfire::machine::{Accel, Cache, Qemu};
use misfire::proof::{Proof, Scope, Shown, prove, trials, without_faults};
use misfire::report::one_scenario;
use misfire::run::{Options, Run, Snapshots, Subject, run_all, run_scenario};
use misfire::scenario::{Library, Scenario};
use misfire::snapshot::Comparison;
use misfire::verdict::Verdict;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::unbounded_channel;

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
    let shown = Arc::new(Mutex::new(Vec::new()));
    let tests = library.scenarios.into_iter().map(|scenario| {
        let (runtime, shown) = (Arc::clone(&runtime), Arc::clone(&shown));
        Trial::test(scenario.name.clone(), move || {
            let run = runtime.block_on(async {
                let options = options(1).await?;
                Ok::<_, String>(run_scenario(&scenario, &options).await)
            })?;
            let result = test(&scenario, &run);
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.push((scenario, run));
            result
        })
    });
    let conclusion = libtest_mimic::run(&arguments, tests.collect());
    if arguments.list || arguments.filter.is_some() || conclusion.num_filtered_out > 0 {
        return conclusion.exit_code();
    }
    let together = Trial::test("what the scenarios prove together", move || {
        let shown = std::mem::take(&mut *shown.lock().unwrap_or_else(PoisonError::into_inner));
        judge(&runtime.block_on(proof(&shown))?)
    });
    let together = libtest_mimic::run(&arguments, vec![together]);
    if conclusion.has_failed() || together.has_failed() {
        return ExitCode::from(FAILED);
    }
    ExitCode::SUCCESS
}

/// What test harnesses leave with when a test has failed.
const FAILED: u8 = 101;

/// How scenarios are run, so many at a time.
async fn options(jobs: usize) -> Result<Options, String> {
    // A machine without QEMU can't pass: it says what to install.
    let qemu = Qemu::find(&Cache::of_user())
        .await
        .map_err(|error| format!("{error}\n{}", error.help().unwrap_or_default()))?;
    Ok(Options {
        subject: Subject::Reference,
        qemu,
        accel: Accel::Tcg,
        out: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("conformance"),
        snapshots: Snapshots::Leave,
        jobs,
        keeping: misfire::run::KeptAside::default(),
    })
}

/// What these runs prove. What they prove of faults needs more runs, without the faults.
async fn proof(shown: &[(Scenario, Run)]) -> Result<Proof, String> {
    let shown: Vec<Shown<'_>> = shown
        .iter()
        .map(|(scenario, run)| Shown { scenario, run })
        .collect();
    let jobs = std::thread::available_parallelism().map_or(1, NonZero::get);
    let options = options(jobs).await?;
    let again = async |scenarios| {
        let (progress, _) = unbounded_channel();
        let runs = run_all(scenarios, options.clone(), progress, pending::<()>()).await;
        runs.map(|runs| runs.each).ok_or("interrupted".to_owned())
    };
    let changed = without_faults(trials(&shown, Scope::All), again).await?;
    Ok(prove(&shown, &changed, Scope::All))
}

/// Every rule is to be shown both ways, every fault to make a difference, and no driver to be blamed.
fn judge(proof: &Proof) -> Result<(), Failed> {
    println!("{proof}");
    let s = &proof.summary;
    // A scenario that did not come out as it should has failed by itself.
    let complete = s.proven == s.observable && s.faults_proven == s.faults && s.false_alarms == 0;
    if !complete {
        return Err(proof.to_string().into());
    }
    Ok(())
}

fn test(scenario: &Scenario, run: &Run) -> Result<(), Failed> {
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
            insta::assert_snapshot!(name.to_string_lossy().into_owned(), &run.transcript);
        });
    };
    catch_unwind(AssertUnwindSafe(assert))
        .map_err(|_| Failed::from("the transcript is not that of the snapshot: see above"))
}
