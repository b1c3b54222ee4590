//! `misfire prepare windows` against a stand-in: a medium and a disk of a few sectors, which say in QEMU what Setup
//! and the settings would say. No Windows is here, and none was run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use assert_cmd::Command as Misfire;
use misfire::log::kd::frame::{Frame, kind};
use misfire::machine::{Accel, Cache, Qemu};
use misfire::prepare::{
    Firmware, Iso, Pace, Record, Source, Stage, WindowsError, WindowsRequest, windows,
};
use misfire::run::Subject;

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const SECTOR: usize = 2048;
/// What a stage may take that never ends; one that ends has the time that it would have with a Windows.
const SHORT: Duration = Duration::from_secs(3);
/// The same of one that is to be heard of before.
const LONGER: Duration = Duration::from_secs(20);

/// What nothing here takes.
const ENDLESS: Duration = Duration::from_secs(150);

/// Assembles one file of the stand-in.
fn assemble(folder: &Path, source: &str, defines: &[&str]) -> Vec<u8> {
    let out = folder.join(source).with_extension("bin");
    let output = Command::new("cc")
        .args(["-m32", "-nostdlib", "-static", "-no-pie"])
        .arg("-Wl,--build-id=none,-Ttext=0x7c00,--oformat=binary")
        .arg(format!("-Wa,-I{}", folder.display()))
        .args(defines)
        .arg("-o")
        .arg(&out)
        .arg(
            Path::new(HERE)
                .join("tests/programs/windows_standin")
                .join(source),
        )
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::read(out).unwrap()
}

/// The description of an archive with these images: name, edition, kind, build.
fn description(images: &[(&str, &str, &str, u32)]) -> Vec<u8> {
    let mut text = String::from("\u{feff}<WIM><TOTALBYTES>1</TOTALBYTES>");
    for (n, (name, edition, kind, build)) in images.iter().enumerate() {
        text += &format!(
            "<IMAGE INDEX=\"{}\"><WINDOWS><ARCH>9</ARCH><EDITIONID>{edition}</EDITIONID>\
             <INSTALLATIONTYPE>{kind}</INSTALLATIONTYPE><LANGUAGES><LANGUAGE>de-DE</LANGUAGE>\
             <DEFAULT>de-DE</DEFAULT></LANGUAGES><VERSION><MAJOR>10</MAJOR><BUILD>{build}</BUILD></VERSION>\
             </WINDOWS><NAME>{name}</NAME></IMAGE>",
            n + 1
        );
    }
    text += "</WIM>";
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

const IMAGES: &[(&str, &str, &str, u32)] = &[
    ("Windows Setup", "WindowsPE", "WindowsPE", 22_631),
    ("Windows 11 Home", "Core", "Client", 22_631),
    ("Windows 11 Pro", "Professional", "Client", 22_631),
];

/// An installation medium: it boots `start`, and has an archive with `images`.
fn medium(start: &[u8], images: &[(&str, &str, &str, u32)]) -> Vec<u8> {
    let mut iso = vec![0; 32 * SECTOR];
    let mut at = |sector: usize, offset: usize, bytes: &[u8]| {
        let begin = sector * SECTOR + offset;
        iso[begin..begin + bytes.len()].copy_from_slice(bytes);
    };
    // The descriptors: a volume, what boots ("El Torito"), the end.
    at(16, 0, b"\x01CD001\x01");
    at(17, 0, b"\x00CD001\x01EL TORITO SPECIFICATION");
    at(17, 0x47, &19u32.to_le_bytes());
    at(18, 0, b"\xffCD001\x01");
    // The catalogue: who validates it, with a sum of 0, and one entry that is loaded as it stands.
    at(19, 0, &[1, 0, 0, 0]);
    at(19, 0x1c, &[0xaa, 0x55, 0x55, 0xaa]);
    at(19, 0x20, &[0x88, 0, 0, 0, 0, 0, 4, 0]);
    at(19, 0x28, &20u32.to_le_bytes());
    at(20, 0, start);
    // The archive: its header, and its description 4096 bytes later.
    let description = description(images);
    at(24, 0, b"MSWIM\0\0\0");
    at(24, 8, &208u32.to_le_bytes());
    at(24, 72, &(description.len() as u64 | 2 << 56).to_le_bytes());
    at(24, 80, &4096u64.to_le_bytes());
    at(26, 0, &description);
    iso
}

/// What a kernel tells its debugger of a crash: the text, the stop, and the answer to the one question that is
/// asked before it is believed.
fn crash() -> Vec<u8> {
    let text = b"\n*** Fatal System Error: 0x0000007b\n                       \
                 (0xFFFFF80540000000,0x00000000C0000034,0x0000000000000000,0x0000000000000001)\n\n";
    let mut print = 0x3230u32.to_le_bytes().to_vec();
    print.resize(8, 0);
    print.extend((text.len() as u32).to_le_bytes());
    print.resize(16, 0);
    print.extend(text);
    let put = |payload: &mut Vec<u8>, at: usize, bytes: &[u8]| {
        payload[at..at + bytes.len()].copy_from_slice(bytes);
    };
    let at = 0xffff_f805_4041_8a10_u64.to_le_bytes();
    let mut stop = vec![0; 244];
    put(&mut stop, 0, &0x3030u32.to_le_bytes());
    stop[8] = 1;
    put(&mut stop, 24, &at);
    put(&mut stop, 32, &0x8000_0003u32.to_le_bytes());
    put(&mut stop, 48, &at);
    put(&mut stop, 212, &2u16.to_le_bytes());
    put(&mut stop, 216, &[0xcc, 0xc3]);
    let mut version = vec![0; 56];
    put(&mut version, 0, &0x3146u32.to_le_bytes());
    put(&mut version, 16, &15u16.to_le_bytes());
    put(&mut version, 18, &22_631u16.to_le_bytes());
    put(&mut version, 24, &0x8664u16.to_le_bytes());
    let frames = [
        (kind::DEBUG_IO, 0x8080_0800, print),
        (kind::STATE_CHANGE, 0x8080_0001, stop),
        (kind::MANIPULATE, 0x8080_0000, version),
    ];
    let frames = frames.map(|(kind, id, payload)| Frame::Data { kind, id, payload }.bytes());
    frames.concat()
}

/// A folder with a stand-in that was assembled with these defines, and a request for it.
struct Case {
    folder: tempfile::TempDir,
    request: WindowsRequest,
}

impl Case {
    fn new(defines: &[&str]) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(folder.path().join("frames.bin"), crash()).unwrap();
        assemble(folder.path(), "disk.S", defines);
        let start = assemble(folder.path(), "cd.S", defines);
        let iso = folder.path().join("win.iso");
        std::fs::write(&iso, medium(&start, IMAGES)).unwrap();
        let request = WindowsRequest {
            source: Source::Iso {
                iso,
                edition: None,
                key: None,
            },
            out: folder.path().join("win11.qcow2"),
            virtio_win: None,
            certificates: vec![],
            firmware: Some(Firmware::Bios),
            ovmf: None,
            tpm: None,
            memory: Some(512),
            processors: 1,
            size: 16 << 20,
            viewer: false,
        };
        Self { folder, request }
    }

    /// Prepares it. What was told is in the second value.
    async fn prepare(
        &self,
        most: Option<(Stage, Duration)>,
    ) -> (Result<PathBuf, WindowsError>, Vec<String>) {
        let told = Mutex::new(Vec::new());
        let tell = |line: &str| told.lock().unwrap().push(line.to_owned());
        let pace = Pace {
            look: Duration::from_millis(500),
            most,
            ..Pace::times(1)
        };
        let qemu = Qemu::find(&Cache::of_user()).await.unwrap();
        let preparing = windows(&self.request, &qemu, Accel::Tcg, pace, tell);
        let made = tokio::time::timeout(ENDLESS, preparing).await;
        let told = told.lock().unwrap().clone();
        let made = made.unwrap_or_else(|_| panic!("it does not end: {told:#?}"));
        (made, told)
    }

    fn stage(&self) -> Stage {
        Record::of(&self.request.out).unwrap().unwrap().stage
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn is_png(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_goes_from_the_medium_to_a_guest_file_that_is_checked() {
    let case = Case::new(&[]);
    let (made, told) = case.prepare(None).await;
    let guest = made.unwrap_or_else(|error| panic!("{error}: {told:#?}"));
    assert_eq!(guest, case.folder.path().join("win11.toml"));
    let text = std::fs::read_to_string(&guest).unwrap();
    let file: toml::Table = text.parse().unwrap();
    assert_eq!(file["name"].as_str(), Some("win11"));
    assert_eq!(file["kind"].as_str(), Some("windows"));
    assert_eq!(file["windows"]["image"].as_str(), Some("win11.qcow2"));
    assert_eq!(file["windows"]["format"].as_str(), Some("qcow2"));
    assert_eq!(file["windows"]["memory"].as_integer(), Some(512));
    assert!(
        text.contains("# Windows 11, Windows 11 Pro, build 22631"),
        "{text}"
    );
    assert!(
        text.contains("# 10.0.1") && text.contains("# agent own"),
        "{text}"
    );
    let doing: Vec<&str> = told
        .iter()
        .map(String::as_str)
        .filter(|line| !line.contains("its screen"))
        .collect();
    assert_eq!(
        doing,
        [
            "Windows 11, Windows 11 Pro (3), BIOS",
            "Setup starts",
            "Setup copies the system",
            "the system sets up its devices",
            "the system makes its user",
            "the settings are made",
            "10.0.1",
            "agent own",
            "the system shuts down",
            "the image is checked",
            "the image is ready",
        ]
    );
    assert_eq!(case.stage(), Stage::Done);
    // What was needed for the installation alone is gone.
    assert!(
        !case
            .files()
            .iter()
            .any(|name| name.contains("answers") || name.contains("screen"))
    );
    // Asked again, nothing is done.
    let begin = Instant::now();
    let (made, told) = case.prepare(None).await;
    assert_eq!(made.unwrap(), guest);
    assert!(told[0].ends_with("is ready already"), "{told:?}");
    assert!(begin.elapsed() < Duration::from_secs(5));
    let mut doctor = Misfire::cargo_bin("misfire").unwrap();
    let output = doctor
        .timeout(ENDLESS)
        .args(["doctor", "--guest"])
        .arg(&guest)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for line in [
        "good  kernel debugger: the kernel speaks",
        "good  agent: it answers on COM2",
    ] {
        assert!(said.contains(line), "{said}");
    }
    // Another request for the same image is refused.
    let mut other = Case {
        folder: case.folder,
        request: case.request,
    };
    let Source::Iso { edition, .. } = &mut other.request.source else {
        unreachable!()
    };
    *edition = Some("Windows 11 Home".into());
    let (made, _) = other.prepare(None).await;
    assert!(matches!(made, Err(WindowsError::Other { .. })), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stage_that_does_not_end_is_told_with_its_picture_and_goes_on_later() {
    let stages = [
        ("-DSTOP=1", Stage::Setup),
        ("-DSTOP=2", Stage::Copy),
        ("-DSTOP=3", Stage::Specialize),
        ("-DSTOP=4", Stage::Logon),
        ("-DSTOP=5", Stage::Settings),
        ("-DSTOP=6", Stage::Shutdown),
    ];
    let cases = stages.map(|(stop, stage)| async move {
        let case = Case::new(&[stop]);
        // The system that stops after its first restart has to get there.
        let most = if stage == Stage::Specialize {
            LONGER
        } else {
            SHORT
        };
        let (made, told) = case.prepare(Some((stage, most))).await;
        let Err(error @ WindowsError::Late { .. }) = made else {
            panic!("{stop}: {made:?}, {told:#?}");
        };
        let WindowsError::Late {
            stage: at, picture, ..
        } = &error
        else {
            unreachable!()
        };
        assert_eq!(*at, stage, "{told:#?}");
        assert!(is_png(picture.as_ref().unwrap()), "{stop}");
        assert!(error.help().unwrap().contains("goes on from there"));
        assert_eq!(case.stage(), stage);
        (case, stage)
    });
    let mut stopped = Vec::new();
    for case in cases.map(tokio::spawn) {
        stopped.push(case.await.unwrap());
    }
    // One that was cut off in Setup begins anew; one whose system is on the disk starts from there.
    for (case, stage) in stopped {
        if !matches!(stage, Stage::Setup | Stage::Specialize) {
            continue;
        }
        if stage == Stage::Setup {
            assemble(case.folder.path(), "disk.S", &[]);
            let start = assemble(case.folder.path(), "cd.S", &[]);
            let Source::Iso { iso, .. } = &case.request.source else {
                unreachable!()
            };
            std::fs::write(iso, medium(&start, IMAGES)).unwrap();
            let (made, told) = case.prepare(None).await;
            assert!(made.is_ok(), "{made:?}, {told:#?}");
            assert!(told.iter().any(|line| line == "Setup starts"), "{told:?}");
        } else {
            // Its disk has counted one start, so the next one is a system that was installed.
            let (made, told) = case.prepare(Some((stage, LONGER))).await;
            assert!(matches!(made, Err(WindowsError::Late { .. })), "{made:?}");
            assert_eq!(told[0], "going on where the system sets up its devices");
            assert!(!told.iter().any(|line| line == "Setup starts"), "{told:?}");
            assert!(
                told.iter().any(|line| line.contains("debugger")),
                "{told:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_system_is_set_up_is_told_with_its_code_and_its_picture() {
    let case = Case::new(&["-DCRASH"]);
    let (made, told) = case.prepare(None).await;
    let Err(error @ WindowsError::Crash { .. }) = &made else {
        panic!("{made:?}, {told:#?}");
    };
    let code = "0x7B INACCESSIBLE_BOOT_DEVICE (0xfffff80540000000, 0xc0000034, 0x0, 0x1)";
    assert!(error.to_string().contains(code), "{error}");
    assert!(error.help().unwrap().contains("goes on"), "{error:?}");
    let WindowsError::Crash { stage, picture, .. } = error else {
        unreachable!()
    };
    assert_eq!(*stage, Stage::Specialize, "{told:#?}");
    assert!(is_png(picture.as_ref().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_fails_and_a_machine_that_leaves_are_told() {
    let case = Case::new(&["-DFAILS"]);
    let (made, _) = case.prepare(None).await;
    let Err(WindowsError::Guest { what, picture }) = made else {
        panic!("{made:?}");
    };
    assert_eq!(what, "debug 5");
    assert!(is_png(&picture.unwrap()));
    let record = Record::of(&case.request.out).unwrap().unwrap();
    assert!(
        record
            .said
            .contains(&"setting debug failed with 5".to_owned()),
        "{record:?}"
    );

    let case = Case::new(&["-DLEAVES"]);
    let (made, _) = case.prepare(None).await;
    assert!(
        matches!(
            made,
            Err(WindowsError::Left {
                stage: Stage::Copy,
                ..
            })
        ),
        "{made:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_a_debugger_or_an_agent_is_prepared_and_found_unfit() {
    let cases = [
        ("-DNO_DEBUGGER", "debugger on COM1"),
        ("-DNO_AGENT", "agent answers on COM2"),
    ];
    let checks = cases.map(|(define, lacks)| async move {
        let case = Case::new(&[define]);
        let (made, told) = case.prepare(Some((Stage::Check, LONGER))).await;
        let Err(WindowsError::Unfit { wrong, picture }) = made else {
            panic!("{define}: {made:?}, {told:#?}");
        };
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains(lacks), "{wrong:?}");
        assert!(is_png(&picture.unwrap()));
        assert_eq!(case.stage(), Stage::Check);
        // The guest file is there all the same, and says what to look at.
        let guest = case.folder.path().join("win11.toml").display().to_string();
        let Ok(Subject::Windows(windows)) = Subject::named(&guest, true) else {
            panic!("{guest} is no guest file of a Windows");
        };
        assert_eq!(windows.image.installed.disk, case.request.out);
    });
    for check in checks.map(tokio::spawn) {
        check.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_for_an_image_that_is_there_come_from_a_medium() {
    let mut case = Case::new(&[]);
    let disk = std::fs::read(case.folder.path().join("disk.bin")).unwrap();
    let image = case.folder.path().join("mine.img");
    let mut bytes = vec![0; 1 << 20];
    bytes[..disk.len()].copy_from_slice(&disk);
    std::fs::write(&image, bytes).unwrap();
    case.request.source = Source::Image;
    case.request.out.clone_from(&image);
    case.request.viewer = true;
    let (made, told) = case.prepare(None).await;
    assert_eq!(
        made.unwrap(),
        case.folder.path().join("mine.toml"),
        "{told:#?}"
    );
    assert!(
        told.iter().any(|line| line.contains("apply.cmd")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|line| line.contains("VNC viewer") && line.contains("127.0.0.1")),
        "{told:?}"
    );
}

#[test]
fn a_medium_tells_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("win.iso");
    std::fs::write(&path, medium(&[], IMAGES)).unwrap();
    let iso = Iso::read(&path).unwrap();
    let names: Vec<&str> = iso.images.iter().map(|image| image.name.as_str()).collect();
    assert_eq!(names, ["Windows 11 Home", "Windows 11 Pro"]);
    assert_eq!(iso.image(None).unwrap().index, 3);
    assert_eq!(iso.image(Some("core")).unwrap().index, 2);
    assert_eq!(iso.image(Some("2")).unwrap().language, "de-DE");
    let error = iso.image(Some("Windows 11 Pr")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the medium has no edition `Windows 11 Pr`; it has Windows 11 Home, Windows 11 Pro"
    );
}

#[test]
fn what_is_no_medium_is_refused_wherever_it_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("win.iso");
    let whole = medium(&[], IMAGES);
    let end = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
    for length in (0..end).step_by(509) {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(
            matches!(Iso::read(&path), Err(WindowsError::Iso { .. })),
            "{length}"
        );
    }
    // Lengths and offsets that lead out of the file.
    for (at, value) in [
        (8, 0xffff_ffff_u64),
        (72, 1 << 40),
        (80, u64::MAX),
        (80, 1 << 50),
    ] {
        let mut broken = whole.clone();
        let begin = 24 * SECTOR + at;
        broken[begin..begin + 8].copy_from_slice(&value.to_le_bytes());
        std::fs::write(&path, &broken).unwrap();
        assert!(
            matches!(Iso::read(&path), Err(WindowsError::Iso { .. })),
            "{at}"
        );
    }
}

/// What the command says, with its exit status.
fn misfire(arguments: &[&str], qemu: Option<&Path>) -> (Option<i32>, String) {
    let mut command = Misfire::cargo_bin("misfire").unwrap();
    if let Some(qemu) = qemu {
        command.env("MISFIRE_QEMU", qemu);
    }
    let output = command
        .args(["prepare", "windows"])
        .args(arguments)
        .output()
        .unwrap();
    let words: Vec<String> = String::from_utf8_lossy(&output.stderr)
        .split_whitespace()
        .filter(|word| *word != "│")
        .map(str::to_owned)
        .collect();
    (output.status.code(), words.join(" "))
}

#[test]
fn what_can_not_be_prepared_is_told_and_nothing_is_written() {
    let case = Case::new(&[]);
    let at = |name: &str| case.folder.path().join(name).display().to_string();
    let (iso, out) = (at("win.iso"), at("new.qcow2"));
    let before = case.files();
    std::fs::write(at("text.iso"), vec![b'x'; 1 << 16]).unwrap();
    std::fs::write(at("there.qcow2"), "x").unwrap();
    let old = medium(&[], &[("Windows 8.1", "Professional", "Client", 9600)]);
    std::fs::write(at("old.iso"), old).unwrap();
    let (text, there, old) = (at("text.iso"), at("there.qcow2"), at("old.iso"));
    for (arguments, status, words) in [
        (
            vec!["--iso", text.as_str(), "--out", &out],
            2,
            "it is not an ISO image",
        ),
        (
            vec!["--iso", "no.iso", "--out", &out],
            3,
            "no.iso can't be read: No such file",
        ),
        (
            vec!["--iso", &old, "--out", &out],
            2,
            "build 9600 is none of Windows 7 SP1, 10, 11",
        ),
        (
            vec!["--iso", &iso, "--out", &out, "--edition", "Pro"],
            2,
            "it has Windows 11 Home, Windows 11 Pro",
        ),
        (
            vec!["--iso", &iso, "--out", &out, "--key", "abc"],
            2,
            "five groups of five",
        ),
        (
            vec!["--iso", &iso, "--out", &there, "--firmware", "bios"],
            2,
            "is there already",
        ),
        (
            vec![
                "--iso",
                &iso,
                "--out",
                &out,
                "--firmware",
                "bios",
                "--memory",
                "1",
            ],
            2,
            "1 MiB is not from",
        ),
        (
            vec!["--iso", &iso, "--out", &out, "--ovmf", "a,b"],
            3,
            "a can't be read",
        ),
        (
            vec!["--iso", &iso, "--out", &out, "--virtio-win", "no.iso"],
            3,
            "no.iso can't be read",
        ),
        (
            vec!["--iso", &iso, "--out", &out, "--virtio-win", &text],
            2,
            "it is not an ISO image; without this medium a small agent",
        ),
        (
            vec!["--iso", &iso, "--out", &out, "--virtio-win", &iso],
            2,
            "there is no guest-agent\\qemu-ga-x86_64.msi on it",
        ),
        (
            vec!["--iso", &iso, "--out", &out, "--tpm", "no.sock"],
            2,
            "no swtpm listens at no.sock: No such file",
        ),
        (
            vec!["--iso", &iso, "--out", &out, "--tpm", &text],
            2,
            "it is no socket; `swtpm socket --tpm2",
        ),
        (vec!["--iso", &iso], 2, "--out"),
        (
            vec!["--image", "no.qcow2"],
            3,
            "no.qcow2 can't be written: No such file",
        ),
    ] {
        let (code, said) = misfire(&arguments, None);
        assert_eq!(code, Some(status), "{arguments:?}: {said}");
        // Where a line ends depends on how long the folder's name is.
        let flat = |text: &str| text.split_whitespace().collect::<String>();
        assert!(flat(&said).contains(&flat(words)), "{arguments:?}: {said}");
    }
    let new: Vec<String> = case
        .files()
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    let ours = |name: &String| {
        !name.ends_with(".iso") && !name.starts_with("there.qcow2") && !name.ends_with(".lock")
    };
    assert_eq!(
        new.into_iter().filter(ours).collect::<Vec<_>>(),
        Vec::<String>::new()
    );
}
