//! Our function beside QEMU's own virtio-blk-pci, in the same Linux guest.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use misfire::guest::agent::Agent;
use misfire::guest::linux::{Image, Start};
use misfire::machine::Qemu;
use misfire::prepare::Store;
use serde_json::json;

use super::Result;
use super::measured::{Measured, table};
use super::process::{DISK_BYTES, Killed, await_socket, ours};

const LIMIT: Duration = Duration::from_secs(60);
/// Reads of one measurement.
const READS: u32 = 2_000;

/// A guest with three disks: QEMU's, ours, and ours with a trace.
struct Guest {
    _qemu: Killed,
    console: Lines<BufReader<ChildStdout>>,
    agent: Agent,
}

impl Guest {
    async fn boot(qemu: &Qemu, dir: &Path, devices: [&Path; 2]) -> Result<Self> {
        let prepared = Store::of_user()?.find("linux")?;
        let image = Image::prepared(&prepared, Start::Cold);
        let (disk, socket) = (dir.join("disk-qemu"), dir.join("agent"));
        File::create(&disk)?.set_len(DISK_BYTES)?;
        let mut command = Command::new(&qemu.program);
        command
            .args(["-machine", "q35,memory-backend=mem", "-accel", "tcg"])
            .args(["-nodefaults", "-display", "none", "-m", "128"])
            .args(["-object", "memory-backend-memfd,id=mem,size=128M,share=on"])
            .args(["-serial", "stdio", "-serial", "chardev:agent"])
            .args(["-append", &image.append]);
        command.arg("-kernel").arg(prepared.kernel());
        command.arg("-initrd").arg(prepared.initrd());
        command.arg("-chardev").arg(format!(
            "socket,id=agent,path={},server=on,wait=off",
            socket.display()
        ));
        command
            .arg("-blockdev")
            .arg(json!({"driver": "file", "node-name": "disk", "filename": disk}).to_string());
        let device = |device: serde_json::Value| device.to_string();
        command.arg("-device").arg(device(
            json!({"driver": "virtio-blk-pci", "drive": "disk", "addr": "0x5"}),
        ));
        for (at, path) in ["0x6", "0x7"].iter().zip(devices) {
            command.arg("-device").arg(device(json!({
                "driver": "vfio-user-pci", "addr": at, "socket": {"type": "unix", "path": path},
            })));
        }
        let mut child = Killed(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()?,
        );
        let console = child.0.stdout.take().ok_or("QEMU has no output")?;
        await_socket(&socket)?;
        let mut guest = Self {
            _qemu: child,
            console: BufReader::new(console).lines(),
            agent: Agent::open(UnixStream::connect(&socket)?, None)?,
        };
        guest.until("the agent listens")?;
        guest.agent.ready(LIMIT).await?;
        Ok(guest)
    }

    fn until(&mut self, wanted: &str) -> Result<Instant> {
        for line in self.console.by_ref() {
            if line?.trim_end() == wanted {
                return Ok(Instant::now());
            }
        }
        Err(format!("the guest ended before it said {wanted:?}").into())
    }

    /// Microseconds of one read of 4 KiB of disk `letter`, past the guest's cache.
    async fn read(&mut self, letter: char) -> Result<f64> {
        let command = format!(
            "(echo begin; dd if=/dev/vd{letter} of=/dev/null bs=4k count={READS} iflag=direct 2>&1 && echo end) \
             >/dev/ttyS0"
        );
        self.agent
            .start("/bin/sh", &["-c", &command], LIMIT)
            .await?;
        let begin = self.until("begin")?;
        let end = self.until("end")?;
        Ok((end - begin).as_secs_f64() * 1e6 / f64::from(READS))
    }
}

/// Reads of the three disks, by turns.
pub async fn guest(qemu: &Qemu, dir: &Path, rounds: usize) -> Result<()> {
    table(
        "Our function against QEMU's own virtio-blk-pci, in one Linux guest",
        &[
            "reads of 4 KiB, one at a time",
            "requests a second, ratio",
            "µs a read",
            "µs a read of the other",
        ],
    );
    let (_plain, plain) = ours(dir, 1, false, "vfio-user")?;
    let (_traced, traced) = ours(dir, 1, true, "vfio-user")?;
    let mut guest = Guest::boot(qemu, dir, [&plain, &traced]).await?;
    let mut took = [const { Vec::new() }; 3];
    // The first round fills caches.
    for round in 0..=rounds {
        for (letter, list) in ['a', 'b', 'c'].into_iter().zip(&mut took) {
            let read = guest.read(letter).await?;
            if round > 0 {
                list.push(read);
            }
        }
    }
    let [theirs, plain, traced] = &took;
    for (name, one, other) in [
        ("ours / QEMU's", plain, theirs),
        ("ours with a trace / QEMU's", traced, theirs),
        ("ours with a trace / without", traced, plain),
    ] {
        let ratio = Measured(
            one.iter()
                .zip(other)
                .map(|(one, other)| other / one)
                .collect(),
        );
        let median = |list: &Vec<f64>| Measured(list.clone()).median();
        println!(
            "| {name} | {} | {:.0} | {:.0} |",
            ratio.text(),
            median(one),
            median(other)
        );
    }
    Ok(())
}
