//! How long scenarios take.

use std::path::Path;

use misfire::cli::vocabulary;
use misfire::machine::{Accel, Qemu};
use misfire::run::{Options, Snapshots, Subject, run_all, run_scenario};
use misfire::scenario::{Library, Scenario};

use super::Result;
use super::measured::{Measured, table};

fn options(qemu: &Qemu, subject: Subject, dir: &Path, jobs: usize) -> Options {
    Options {
        subject,
        qemu: qemu.clone(),
        accel: Accel::Tcg,
        out: dir.join("runs"),
        snapshots: Snapshots::Leave,
        jobs,
        keeping: misfire::run::KeptAside::default(),
    }
}

fn scenarios(names: &[&str]) -> Result<Vec<Scenario>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Ok(Library::open(Some(&root), &names, &vocabulary())?.scenarios)
}

pub async fn runs(qemu: &Qemu, dir: &Path, rounds: usize) -> Result<()> {
    table(
        "Scenarios a minute",
        &["`--jobs`", "scenarios a minute", "against one at a time"],
    );
    let all = scenarios(&["vectors/*", "reset/*", "init/*"])?;
    let mut one = f64::NAN;
    for jobs in [1, 2, 4] {
        let (sender, _) = tokio::sync::mpsc::unbounded_channel();
        let options = options(qemu, Subject::Reference, dir, jobs);
        let done = run_all(all.clone(), options, sender, std::future::pending()).await;
        let took = done.ok_or("interrupted")?.took.as_secs_f64();
        let rate = all.len() as f64 * 60.0 / took;
        if jobs == 1 {
            one = rate;
        }
        println!("| {jobs} | {rate:.0} | {:.2} |", rate / one);
    }
    let (Ok(warm), Ok(cold)) = (
        Subject::named("linux", false),
        Subject::named("linux", true),
    ) else {
        println!("\nNo Linux guest is prepared: warm starts were not measured.");
        return Ok(());
    };
    let name = warm.name();
    table(
        "A scenario on Linux, cold against warm",
        &["guest", "cold / warm", "warm, s", "cold, s"],
    );
    let scenario = scenarios(&["vectors/per-queue"])?;
    let scenario = scenario
        .iter()
        .find(|s| s.name == "vectors/per-queue")
        .ok_or("no scenario")?;
    let (mut colds, mut warms, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (warm, cold) = (options(qemu, warm, dir, 1), options(qemu, cold, dir, 1));
    // The state is made before.
    run_scenario(scenario, &warm).await;
    for _ in 0..rounds {
        let seconds =
            async |options| run_scenario(scenario, options).await.report.duration_ms / 1e3;
        let (a, b) = (seconds(&cold).await, seconds(&warm).await);
        colds.push(a);
        warms.push(b);
        ratios.push(a / b);
    }
    let [cold, warm, ratio] = [colds, warms, ratios].map(Measured);
    println!(
        "| {name} | {} | {:.2} | {:.2} |",
        ratio.text(),
        warm.median(),
        cold.median()
    );
    Ok(())
}
