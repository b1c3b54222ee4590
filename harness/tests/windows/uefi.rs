//! The stand-in for a UEFI firmware: an application on a FAT file system.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};

use crate::assembled::assemble;
use crate::standin::{HIGH, KERNEL, Kernel, LOW, start};

/// The disk in bytes: the smallest on which a FAT16 has room for the kernel.
const BYTES: u64 = 16 << 20;

/// Writes a disk to `folder` from which a UEFI firmware starts the stand-in, as from a stick.
pub fn disk(folder: &Path, canned: &str, parameters: &str) -> PathBuf {
    let kernel = Kernel::of(KERNEL);
    std::fs::write(folder.join("start.bin"), start(canned, parameters)).unwrap();
    std::fs::write(folder.join("kernel.bin"), &kernel.memory).unwrap();
    let defines = [
        ("START_AT", LOW),
        ("KERNEL_AT", HIGH),
        ("ENTRY", kernel.entry.into()),
        ("ZEROS", kernel.zeros.into()),
    ];
    let defines = defines.map(|(name, value)| format!("-D{name}={value:#x}"));
    let options: Vec<&str> = ["-m64", "-Wl,-Ttext=0"]
        .into_iter()
        .chain(defines.iter().map(String::as_str))
        .collect();
    let application = assemble(folder, "uefi.S", &options);

    let path = folder.join("standin.img");
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    file.set_len(BYTES).unwrap();
    format_volume(&mut file, FormatVolumeOptions::new()).unwrap();
    let disk = FileSystem::new(&mut file, FsOptions::new()).unwrap();
    {
        let folder = disk.root_dir().create_dir("EFI").unwrap();
        let folder = folder.create_dir("BOOT").unwrap();
        let mut program = folder.create_file("BOOTX64.EFI").unwrap();
        program.write_all(&application).unwrap();
    }
    disk.unmount().unwrap();
    path
}
