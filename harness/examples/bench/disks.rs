//! Our vhost-user-blk beside qemu-storage-daemon's, and the cost of a trace.

use std::path::Path;
use std::process::Command;

use misfire::machine::Qemu;

use super::Result;
use super::measured::{by_turns, table};
use super::process::{ours, theirs};

/// Requests a second of `qemu-img bench`: reads of 4 KiB, `step` bytes apart.
pub fn bench(qemu: &Qemu, socket: &Path, depth: u32, step: u64) -> Result<f64> {
    reads(qemu, socket, depth, 4096, step)
}

/// Requests a second of `qemu-img bench`: reads of `size` bytes, `step` bytes apart.
fn reads(qemu: &Qemu, socket: &Path, depth: u32, size: u64, step: u64) -> Result<f64> {
    let count = match (depth, size) {
        (1, _) if size > 4096 => 4_000,
        (1, _) => 20_000,
        _ => 100_000,
    };
    let mut command = Command::new(qemu.program.with_file_name("qemu-img"));
    command
        .args(["bench", "--image-opts", "-c"])
        .arg(count.to_string());
    command.arg("-s").arg(size.to_string());
    command
        .arg("-d")
        .arg(depth.to_string())
        .arg("-S")
        .arg(step.to_string());
    command.arg(format!(
        "driver=virtio-blk-vhost-user,path={},cache.direct=on",
        socket.display()
    ));
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let seconds = text
        .lines()
        .find_map(|line| {
            line.strip_prefix("Run completed in ")?
                .strip_suffix(" seconds.")
        })
        .ok_or_else(|| {
            format!(
                "qemu-img: {text}{}",
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
    Ok(f64::from(count) / seconds.parse::<f64>()?)
}

pub fn disks(qemu: &Qemu, dir: &Path, rounds: usize) -> Result<()> {
    table(
        "Our vhost-user-blk against qemu-storage-daemon's",
        &[
            "reads of 4 KiB",
            "ours / theirs",
            "ours, requests a second",
            "theirs",
        ],
    );
    let (_own, own) = ours(dir, 1, false, "vhost-user")?;
    let (_other, their) = theirs(qemu, dir)?;
    // Far apart, and none twice before all were read.
    const APART: u64 = 4096 * 4093;
    for (name, step) in [("one after the other", 4096), ("far apart", APART)] {
        for depth in [1, 32] {
            let [a, b, ratio] = by_turns(
                rounds,
                || bench(qemu, &own, depth, step),
                || bench(qemu, &their, depth, step),
            )?;
            println!(
                "| {name}, depth {depth} | {} | {:.0} | {:.0} |",
                ratio.text(),
                a.median(),
                b.median()
            );
        }
    }
    table(
        "Larger requests, one at a time",
        &["reads of", "ours / theirs", "ours, µs a request", "theirs"],
    );
    for kib in [4, 64, 1024] {
        let [a, b, ratio] = by_turns(
            rounds,
            || reads(qemu, &own, 1, kib << 10, kib << 10),
            || reads(qemu, &their, 1, kib << 10, kib << 10),
        )?;
        println!(
            "| {kib} KiB | {} | {:.0} | {:.0} |",
            ratio.text(),
            1e6 / a.median(),
            1e6 / b.median()
        );
    }
    table(
        "Our vhost-user-blk with a trace against without, at full speed",
        &[
            "reads of 4 KiB",
            "with / without",
            "with, requests a second",
            "without",
        ],
    );
    let (_traced, traced) = ours(dir, 1, true, "vhost-user")?;
    for depth in [1, 32] {
        let [a, b, ratio] = by_turns(
            rounds,
            || bench(qemu, &traced, depth, 4096),
            || bench(qemu, &own, depth, 4096),
        )?;
        println!(
            "| depth {depth} | {} | {:.0} | {:.0} |",
            ratio.text(),
            a.median(),
            b.median()
        );
    }
    Ok(())
}
