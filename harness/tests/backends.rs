//! Our function in front of somebody else's vhost-user backend, and our backend behind somebody else's
//! frontend.
//!
//! The somebody is QEMU's storage daemon and its qemu-img, which lie beside the QEMU that is used.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use misfire::cli::vocabulary;
use misfire::machine::{Accel, Cache, Qemu};
use misfire::report::ScenarioReport;
use misfire::run::{Options, Snapshots, Subject, run_scenario};
use misfire::scenario::read;
use misfire::verdict::Verdict;
use misfire_device::port::vhost_user::Backend;
use misfire_device::shape::{Kind, Shape};

const DISK_BYTES: u64 = 4 << 20;
const LIMIT: Duration = Duration::from_secs(20);

async fn qemu() -> Qemu {
    Qemu::find(&Cache::of_user()).await.unwrap()
}

/// A program that lies beside QEMU.
fn beside(qemu: &Qemu, program: &str) -> PathBuf {
    let path = qemu.program.with_file_name(program);
    assert!(
        path.is_file(),
        "{} is not there: run ci/setup",
        path.display()
    );
    path
}

/// An export of qemu-storage-daemon; it ends with this.
struct Export {
    daemon: Child,
    socket: PathBuf,
}

impl Export {
    fn of(qemu: &Qemu, disk: &Path) -> Self {
        let socket = disk.with_extension("socket");
        let mut command = Command::new(beside(qemu, "qemu-storage-daemon"));
        command.arg("--blockdev").arg(format!(
            "driver=file,node-name=disk,filename={}",
            disk.display()
        ));
        command.arg("--export").arg(format!(
            "type=vhost-user-blk,id=export,node-name=disk,writable=on,num-queues=2,\
             addr.type=unix,addr.path={}",
            socket.display()
        ));
        let daemon = command.stdin(Stdio::null()).spawn().unwrap();
        let begin = Instant::now();
        while !socket.exists() {
            assert!(
                begin.elapsed() < LIMIT,
                "qemu-storage-daemon does not listen"
            );
            std::thread::yield_now();
        }
        Self { daemon, socket }
    }

    fn scenario(&self, steps: &str) -> String {
        format!(
            "title = \"t\"\n[device]\nkind = \"block\"\nqueues = 2\nbackend.socket = \"{}\"\n{steps}",
            self.socket.display()
        )
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn disk(dir: &Path) -> PathBuf {
    let path = dir.join("disk");
    File::create(&path).unwrap().set_len(DISK_BYTES).unwrap();
    path
}

async fn run(name: &str, text: &str) -> ScenarioReport {
    let name = format!("backends/{name}");
    let scenarios = read("x.toml".as_ref(), &name, text, &vocabulary()).unwrap();
    let options = Options {
        subject: Subject::Reference,
        qemu: qemu().await,
        accel: Accel::Tcg,
        out: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        snapshots: Snapshots::Leave,
        jobs: 1,
        keeping: misfire::run::KeptAside::default(),
    };
    run_scenario(&scenarios[0], &options).await.report
}

#[tokio::test(flavor = "multi_thread")]
async fn our_function_drives_the_export_of_a_storage_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(dir.path());
    let export = Export::of(&qemu().await, &disk);
    let text = export.scenario(
        "[[step]]\nload = \"verify\"\nblocks = 64\n[[step]]\nload = \"flush\"\n\
         [[step]]\nguest = \"device restart\"\n[[step]]\nload = \"verify\"\nblocks = 8\n\
         [expect]\noutcome = \"started\"\ninterrupts = \"msix\"\nio = \"complete\"\n",
    );
    let report = run("export", &text).await;
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.reasons);
    let mut first = [0; 4096];
    File::open(disk)
        .unwrap()
        .read_exact_at(&mut first, 0)
        .unwrap();
    assert_ne!(
        first, [0; 4096],
        "what the guest wrote is in the daemon's file"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_dies_is_named_and_the_next_run_works() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(dir.path());
    let mut export = Export::of(&qemu().await, &disk);
    let steps = "[[step]]\nload = \"write\"\n[[step]]\nguest = \"idle 60s\"\ntimeout = \"100s\"\n";
    let text = export.scenario(steps);
    let running = tokio::spawn(async move { run("dead", &text).await });
    // It idles when it has written.
    let begin = Instant::now();
    let has_written = || {
        let mut first = [0; 4096];
        let read = File::open(&disk).and_then(|file| file.read_exact_at(&mut first, 0));
        read.is_ok() && first != [0; 4096]
    };
    while !has_written() {
        assert!(begin.elapsed() < LIMIT, "the scenario does not get there");
        tokio::task::yield_now().await;
    }
    export.daemon.kill().unwrap();
    let report = running.await.unwrap();
    assert!(begin.elapsed() < LIMIT, "it is noticed when it happens");
    assert_eq!(report.verdict, Verdict::Error);
    let gone = format!("the backend at {} is gone", export.socket.display());
    assert!(report.reasons[0].contains(&gone), "{:?}", report.reasons);

    let export = Export::of(&qemu().await, &disk);
    let report = run("alive", &export.scenario("[[step]]\nload = \"read\"\n")).await;
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.reasons);
}

/// Standard output of a qemu-img that did well.
fn img(qemu: &Qemu, args: &[&str]) -> String {
    let output = Command::new(beside(qemu, "qemu-img"))
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn our_backend_serves_qemu_img() {
    let qemu = qemu().await;
    if !img(&qemu, &["--help"]).contains("virtio-blk-vhost-user") {
        // A system's own may be built without; ci/private-qemu has it.
        eprintln!("not tested: this qemu-img is no frontend of vhost-user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mut shape = Shape::new(Kind::Block);
    shape.file = Some(disk(dir.path()));
    let socket = dir.path().join("socket");
    let _backend = Backend::start(&shape, &socket, None).unwrap();
    let ours = format!(
        "driver=virtio-blk-vhost-user,path={},cache.direct=on",
        socket.display()
    );
    // No two blocks are the same.
    let pattern: Vec<u8> = (0..DISK_BYTES / 8)
        .flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())
        .collect();
    std::fs::write(path("pattern"), pattern).unwrap();
    img(
        &qemu,
        &[
            "convert",
            "-n",
            "-f",
            "raw",
            "--target-image-opts",
            &path("pattern"),
            &ours,
        ],
    );
    img(
        &qemu,
        &[
            "compare",
            "--image-opts",
            &ours,
            &format!("driver=file,filename={}", path("pattern")),
        ],
    );
    img(
        &qemu,
        &["convert", "--image-opts", "-O", "raw", &ours, &path("back")],
    );
    let same = std::fs::read(path("back")).unwrap() == std::fs::read(path("pattern")).unwrap();
    assert!(same, "what was written is read again");
    let told = img(
        &qemu,
        &[
            "bench",
            "--image-opts",
            "-c",
            "1000",
            "-d",
            "32",
            "-s",
            "4096",
            &ours,
        ],
    );
    assert!(told.contains("Run completed in"), "{told}");
}
