//! Measures what Misfire costs, each beside what it is compared with in the same run, and prints the page
//! docs/performance.md.
//!
//! `cargo run --release -p misfire --example bench -- [ROUNDS [MINUTES]]`; `ci/bench` does it.

mod disks;
mod guest;
mod measured;
mod memory;
mod process;
mod registers;
mod runs;

use std::error::Error;

use misfire::machine::{Cache, Qemu};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn machine(qemu: &Qemu) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model);
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{count} processors ({model}), Linux {}, QEMU {}, software emulation; {} build; load average at \
         the start {load}",
        kernel.trim(),
        qemu.about.version,
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
    )
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let rounds = args.next().transpose()?.unwrap_or(9) as usize;
    let minutes = args.next().transpose()?.unwrap_or(10);
    let qemu = Qemu::find(&Cache::of_user()).await?;
    let dir = tempfile::tempdir()?;
    println!(
        "# Performance\n\nWritten by `ci/bench {rounds} {minutes}`: do not edit. Each ratio is measured side by side, both by turns, \
         {rounds} rounds:\nits median, and the least and the most in brackets.\n\nThe machine: {}.",
        machine(&qemu)
    );
    disks::disks(&qemu, dir.path(), rounds)?;
    guest::guest(&qemu, dir.path(), rounds).await?;
    registers::registers(dir.path(), rounds)?;
    runs::runs(&qemu, dir.path(), rounds).await?;
    memory::memory(&qemu, dir.path(), minutes)?;
    Ok(())
}
