//! Finding a UEFI firmware.

use std::path::{Path, PathBuf};

use super::spec::Firmware;

/// Where `ci/setup` puts one of the project's own.
const OF_PROJECT: &str = "target/ovmf";
/// Where distributions have it, and what its files are called: code and variables.
const FOLDERS: &[&str] = &[
    "/usr/share/OVMF",
    "/usr/share/edk2/x64",
    "/usr/share/edk2/ovmf",
    "/usr/share/qemu",
];
const FILES: &[(&str, &str)] = &[
    ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
    ("OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"),
    ("OVMF_CODE.fd", "OVMF_VARS.fd"),
    ("edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
];

impl Firmware {
    /// An OVMF without Secure Boot: the project's own, beside this QEMU or above the program or the current
    /// folder; QEMU's; the system's.
    ///
    /// # Errors
    /// Where it was looked for, when there is none.
    pub fn find(qemu: &Path) -> Result<Self, Vec<String>> {
        let starts = [std::env::current_exe(), std::env::current_dir()];
        let starts: Vec<PathBuf> = starts.into_iter().flatten().collect();
        Self::find_from(qemu, &starts)
    }

    fn find_from(qemu: &Path, starts: &[PathBuf]) -> Result<Self, Vec<String>> {
        let above = starts.iter().flat_map(|start| start.ancestors());
        let own = above.map(|folder| folder.join(OF_PROJECT));
        let beside = qemu.parent().into_iter();
        let beside = beside.flat_map(|folder| [folder.join("../ovmf"), folder.join("share/qemu")]);
        let folders: Vec<PathBuf> = own
            .filter(|folder| folder.is_dir())
            .chain(beside)
            .chain(FOLDERS.iter().map(PathBuf::from))
            .collect();
        let both = |folder: &PathBuf| {
            let each = FILES.iter();
            each.map(|(code, variables)| (folder.join(code), folder.join(variables)))
                .find(|(code, variables)| code.is_file() && variables.is_file())
        };
        let found = folders.iter().find_map(both);
        let firmware = found.map(|(code, variables)| Self {
            code,
            variables: Some(variables),
        });
        firmware.ok_or_else(|| {
            let looked = folders.iter().map(|folder| folder.join(FILES[0].0));
            looked.map(|path| path.display().to_string()).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path, code: &str, variables: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        for name in [code, variables] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        folder.join(code)
    }

    #[test]
    fn the_projects_own_is_found_before_the_one_beside_qemu() {
        let dir = tempfile::tempdir().unwrap();
        let qemu = dir.path().join("qemu/qemu-system-x86_64");
        let beside = files(
            &dir.path().join("qemu/share/qemu"),
            "edk2-x86_64-code.fd",
            "edk2-i386-vars.fd",
        );
        let starts = [dir.path().join("project/target/debug/misfire")];
        let found = || Firmware::find_from(&qemu, &starts).unwrap();
        assert_eq!(found().code, beside);
        let own = dir.path().join("project/target/ovmf");
        let own = files(&own, "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd");
        assert_eq!(found().code, own);
        assert!(found().variables.unwrap().ends_with("OVMF_VARS_4M.fd"));
    }
}
