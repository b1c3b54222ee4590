//! Memory of the device process.

use std::path::Path;
use std::time::{Duration, Instant};

use misfire::machine::Qemu;

use super::Result;
use super::disks::bench;
use super::measured::table;
use super::process::{ours, resident};

pub fn memory(qemu: &Qemu, dir: &Path, minutes: u64) -> Result<()> {
    table("Memory of the device process", &["queues", "resident, MiB"]);
    for queues in [1, 8, 64] {
        let (child, _) = ours(dir, queues, false, "vfio-user")?;
        println!("| {queues} | {:.1} |", resident(&child)?);
    }
    let (child, socket) = ours(dir, 2, false, "vhost-user")?;
    bench(qemu, &socket, 32, 4096)?;
    let before = resident(&child)?;
    let begin = Instant::now();
    let mut requests = 0.0;
    while begin.elapsed() < Duration::from_secs(60 * minutes) {
        bench(qemu, &socket, 32, 4096)?;
        requests += 100_000.0;
    }
    let after = resident(&child)?;
    println!(
        "\nUnder load for {minutes} minutes, {requests:.0} requests: {before:.1} MiB before, {after:.1} after."
    );
    Ok(())
}
