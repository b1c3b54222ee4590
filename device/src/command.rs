//! The commands of the daemon: `serve` and `check`.

mod trace_file;

use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::file::{self, DeviceUnderTest, Problem};
use crate::port::{Attachment, Journal, ServeError, Served, backend_socket, serve_on};
use trace_file::TraceFile;

/// Amount of guest memory in the arguments that are shown; any other will do.
const MEMORY: &str = "1G";

/// What the daemon can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve the devices of a file to a QEMU that is started by hand, until Ctrl-C
    Serve(Serve),
    /// Check device files; nothing is started
    Check(Check),
}

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// The device file: [device] or [[device]], and [[fault]]
    file: PathBuf,
    /// The socket to listen on, when there is one device
    #[arg(long, value_name = "PATH", required_unless_present = "dir")]
    socket: Option<PathBuf>,
    /// The folder for the sockets, one for each device: dev0, dev1, …; made if there is none
    #[arg(long, value_name = "DIR", conflicts_with = "socket")]
    dir: Option<PathBuf>,
    /// Record every event there, one JSON line each
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Where everything random in the faults comes from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Arguments of `check`.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The device files
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What is wrong with the files; nothing was started.
    #[error("{} found", crate::file::problem::count(.0.len()))]
    Files(Vec<Problem>),
    /// What is wrong with the command.
    #[error("{0}")]
    Usage(String),
    /// A device can't be served.
    #[error("device {dev} can't be served")]
    Serve {
        /// Which, from 0.
        dev: u8,
        /// Why.
        #[source]
        source: ServeError,
    },
    /// The trace can't be written.
    #[error("the trace {} can't be written", path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The operating system refused what the command needs.
    #[error("the operating system refused what serving needs")]
    Os(#[from] io::Error),
}

impl Failure {
    /// The exit status: 2 when the command or a file is wrong, 3 when the machine could not do it.
    pub fn status(&self) -> u8 {
        match self {
            Self::Files(_) | Self::Usage(_) => 2,
            Self::Serve { source, .. } if source.is_about_a_file() => 2,
            Self::Serve { .. } | Self::Trace { .. } | Self::Os(_) => 3,
        }
    }

    /// Writes it for people, with the lines of the files at fault.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn print(self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Files(problems) => problems
                .into_iter()
                .try_for_each(|problem| writeln!(out, "{:?}", miette::Report::new(problem))),
            other => {
                write!(out, "error: {other}")?;
                let mut cause = std::error::Error::source(&other);
                while let Some(error) = cause {
                    write!(out, ": {error}")?;
                    cause = error.source();
                }
                writeln!(out)
            }
        }
    }
}

impl Command {
    /// Carries it out; what it tells goes to `out`.
    ///
    /// # Errors
    /// What is wrong with a file or the command, or why the machine could not do it.
    pub fn run(&self, out: &mut impl Write) -> Result<(), Failure> {
        match self {
            Self::Serve(serve) => serve.run(out),
            Self::Check(check) => check.run(out),
        }
    }
}

impl Check {
    fn run(&self, out: &mut impl Write) -> Result<(), Failure> {
        let mut problems = Vec::new();
        for path in &self.files {
            match file::load(path) {
                Ok(devices) => {
                    let faults: usize = devices.iter().map(|d| d.faults.len()).sum();
                    let (devices, path) = (devices.len(), path.display());
                    writeln!(
                        out,
                        "{path}: {}, {}",
                        counted(devices, "device"),
                        counted(faults, "fault")
                    )?;
                }
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Failure::Files(problems))
        }
    }
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

impl Serve {
    fn run(&self, out: &mut impl Write) -> Result<(), Failure> {
        let devices = file::load(&self.file).map_err(Failure::Files)?;
        let sockets = self.sockets(devices.len())?;
        let trace = match &self.trace {
            Some(path) => {
                let file = TraceFile::create(path).map_err(|e| trace_failed(path, e))?;
                Some((path, file))
            }
            None => None,
        };
        let journal = match &trace {
            Some((_, file)) => Journal::new(file.sink()),
            None => Journal::unread(),
        };
        // Before the first socket is there, so that a signal can't leave one behind.
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let served = self.serve(&devices, &sockets, &journal)?;
        let attachments: Vec<_> = served.iter().map(Served::qemu).collect();
        write_arguments(out, &attachments)?;
        out.flush()?;
        signals.forever().next();
        served.into_iter().for_each(Served::leave);
        match trace {
            Some((path, file)) => file.close().map_err(|e| trace_failed(path, e)),
            None => Ok(()),
        }
    }

    /// Where each device listens.
    fn sockets(&self, devices: usize) -> Result<Vec<PathBuf>, Failure> {
        match (&self.socket, &self.dir) {
            (Some(_), _) if devices != 1 => Err(Failure::Usage(format!(
                "--socket is for one device and {} has {devices}: use --dir",
                self.file.display()
            ))),
            (Some(socket), _) => Ok(vec![absolute(socket)?]),
            (None, dir) => {
                let dir = absolute(dir.as_deref().unwrap_or(Path::new(".")))?;
                std::fs::create_dir_all(&dir).map_err(|e| {
                    Failure::Usage(format!("the folder {} can't be made: {e}", dir.display()))
                })?;
                Ok((0..devices)
                    .map(|dev| dir.join(format!("dev{dev}")))
                    .collect())
            }
        }
    }

    fn serve(
        &self,
        devices: &[DeviceUnderTest],
        sockets: &[PathBuf],
        journal: &Arc<Journal>,
    ) -> Result<Vec<Served>, Failure> {
        let numbered = (0u8..).zip(devices).zip(sockets);
        numbered
            .map(|((dev, device), socket)| {
                remove_stale(socket);
                remove_stale(&backend_socket(socket));
                let (shape, faults) = (&device.shape, device.faults.clone());
                serve_on(dev, shape, faults, self.seed, socket, Arc::clone(journal))
                    .map_err(|source| Failure::Serve { dev, source })
            })
            .collect()
    }
}

/// Removes a socket that a daemon left behind when it was killed: nobody listens on it.
fn remove_stale(socket: &Path) {
    let refused =
        UnixStream::connect(socket).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
    let is_socket = std::fs::symlink_metadata(socket).is_ok_and(|m| m.file_type().is_socket());
    if refused && is_socket {
        // If it can't be removed, binding it will tell why.
        let _ = std::fs::remove_file(socket);
    }
}

fn trace_failed(path: &Path, source: io::Error) -> Failure {
    Failure::Trace {
        path: path.to_owned(),
        source,
    }
}

/// QEMU may run in another folder.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    Ok(std::path::absolute(path)?)
}

/// Writes the arguments that a QEMU needs for these devices, ready for a shell.
fn write_arguments(out: &mut impl Write, devices: &[&Attachment]) -> io::Result<()> {
    let mut arguments = vec![
        ("-machine", "q35,memory-backend=mem".to_owned()),
        ("-m", MEMORY.to_owned()),
        (
            "-object",
            format!("memory-backend-memfd,id=mem,size={MEMORY},share=on"),
        ),
    ];
    for device in devices {
        let chardevs = device.chardevs.iter().cloned();
        arguments.extend(chardevs.map(|chardev| ("-chardev", chardev)));
        arguments.push(("-device", device.device.to_string()));
        let siblings = device.siblings.iter();
        arguments.extend(siblings.map(|sibling| ("-device", sibling.to_string())));
    }
    let lines: Vec<_> = arguments
        .iter()
        .map(|(option, value)| format!("{option} {}", quoted(value)))
        .collect();
    writeln!(out, "{}", lines.join(" \\\n"))
}

/// `text` as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,./:".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_are_ready_for_a_shell() {
        let attachment = Attachment {
            chardevs: vec!["socket,id=c,path=/run/dev0".into()],
            device: json!({"driver": "d'x"}),
            siblings: Vec::new(),
        };
        let mut out = Vec::new();
        write_arguments(&mut out, &[&attachment]).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                "-machine q35,memory-backend=mem \\\n",
                "-m 1G \\\n",
                "-object memory-backend-memfd,id=mem,size=1G,share=on \\\n",
                "-chardev socket,id=c,path=/run/dev0 \\\n",
                "-device '{\"driver\":\"d'\\''x\"}'\n",
            )
        );
    }
}
