//! A TPM in software, which `ci/setup` makes available.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt as _, FdMapping};

use crate::killed::Killed;
use crate::tools::private;

/// A swtpm that runs.
pub struct Swtpm {
    /// What it keeps, and its socket.
    folder: tempfile::TempDir,
    _runs: Killed,
}

impl Swtpm {
    /// Starts one. It listens before it runs, so that nobody has to wait for it.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut command = Command::new(private("swtpm/swtpm").unwrap_or_else(|| "swtpm".into()));
        command
            .args(["socket", "--tpm2", "--ctrl", "type=unixio,fd=3"])
            .args(["--tpmstate", &format!("dir={}", folder.path().display())])
            .args(["--log", &format!("level=20,file={}", at("log"))])
            .stdin(Stdio::null())
            .fd_mappings(vec![FdMapping {
                parent_fd: listener.into(),
                child_fd: 3,
            }])
            .unwrap();
        let runs = command
            .spawn()
            .unwrap_or_else(|error| panic!("swtpm (ci/setup sees to it): {error}"));
        Self {
            folder,
            _runs: Killed(runs),
        }
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// What it was asked.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}
