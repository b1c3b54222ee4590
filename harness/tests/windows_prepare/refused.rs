//! Media that are read, and what can't be prepared.

use std::path::Path;

use assert_cmd::Command as Misfire;
use misfire::prepare::{Iso, WindowsError};

use crate::case::Case;
use crate::media::{IMAGES, SECTOR, medium};
use crate::said::words;

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

/// A medium of which so many systems, the last ones, have 32 bits.
fn with_32_bits(mut medium: Vec<u8>, count: usize) -> Vec<u8> {
    let units = "<ARCH>9".encode_utf16();
    let word: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
    let all = medium.windows(word.len()).enumerate();
    let places: Vec<usize> = all.filter(|(_, w)| *w == word).map(|(at, _)| at).collect();
    for at in places.iter().rev().take(count) {
        medium[at + word.len() - 2] = b'0';
    }
    medium
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
    (output.status.code(), words(&output.stderr))
}

#[test]
fn what_can_not_be_prepared_is_told_and_nothing_is_written() {
    let case = Case::new(&[]);
    let at = |name: &str| case.folder.path().join(name).display().to_string();
    let (iso, out) = (at("win.iso"), at("new.qcow2"));
    let before = case.files();
    std::fs::write(at("text.iso"), vec![b'x'; 1 << 16]).unwrap();
    std::fs::write(at("there.qcow2"), "x").unwrap();
    let table = [vec![0; 512], b"EFI PART".to_vec(), vec![0; 1 << 16]].concat();
    std::fs::write(at("gpt.iso"), table).unwrap();
    let old = medium(&[], &[("Windows 8.1", "Professional", "Client", 9600)]);
    std::fs::write(at("old.iso"), old).unwrap();
    for (name, count) in [("narrow.iso", IMAGES.len()), ("both.iso", 1)] {
        let medium = with_32_bits(medium(&[], IMAGES), count);
        std::fs::write(at(name), medium).unwrap();
    }
    let (narrow, both) = (at("narrow.iso"), at("both.iso"));
    let (text, there, old) = (at("text.iso"), at("there.qcow2"), at("old.iso"));
    let gpt = at("gpt.iso");
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
            vec!["--iso", &narrow, "--out", &out, "--firmware", "uefi"],
            2,
            "the system has 32 bits, and OVMF starts those with 64",
        ),
        (
            vec!["--iso", &both, "--out", &out],
            2,
            "it holds systems of several architectures",
        ),
        (
            vec!["--iso", &iso, "--out", &out, "--edition", "Pro"],
            2,
            "it has Windows 11 Home, Windows 11 Pro",
        ),
        (
            vec!["--iso", &iso, "--out", &out, "--key", "abc"],
            2,
            "is neither five groups of five letters and digits nor `none`",
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
            "it is no socket; one is run by `while swtpm socket --tpm2",
        ),
        (vec!["--iso", &iso], 2, "--out"),
        // How an image starts is seen from its partition table.
        (vec!["--image", &gpt, "--ovmf", "a,b"], 3, "a can't be read"),
        (
            vec!["--image", &text, "--ovmf", "a,b"],
            2,
            "it is for `--firmware uefi`",
        ),
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
