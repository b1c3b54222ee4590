//! What is done in the guest before the devices come: the package is copied, trusted and installed, and
//! settings are made.

use std::path::{Path, PathBuf};

use super::section::WindowsFile;
use crate::guest::windows::course::{Job, Order};
use crate::guest::windows::{FOLDER, SCRIPT, SCRIPT_AT};

/// Driver Verifier's flags.
pub(super) const FLAGS: &[(&str, u32)] = &[
    ("special-pool", 0x1),
    ("force-irql", 0x2),
    ("low-resources", 0x4),
    ("pool-tracking", 0x8),
    ("io", 0x10),
    ("deadlock", 0x20),
    ("dma", 0x80),
    ("security", 0x100),
    ("force-pending", 0x200),
    ("irp-logging", 0x400),
    ("misc", 0x800),
    ("ddi-compliance", 0x2_0000),
    ("standard", 0x2_09bb),
];

/// The largest file of a package in bytes: it goes over a serial port.
const MOST_FILE: u64 = 64 << 20;
/// The most files of a package.
const MOST_FILES: usize = 200;

/// The driver package can't be read.
#[derive(Debug, thiserror::Error)]
pub enum WindowsFileError {
    /// The system refuses.
    #[error("{} can't be read", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no package.
    #[error("{}: {why}", path.display())]
    Package {
        /// The folder.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl WindowsFile {
    /// What is done in the guest before the devices come.
    pub(super) fn jobs(&self) -> Result<Vec<Job>, WindowsFileError> {
        let mut jobs = vec![
            run(
                "making a folder",
                "cmd.exe",
                &["/c", &format!("if not exist {FOLDER} mkdir {FOLDER}")],
            ),
            Job {
                what: "copying the harness's script".to_owned(),
                order: Order::Write {
                    path: SCRIPT_AT.to_owned(),
                    bytes: SCRIPT.as_bytes().to_vec(),
                },
                restarts: false,
            },
        ];
        let mut verified = self.verified.clone();
        if let Some(package) = &self.package {
            let files = package_files(package)?;
            let ends = |name: &str, end: &str| name.to_ascii_lowercase().ends_with(end);
            if !files.iter().any(|(name, _)| ends(name, ".inf")) {
                return Err(WindowsFileError::Package {
                    path: package.clone(),
                    why: "there is no INF in it".to_owned(),
                });
            }
            for (name, bytes) in &files {
                jobs.push(Job {
                    what: format!("copying {name}"),
                    order: Order::Write {
                        path: format!("{FOLDER}\\{name}"),
                        bytes: bytes.clone(),
                    },
                    restarts: false,
                });
            }
            let named = |end| {
                files
                    .iter()
                    .map(|(name, _)| name)
                    .filter(move |name| ends(name, end))
            };
            for certificate in named(".cer") {
                let path = format!("{FOLDER}\\{certificate}");
                for store in ["Root", "TrustedPublisher"] {
                    let what = format!("trusting {certificate} as {store}");
                    jobs.push(run(
                        &what,
                        "certutil.exe",
                        &["-addstore", "-f", store, &path],
                    ));
                }
            }
            for inf in named(".inf") {
                let path = format!("{FOLDER}\\{inf}");
                let what = format!("installing {inf}");
                jobs.push(run(
                    &what,
                    "pnputil.exe",
                    &["/add-driver", &path, "/install"],
                ));
            }
            if verified.is_empty() {
                verified = named(".sys").cloned().collect();
            }
        }
        if self.msi_forcedisable {
            jobs.push(forbidding_messages());
        }
        jobs.extend(self.verifier_job(&verified));
        Ok(jobs)
    }

    fn verifier_job(&self, verified: &[String]) -> Option<Job> {
        if self.verifier.is_empty() {
            return None;
        }
        let named = FLAGS
            .iter()
            .filter(|(name, _)| self.verifier.iter().any(|n| n == name));
        let flags = named.fold(0, |all, (_, flag)| all | flag);
        let flags = format!("{flags:#x}");
        let mut args = vec!["/flags", &flags, "/driver"];
        args.extend(verified.iter().map(String::as_str));
        let mut job = run("setting Driver Verifier", "verifier.exe", &args);
        job.restarts = true;
        Some(job)
    }
}

/// Windows uses no messages when it was started again.
pub(super) fn forbidding_messages() -> Job {
    let args = ["/set", "msi", "forcedisable"];
    let mut job = run("forbidding messages", "bcdedit.exe", &args);
    job.restarts = true;
    job
}

fn run(what: &str, program: &str, args: &[&str]) -> Job {
    Job {
        what: what.to_owned(),
        order: Order::Run {
            program: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        },
        restarts: false,
    }
}

/// Names and contents of the files of a package, in the order of their names.
fn package_files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, WindowsFileError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| WindowsFileError::Read { path, source }
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read(folder))? {
        let entry = entry.map_err(read(folder))?;
        let path = entry.path();
        let data = entry.metadata().map_err(read(&path))?;
        if !data.is_file() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        if data.len() > MOST_FILE || files.len() >= MOST_FILES {
            return Err(WindowsFileError::Package {
                path: folder.to_owned(),
                why: format!("{name}: a package is of {MOST_FILES} files of 64 MiB at most"),
            });
        }
        let bytes = std::fs::read(&path).map_err(read(&path))?;
        files.push((name, bytes));
    }
    files.sort();
    Ok(files)
}
