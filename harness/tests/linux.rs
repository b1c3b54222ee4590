//! A Linux of the distribution, restored and with our device put in: it works on both attachments.
//!
//! `misfire prepare linux` makes the guest; `ci/test` does it first. Without it these tests fail.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use misfire::cli::vocabulary;
use misfire::guest::linux::Start;
use misfire::machine::{Accel, Cache, Firmware, Qemu};
use misfire::prepare::Store;
use misfire::report::one_scenario;
use misfire::run::{Options, Snapshots, Subject, run_scenario};
use misfire::scenario::{Interrupts, Library, Outcome};
use misfire::verdict::Verdict;

/// The report of a scenario that ran on the newest Linux that is prepared.
async fn run(name: &str, cold: bool) -> misfire::report::ScenarioReport {
    run_on("linux", name, cold).await
}

/// The report of a scenario that ran on a guest.
async fn run_on(guest: &str, name: &str, cold: bool) -> misfire::report::ScenarioReport {
    run_as(subject(guest, cold), name).await
}

fn subject(guest: &str, cold: bool) -> Subject {
    Subject::named(guest, cold)
        .unwrap_or_else(|error| panic!("{error}: run `misfire prepare linux`, as ci/test does"))
}

async fn run_as(subject: Subject, name: &str) -> misfire::report::ScenarioReport {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("linux");
    run_into(subject, name, out).await
}

async fn run_into(subject: Subject, name: &str, out: PathBuf) -> misfire::report::ScenarioReport {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let library = Library::open(Some(&root), &[name.to_owned()], &vocabulary()).unwrap();
    let scenario = library
        .scenarios
        .iter()
        .find(|scenario| scenario.name == name)
        .unwrap();
    let options = Options {
        subject,
        qemu: Qemu::find(&Cache::of_user()).await.unwrap(),
        accel: Accel::Tcg,
        out,
        snapshots: Snapshots::Leave,
        jobs: 1,
        keeping: misfire::run::KeptAside::default(),
    };
    run_scenario(scenario, &options).await.report
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_linux_uses_a_device_on_both_attachments() {
    for name in [
        "vectors/per-queue",
        "attach/vhost-user",
        "net/frames",
        "console/echo",
        "rng/entropy",
        "hotplug/orderly",
    ] {
        let report = run(name, false).await;
        assert_eq!(
            report.verdict,
            Verdict::Pass,
            "{}",
            one_scenario(&report, false)
        );
        assert_eq!(report.outcome, Some(Outcome::Started));
        assert_eq!(report.interrupts.as_deref(), Some(Interrupts::Msix.word()));
    }
}

/// A guest file with a module of the prepared guest, after `change`.
fn with_module(dir: &Path, change: impl Fn(&mut Vec<u8>)) -> PathBuf {
    let prepared = Store::of_user().unwrap().find("linux").unwrap();
    let initrd = std::fs::read(prepared.initrd()).unwrap();
    let mut left = initrd.as_slice();
    let mut module = loop {
        let mut reader = cpio::newc::Reader::new(left).unwrap();
        let (name, mut bytes) = (reader.entry().name().to_owned(), Vec::new());
        assert!(!reader.entry().is_trailer());
        reader.read_to_end(&mut bytes).unwrap();
        if name == "lib/modules/virtio_blk.ko" {
            break bytes;
        }
        left = reader.finish().unwrap();
    };
    change(&mut module);
    std::fs::write(dir.join("virtio_blk.ko"), module).unwrap();
    let file = dir.join("mine.toml");
    let text = "name = \"mine\"\nkind = \"linux\"\n[linux]\nmodules = \"virtio_blk.ko\"\n";
    std::fs::write(&file, text).unwrap();
    file
}

/// Without the mark at its end it is a module that nobody signed.
fn unsign(module: &mut Vec<u8>) {
    let signed = b"~Module signature appended~\n";
    if module.ends_with(signed) {
        module.truncate(module.len() - signed.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_of_the_users_is_copied_in_and_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let file = with_module(dir.path(), |_| ());
    let report = run_on(file.to_str().unwrap(), "vectors/per-queue", true).await;
    let told = one_scenario(&report, false);
    assert_eq!(report.verdict, Verdict::Pass, "{told}");
    assert_eq!(report.guest, "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_the_kernel_refuses_is_an_error_in_the_kernels_words() {
    let dir = tempfile::tempdir().unwrap();
    let file = with_module(dir.path(), |module| {
        let key = b"\0vermagic=";
        let at = module.windows(key.len()).position(|w| w == key).unwrap();
        let space = module[at..].iter().position(|byte| *byte == b' ').unwrap();
        module[at + space + 1] = b'x';
        unsign(module);
    });
    let in_system = in_system(dir.path());
    for file in [file, in_system] {
        let report = run_on(file.to_str().unwrap(), "vectors/per-queue", true).await;
        assert_eq!(report.verdict, Verdict::Error);
        let why = &report.reasons[0];
        assert!(why.contains("the kernel refuses virtio_blk.ko"), "{why}");
        assert!(why.contains("version magic"), "{why}");
    }
}

/// A guest file with the module `virtio_blk.ko` of the folder, and a disk whose kernel is the prepared guest's.
fn in_system(dir: &Path) -> PathBuf {
    let prepared = Store::of_user().unwrap().find("linux").unwrap();
    std::fs::write(dir.join("root.raw"), vec![0x5a; 1 << 20]).unwrap();
    let text = format!(
        "name = \"system\"\nkind = \"linux\"\n[linux]\nimage = \"root.raw\"\nkernel = {:?}\ninitrd = {:?}\n\
         modules = \"virtio_blk.ko\"\n",
        prepared.kernel(),
        prepared.initrd(),
    );
    let file = dir.join("system.toml");
    std::fs::write(&file, text).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_of_the_users_takes_the_place_of_the_one_that_a_system_has_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let said = "logical blocks (";
    // Whether this module is the one that speaks.
    with_module(dir.path(), |module| {
        let at = module
            .windows(said.len())
            .position(|w| w == said.as_bytes())
            .unwrap();
        module[at..at + 7].copy_from_slice(b"LOGICAL");
        unsign(module);
    });
    let mut subject = subject(in_system(dir.path()).to_str().unwrap(), false);
    if let Subject::Linux(linux) = &mut subject {
        linux.start = Start::Warm(dir.path().join("states"));
    }
    // The first makes the state.
    for name in ["vectors/per-queue", "hotplug/orderly"] {
        let out = dir.path().join("out");
        let report = run_into(subject.clone(), name, out.clone()).await;
        let told = one_scenario(&report, false);
        assert_eq!(report.verdict, Verdict::Pass, "{told}");
        let log = std::fs::read_to_string(out.join(name).join("guest.log")).unwrap();
        assert!(log.contains("LOGICAL blocks ("), "{log}");
    }
}

/// A disk that a UEFI firmware boots the prepared guest from: its kernel, its initial RAM disk, and who starts them.
fn disk(qemu: &Qemu, to: &Path) {
    let prepared = Store::of_user().unwrap().find("linux").unwrap();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name);
    std::fs::copy(prepared.kernel(), file("linux.efi")).unwrap();
    std::fs::copy(prepared.initrd(), file("initrd")).unwrap();
    let line = "fs0:\r\nlinux.efi initrd=\\initrd console=ttyS0,115200 quiet panic=-1 pcie_ports=compat \
        printk.time=0 mitigations=off\r\n";
    std::fs::write(file("startup.nsh"), line).unwrap();
    let folder = format!("fat:{}", files.path().display());
    let made = std::process::Command::new(qemu.program.with_file_name("qemu-img"))
        .args(["convert", "-f", "vvfat", "-O", "qcow2", &folder])
        .arg(to)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_on_a_disk_of_the_users_is_booted_and_restored_and_its_image_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("root.qcow2");
    let qemu = Qemu::find(&Cache::of_user()).await.unwrap();
    disk(&qemu, &image);
    let before = std::fs::read(&image).unwrap();
    let firmware = Firmware::find(&qemu.program).unwrap();
    let variables = firmware.variables.unwrap();
    let text = format!(
        "name = \"disk\"\nkind = \"linux\"\n[linux]\nimage = \"root.qcow2\"\nmemory-mib = 512\n\
         firmware = {{ code = {:?}, variables = {variables:?} }}\n",
        firmware.code,
    );
    let file = dir.path().join("disk.toml");
    std::fs::write(&file, text).unwrap();
    let mut subject = subject(file.to_str().unwrap(), false);
    if let Subject::Linux(linux) = &mut subject {
        linux.start = Start::Warm(dir.path().join("states"));
    }
    // The first makes the state.
    for name in ["vectors/per-queue", "hotplug/orderly"] {
        let report = run_as(subject.clone(), name).await;
        let told = one_scenario(&report, false);
        assert_eq!(report.verdict, Verdict::Pass, "{told}");
        assert_eq!(report.interrupts.as_deref(), Some(Interrupts::Msix.word()));
    }
    assert!(std::fs::read(&image).unwrap() == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_of_the_users_has_the_disk_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = Store::of_user().unwrap().find("linux").unwrap();
    let image = vec![0x5a; 1 << 20];
    std::fs::write(dir.path().join("root.raw"), &image).unwrap();
    let text = format!(
        "name = \"disk\"\nkind = \"linux\"\n[linux]\nimage = \"root.raw\"\nkernel = {:?}\ninitrd = {:?}\n",
        prepared.kernel(),
        prepared.initrd(),
    );
    let file = dir.path().join("disk.toml");
    std::fs::write(&file, text).unwrap();
    let report = run_on(file.to_str().unwrap(), "vectors/per-queue", true).await;
    let told = one_scenario(&report, false);
    assert_eq!(report.verdict, Verdict::Pass, "{told}");
    assert!(std::fs::read(dir.path().join("root.raw")).unwrap() == image);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_is_a_hung_task_by_name_and_the_steps_behind_it_are_not_waited_for_as_long()
 {
    let report = run("hotplug/surprise", false).await;
    let told = one_scenario(&report, false);
    assert_eq!(report.verdict, Verdict::Xfail, "{told}");
    let known = report.known.unwrap_or_default();
    assert!(known.contains("does not end requests in flight"), "{told}");
    let names = |note: &String| note.starts_with("hung task");
    assert!(report.notes.iter().any(names), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_about_the_reference_driver_is_skipped_with_a_reason() {
    let report = run("vectors/per-queue@no-read-back", false).await;
    assert_eq!(report.verdict, Verdict::Skip);
    assert_eq!(
        report.reasons,
        ["a mistake is made by the reference guest's driver only"]
    );
}
