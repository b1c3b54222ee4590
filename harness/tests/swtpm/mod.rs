//! A TPM in software, which `ci/setup` makes available.

use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::tools::private;

/// What its log has of the beginning of a machine, and of a firmware's first command (TPM2_Startup).
const INIT: &str = "Ctrl Cmd: length 8\n 00 00 00 02 ";
const STARTUP: &str = " 80 01 00 00 00 0C 00 00 01 44 ";

/// A swtpm that is started again whenever it ends, as the documentation has it.
pub struct Swtpm {
    /// What it keeps, and its socket.
    folder: tempfile::TempDir,
    shell: Child,
}

impl Swtpm {
    /// Starts one.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut command = Command::new("sh");
        command
            .args(["-c", "while \"$0\" \"$@\"; do :; done"])
            .arg(private("swtpm/swtpm").unwrap_or_else(|| "swtpm".into()))
            .args(["socket", "--tpm2", "--ctrl", "type=unixio,fd=3"])
            .args(["--tpmstate", &format!("dir={}", folder.path().display())])
            .args(["--log", &format!("level=20,file={}", at("log"))])
            .stdin(Stdio::null())
            .process_group(0)
            .fd_mappings(vec![FdMapping {
                parent_fd: listener.into(),
                child_fd: 3,
            }])
            .unwrap();
        let shell = command.spawn().unwrap();
        Self { folder, shell }
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// How often a machine has begun with it.
    pub fn began(&self) -> usize {
        self.log().matches(INIT).count()
    }

    /// Whether a firmware has started it.
    pub fn was_used(&self) -> bool {
        self.log().contains(STARTUP)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.shell), Signal::KILL);
        let _ = self.shell.wait();
    }
}
