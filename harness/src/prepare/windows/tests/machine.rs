//! What QEMU is told, and what a request is refused for.

use crate::machine::Accel;
use crate::prepare::WindowsError;
use crate::prepare::windows::argv::{Hardware, argv};
use crate::prepare::windows::disk::qemu_img;
use crate::prepare::windows::request::enough;

fn shown(hardware: &Hardware) -> String {
    let mut lines: Vec<String> = Vec::new();
    for arg in argv(hardware) {
        let arg = arg.to_string_lossy().into_owned();
        let value = lines
            .last()
            .is_some_and(|last| last.starts_with('-') && !last.contains(' '));
        match lines.last_mut() {
            Some(last) if value && !arg.starts_with('-') => *last += &format!(" {arg}"),
            _ => lines.push(arg),
        }
    }
    lines.join("\n")
}

#[test]
fn a_windows_is_installed_on_hardware_that_every_release_has_drivers_for() {
    insta::assert_snapshot!(shown(&Hardware {
        qemu: "qemu-system-x86_64".into(),
        accel: Accel::Kvm,
        firmware: Some(("OVMF_CODE.fd".into(), Some("a,b.vars.fd".into()))),
        disk: "a,b.qcow2".into(),
        format: "qcow2".into(),
        writes: true,
        stick: Some("a,b.answers.img".into()),
        cds: vec!["win.iso".into(), "virtio-win.iso".into()],
        tpm: Some("swtpm.sock".into()),
        memory: 4096,
        processors: 2,
        viewer: true,
    }));
}

#[test]
fn a_machine_that_only_looks_writes_nothing() {
    let looks = shown(&Hardware {
        qemu: "qemu-system-x86_64".into(),
        accel: Accel::Tcg,
        firmware: Some(("OVMF_CODE.fd".into(), Some("vars.fd".into()))),
        disk: "win.qcow2".into(),
        format: "qcow2".into(),
        writes: false,
        stick: None,
        cds: vec![],
        tpm: None,
        memory: 4096,
        processors: 2,
        viewer: false,
    });
    let drives: Vec<&str> = looks
        .lines()
        .filter(|line| line.starts_with("-drive"))
        .collect();
    assert_eq!(drives.len(), 3);
    for drive in drives {
        assert!(
            drive.contains("snapshot=on") || drive.contains("readonly=on"),
            "{drive}"
        );
    }
    assert!(!looks.contains("vnc") && !looks.contains("hv-"));
}

#[test]
fn a_disk_without_room_and_a_qemu_without_qemu_img_are_refused_with_what_is_missing() {
    let here = || std::path::PathBuf::from("/images");
    assert!(enough(here(), 20 << 30, 64 << 30).is_ok());
    assert!(enough(here(), 16 << 20, 16 << 20).is_ok());
    let error = enough(here(), 1 << 30, 64 << 30).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/images has 1024 MiB free, and an installation takes 20480 MiB"
    );
    let folder = tempfile::tempdir().unwrap();
    let beside = folder.path().join("qemu-img");
    std::fs::write(&beside, "").unwrap();
    assert_eq!(
        qemu_img(&folder.path().join("qemu-system-x86_64")).unwrap(),
        beside
    );
    let missing = WindowsError::NoQemuImg("/opt/qemu-system-x86_64".into());
    assert!(missing.help().unwrap().contains("qemu-utils"));
}
