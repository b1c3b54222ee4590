//! Measures what Misfire costs, each beside what it is compared with in the same run, and prints the page
//! docs/performance.md.
//!
//! `cargo run --release -p misfire --example bench -- [ROUNDS]`; `ci/bench` does it.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use misfire::cli::vocabulary;
use misfire::machine::{Accel, Cache, Qemu};
use misfire::run::{Options, Snapshots, Subject, run_all, run_scenario};
use misfire::scenario::{Library, Scenario};
use misfire_device::port::vhost_user::Backend;
use misfire_device::port::{Journal, serve};
use misfire_device::shape::{Kind, Shape};
use vfio_bindings::bindings::vfio::{
    VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE, vfio_region_info,
};
use vfio_user::{Client, DmaMapFlags, DmaUnmapFlags, Server, ServerBackend, ServerRegion};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const DISK_BYTES: u64 = 64 << 20;
const LIMIT: Duration = Duration::from_secs(30);

/// What was measured several times.
struct Measured(Vec<f64>);

impl Measured {
    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Median, least and most.
    fn text(&self) -> String {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{:.3} ({least:.3} to {most:.3})", self.median())
    }
}

/// Measures both by turns, in a changing order, and returns them and the ratio of each round.
fn by_turns(
    rounds: usize,
    mut one: impl FnMut() -> Result<f64>,
    mut other: impl FnMut() -> Result<f64>,
) -> Result<[Measured; 3]> {
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    // Caches are filled before.
    one()?;
    other()?;
    for round in 0..rounds {
        let (a, b) = if round % 2 == 0 {
            let a = one()?;
            (a, other()?)
        } else {
            let b = other()?;
            (one()?, b)
        };
        for (list, value) in all.iter_mut().zip([a, b, a / b]) {
            list.push(value);
        }
    }
    Ok(all.map(Measured))
}

/// A process that ends with this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn await_socket(socket: &Path) -> Result<()> {
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
fn ours(dir: &Path, queues: u16, trace: bool, attach: &str) -> Result<(Killed, PathBuf)> {
    let run = dir.join(format!("run-{queues}-{trace}-{attach}"));
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
fn theirs(qemu: &Qemu, dir: &Path) -> Result<(Killed, PathBuf)> {
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

/// Requests a second of `qemu-img bench`: reads of 4 KiB, `step` bytes apart.
fn bench(qemu: &Qemu, socket: &Path, depth: u32, step: u64) -> Result<f64> {
    let count = if depth == 1 { 10_000 } else { 50_000 };
    let mut command = Command::new(qemu.program.with_file_name("qemu-img"));
    command
        .args(["bench", "--image-opts", "-s", "4096", "-c"])
        .arg(count.to_string());
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

/// A server that does nothing.
struct Bare;

impl ServerBackend for Bare {
    fn region_read(&mut self, _: u32, _: u64, _: &mut [u8]) -> std::io::Result<()> {
        Ok(())
    }
    fn region_write(&mut self, _: u32, _: u64, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
    fn dma_map(
        &mut self,
        _: DmaMapFlags,
        _: u64,
        _: u64,
        _: u64,
        _: Option<File>,
    ) -> std::io::Result<()> {
        Ok(())
    }
    fn dma_unmap(&mut self, _: DmaUnmapFlags, _: u64, _: u64) -> std::io::Result<()> {
        Ok(())
    }
    fn reset(&mut self) -> std::io::Result<()> {
        Ok(())
    }
    fn set_irqs(&mut self, _: u32, _: u32, _: u32, _: u32, _: Vec<File>) -> std::io::Result<()> {
        Ok(())
    }
}

/// A client of a server that does nothing; the server ends with its client.
fn bare(socket: &Path) -> Result<Client> {
    let region = |index| ServerRegion {
        region_info: vfio_region_info {
            argsz: size_of::<vfio_region_info>() as u32,
            flags: VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
            index,
            size: 0x4000,
            ..Default::default()
        },
        sparse_areas: Vec::new(),
        mmap_fd: None,
    };
    let regions = (0..VFIO_PCI_NUM_REGIONS).map(region).collect();
    let server = Server::new(socket, true, Vec::new(), regions).map_err(|e| format!("{e:?}"))?;
    // It ends when the client has gone, which it calls an error.
    std::thread::spawn(move || drop(server.run(&mut Bare)));
    Ok(Client::new(socket).map_err(|e| format!("{e:?}"))?)
}

/// Microseconds of one access to device_feature_select.
fn access(client: &mut Client, write: bool) -> Result<f64> {
    const ACCESSES: u32 = 5_000;
    let mut bytes = [0; 4];
    let begin = Instant::now();
    for _ in 0..ACCESSES {
        let done = if write {
            client.region_write(0, 0, &bytes)
        } else {
            client.region_read(0, 0, &mut bytes)
        };
        done.map_err(|error| format!("{error:?}"))?;
    }
    Ok(begin.elapsed().as_secs_f64() * 1e6 / f64::from(ACCESSES))
}

/// Resident memory of a process in MiB.
fn resident(child: &Killed) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .ok_or("no VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kib / 1024.0)
}

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

/// A heading and the head of a table.
fn table(title: &str, columns: &[&str]) {
    println!(
        "\n## {title}\n\n| {} |\n|{}",
        columns.join(" | "),
        "---|".repeat(columns.len())
    );
}

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

fn disks(qemu: &Qemu, dir: &Path, rounds: usize) -> Result<()> {
    table(
        "Our vhost-user-blk against qemu-storage-daemon's",
        &[
            "reads of 4 KiB",
            "ours / theirs",
            "ours, requests a second",
            "theirs",
        ],
    );
    let own = dir.join("own");
    let mut shape = Shape::new(Kind::Block);
    shape.queue_size = 256.into();
    let disk = dir.join("disk-own");
    File::create(&disk)?.set_len(DISK_BYTES)?;
    shape.file = Some(disk);
    // As another VMM would use it: nobody watches.
    let _one = Backend::start(&shape, &own, None)?;
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
        "`misfire device serve` with a trace file against without",
        &[
            "reads of 4 KiB",
            "with / without",
            "with, requests a second",
            "without",
        ],
    );
    let (_served, own) = ours(dir, 1, false, "vhost-user")?;
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

fn registers(dir: &Path, rounds: usize) -> Result<()> {
    table(
        "One register access through vfio-user, against a server that does nothing",
        &["access", "ours / bare", "ours, µs", "bare, µs"],
    );
    let folder = dir.join("registers");
    std::fs::create_dir_all(&folder)?;
    let shape = Shape::new(Kind::Block);
    let served = serve(0, &shape, Vec::new(), 1, &folder, Journal::unread())?;
    let mut own = Client::new(&folder.join("dev0")).map_err(|e| format!("{e:?}"))?;
    let mut bare = bare(&folder.join("bare"))?;
    for (name, write) in [("read", false), ("write", true)] {
        let [a, b, ratio] = by_turns(
            rounds,
            || access(&mut own, write),
            || access(&mut bare, write),
        )?;
        println!(
            "| {name} | {} | {:.2} | {:.2} |",
            ratio.text(),
            a.median(),
            b.median()
        );
    }
    drop(own);
    Ok(served.shutdown()?)
}

fn memory(qemu: &Qemu, dir: &Path, minutes: u64) -> Result<()> {
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
        requests += 50_000.0;
    }
    let after = resident(&child)?;
    println!(
        "\nUnder load for {minutes} minutes, {requests:.0} requests: {before:.1} MiB before, {after:.1} after."
    );
    Ok(())
}

async fn runs(qemu: &Qemu, dir: &Path, rounds: usize) -> Result<()> {
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
    disks(&qemu, dir.path(), rounds)?;
    registers(dir.path(), rounds)?;
    runs(&qemu, dir.path(), rounds).await?;
    memory(&qemu, dir.path(), minutes)?;
    println!(
        "\n## How each cost grows\n\nA request costs the same at any size of the disk and any number of queues; with a trace it \
         costs a line more for\neach step. An access to a register costs one message and its answer. Memory grows with the \
         number of queues and\ntheir sizes, and not with time. A scenario's time is the guest's: scenarios a minute grow with \
         `--jobs` up to the\nnumber of processors."
    );
    Ok(())
}
