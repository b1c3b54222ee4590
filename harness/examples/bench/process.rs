//! The processes that are measured.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use misfire::machine::Qemu;

use super::Result;

pub const DISK_BYTES: u64 = 64 << 20;
const LIMIT: Duration = Duration::from_secs(30);

/// A process that ends with this.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn await_socket(socket: &Path) -> Result<()> {
    let begin = Instant::now();
    while !socket.exists() {
        if begin.elapsed() > LIMIT {
            return Err(format!("{} is not there", socket.display()).into());
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// A device of ours, served by a process of its own with a trace or without.
pub fn ours(dir: &Path, queues: u16, trace: bool, attach: &str) -> Result<(Killed, PathBuf)> {
    let run = dir.join(format!("run-{queues}-{trace}-{attach}"));
    // One that was measured before has left its socket.
    if run.exists() {
        std::fs::remove_dir_all(&run)?;
    }
    std::fs::create_dir_all(&run)?;
    let disk = run.join("disk");
    File::create(&disk)?.set_len(DISK_BYTES)?;
    let file = run.join("device.toml");
    let text = format!(
        "[device]\nkind = \"block\"\nattach = \"{attach}\"\nqueues = {queues}\nqueue-size = 256\nfile = \"{}\"\n",
        disk.display()
    );
    std::fs::write(&file, text)?;
    let program = std::env::current_exe()?.with_file_name("../misfire");
    let mut command = Command::new(program);
    command
        .args(["device", "serve"])
        .arg(&file)
        .arg("--dir")
        .arg(&run);
    if trace {
        command.arg("--trace").arg(run.join("trace.jsonl"));
    }
    let child = Killed(command.stdout(Stdio::null()).spawn()?);
    let socket = run.join("dev0");
    await_socket(&socket)?;
    Ok((child, socket))
}

/// The export of qemu-storage-daemon.
pub fn theirs(qemu: &Qemu, dir: &Path) -> Result<(Killed, PathBuf)> {
    let (disk, socket) = (dir.join("disk-theirs"), dir.join("theirs"));
    File::create(&disk)?.set_len(DISK_BYTES)?;
    let mut command = Command::new(qemu.program.with_file_name("qemu-storage-daemon"));
    command.arg("--blockdev").arg(format!(
        "driver=file,node-name=disk,filename={}",
        disk.display()
    ));
    command.arg("--export").arg(format!(
        "type=vhost-user-blk,id=export,node-name=disk,writable=on,addr.type=unix,addr.path={}",
        socket.display()
    ));
    let child = Killed(command.spawn()?);
    await_socket(&socket)?;
    Ok((child, socket))
}

/// Resident memory of a process in MiB.
pub fn resident(child: &Killed) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .ok_or("no VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kib / 1024.0)
}
