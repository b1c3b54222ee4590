//! From the medium to the guest file: every stage, and what ends one.

use std::time::{Duration, Instant};

use assert_cmd::Command as Misfire;
use misfire::prepare::{Record, Source, Stage, WindowsError};
use misfire::run::Subject;

use crate::case::{Case, ENDLESS, LONGER, SHORT, is_png};
use crate::swtpm::Swtpm;

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
async fn a_tpm_that_ends_with_each_machine_and_is_started_again_is_there_for_all_of_them() {
    let tpm = Swtpm::start();
    let mut case = Case::new(&[]);
    case.request.tpm = Some(tpm.socket());
    let (made, told) = case.prepare(None).await;
    let guest = std::fs::read_to_string(made.unwrap_or_else(|error| panic!("{error}: {told:#?}")));
    let guest: toml::Table = guest.unwrap().parse().unwrap();
    let socket = tpm.socket().display().to_string();
    assert_eq!(guest["windows"]["tpm"].as_str(), Some(socket.as_str()));
    // For the installation, which starts its machine anew, and for the check.
    assert!(tpm.began() >= 3, "it was not there each time");
    assert!(tpm.was_used(), "the firmware did not use it");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stage_that_does_not_end_is_told_with_its_picture() {
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
    });
    for case in cases.map(tokio::spawn) {
        case.await.unwrap();
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
    // Its disk has no table that a UEFI firmware would start it from.
    case.request.firmware = None;
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
