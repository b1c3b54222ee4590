//! The stand-in where the firmware is OVMF and the machine has a TPM: what boots is applications on FAT file systems.

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use misfire::machine::{self, Cache, Qemu};
use misfire::prepare::{Firmware, Source};

use crate::assembled::assemble;
use crate::case::Case;
use crate::media::{IMAGES, with_uefi};
use crate::swtpm::Swtpm;

/// What the system on the disk, and what Setup on the medium takes, bytes: room for the application.
const SYSTEM: usize = 256 << 10;
const SETUP: usize = 1 << 20;

/// A FAT volume of so many bytes whose application a UEFI firmware starts.
fn volume(bytes: usize, application: &[u8]) -> Vec<u8> {
    let mut volume = Cursor::new(vec![0; bytes]);
    format_volume(&mut volume, FormatVolumeOptions::new()).unwrap();
    let files = FileSystem::new(&mut volume, FsOptions::new()).unwrap();
    {
        let folder = files.root_dir().create_dir("EFI").unwrap();
        let folder = folder.create_dir("BOOT").unwrap();
        let mut program = folder.create_file("BOOTX64.EFI").unwrap();
        program.write_all(application).unwrap();
    }
    files.unmount().unwrap();
    volume.into_inner()
}

fn application(folder: &Path, defines: &[&str]) -> Vec<u8> {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/windows_standin");
    let at = |name: &str| programs.join(name).display().to_string();
    let (script, code) = (at("setup.ld"), at("setup.c"));
    let options = [
        "-m64",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-implicit-fallthrough",
        "-ffreestanding",
        "-fPIE",
        "-fno-jump-tables",
        "-fno-stack-protector",
        "-fcf-protection=none",
        "-fno-asynchronous-unwind-tables",
        "-mno-red-zone",
        "-T",
        &script,
        &code,
    ];
    assemble(folder, "image.S", &[&options, defines].concat())
}

/// A preparation of it with this TPM, and the variables that OVMF comes with.
async fn under_uefi(tpm: &Swtpm) -> (Case, PathBuf) {
    let qemu = Qemu::find(&Cache::of_user()).await.unwrap();
    let found = machine::Firmware::find(&qemu.program);
    let variables = found.ok().and_then(|found| found.variables);
    let variables = variables.expect("there is no OVMF: ci/setup makes it available");
    let mut case = Case::new(&[]);
    let folder = case.folder.path();
    let system = volume(SYSTEM, &application(folder, &[]));
    std::fs::write(folder.join("system.img"), system).unwrap();
    let setup = application(folder, &["-DSETUP"]);
    let Source::Iso { iso, .. } = &case.request.source else {
        unreachable!()
    };
    std::fs::write(iso, with_uefi(&volume(SETUP, &setup), IMAGES)).unwrap();
    case.request.firmware = Some(Firmware::Uefi);
    case.request.tpm = Some(tpm.socket());
    (case, variables)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_ovmf_and_a_tpm_it_goes_from_the_medium_that_wants_a_key_to_the_check() {
    let tpm = Swtpm::start();
    let (case, variables) = under_uefi(&tpm).await;
    let before = std::fs::read(&variables).unwrap();
    let (made, told) = case.prepare(None).await;
    let guest = made.unwrap_or_else(|error| panic!("{error}: {told:#?}"));
    let setup = told
        .iter()
        .position(|line| line == "Setup copies the system");
    let ready = told.iter().position(|line| line == "the image is ready");
    assert!(setup.is_some() && setup < ready, "{told:#?}");
    let guest: toml::Table = std::fs::read_to_string(guest).unwrap().parse().unwrap();
    let windows = &guest["windows"];
    assert_eq!(
        windows["firmware"]["variables"].as_str(),
        Some("win11.qcow2.vars.fd")
    );
    let socket = tpm.socket().display().to_string();
    assert_eq!(windows["tpm"].as_str(), Some(socket.as_str()));
    // Setup has left its own in the image's; those that come with the firmware are everybody's.
    assert_eq!(std::fs::read(variables).unwrap(), before);
    assert!(tpm.began() >= 3 && tpm.was_used());
}
