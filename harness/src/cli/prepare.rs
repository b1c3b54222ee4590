//! `misfire prepare`: makes guests that can be booted.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{AccelArg, Failure, complain, running, say};
use crate::prepare::{
    Firmware, LinuxRequest, Pace, PrepareError, Source, Store, WindowsError, WindowsRequest, linux,
    windows,
};

/// Which guest.
#[derive(Clone, Debug, Subcommand)]
pub enum PrepareGuest {
    /// A distribution's kernel with the modules for our devices, busybox and QEMU's guest agent. No root
    /// is needed; the packages come from the mirrors that this machine's apt uses.
    Linux {
        /// A version such as 6.12, a package, or a package's file; default: the newest kernel of this
        /// system's release.
        #[arg(long, value_name = "PACKAGE|VERSION|FILE")]
        kernel: Option<String>,
        /// A module of your own, loaded in place of the kernel's of the same name.
        #[arg(long = "module", value_name = "FILE")]
        modules: Vec<PathBuf>,
        /// Added to the guest's name, to tell it from the distribution's.
        #[arg(long, value_name = "WORD")]
        suffix: Option<String>,
        /// Does nothing if there is a guest of that version already.
        #[arg(long, conflicts_with_all = ["modules", "suffix"])]
        if_missing: bool,
    },
    /// A Windows: installed from an ISO without a question, or an image that is there already, with the
    /// settings that tests of drivers need. The same command goes on with what was interrupted.
    Windows(Box<WindowsArgs>),
}

/// What `prepare windows` takes.
#[derive(Clone, Debug, Args)]
pub struct WindowsArgs {
    /// The installation medium, as Microsoft has it for download.
    #[arg(
        long,
        value_name = "WIN.iso",
        required_unless_present = "image",
        conflicts_with = "image"
    )]
    iso: Option<PathBuf>,
    /// An image that is there already: it is booted with a medium from which the settings are made.
    #[arg(long, value_name = "EXISTING.qcow2")]
    image: Option<PathBuf>,
    /// The new image. A guest file of its name is written beside it.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "image",
        conflicts_with = "image"
    )]
    out: Option<PathBuf>,
    /// The ISO of virtio-win: QEMU's guest agent is installed from it. Without it a small agent is.
    #[arg(long, value_name = "ISO")]
    virtio_win: Option<PathBuf>,
    /// The edition: a name, an id such as Professional, or a number; default: Pro, or Standard of a server.
    #[arg(long, value_name = "NAME", requires = "iso")]
    edition: Option<String>,
    /// A product key, or `none`; default: the one that Microsoft publishes for installing the edition without activating it,
    /// and none for evaluation media.
    #[arg(long, value_name = "KEY", requires = "iso")]
    key: Option<String>,
    /// A certificate that the guest is to trust: that of a test-signed driver.
    #[arg(long = "certificate", value_name = "CER")]
    certificates: Vec<PathBuf>,
    /// How the machine starts; default: bios for Windows 7, else uefi; for an existing image as its partition table is.
    #[arg(long, value_enum)]
    firmware: Option<FirmwareArg>,
    /// The files of a UEFI firmware without Secure Boot; default: where distributions have them.
    #[arg(long, value_name = "CODE,VARS", value_parser = two_files)]
    ovmf: Option<(PathBuf, PathBuf)>,
    /// The socket of a swtpm that runs; without one Setup of Windows 11 is told not to look for a TPM. It ends with each
    /// machine; `while swtpm socket --tpm2 --tpmstate dir=DIR --ctrl type=unixio,path=SOCKET; do :; done` starts it again.
    #[arg(long, value_name = "SOCKET")]
    tpm: Option<PathBuf>,
    /// Memory in MiB.
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// Processors.
    #[arg(long, value_name = "N", default_value_t = 2)]
    processors: u8,
    /// Size of the new disk in GiB; it grows as it is written.
    #[arg(long, value_name = "GIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    size: u64,
    /// Lets a VNC viewer look and type, on a port of this machine alone. An existing image has it always.
    #[arg(long)]
    viewer: bool,
    /// How many times longer than under KVM each stage may take; default: 1, or 10 in software emulation.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pace: Option<u32>,
    /// What executes the guest; default: KVM if a trial boot under it succeeds.
    #[arg(long, value_enum, default_value_t = AccelArg::Auto)]
    accel: AccelArg,
}

/// How a machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FirmwareArg {
    /// SeaBIOS.
    Bios,
    /// OVMF, without Secure Boot.
    Uefi,
}

pub(super) fn prepare(guest: PrepareGuest) -> Result<(), Failure> {
    let (kernel, modules, suffix, if_missing) = match guest {
        PrepareGuest::Linux {
            kernel,
            modules,
            suffix,
            if_missing,
        } => (kernel, modules, suffix, if_missing),
        PrepareGuest::Windows(args) => return prepare_windows(*args),
    };
    let request = LinuxRequest {
        kernel,
        modules,
        suffix,
    };
    let store = Store::of_user().map_err(failure)?;
    if if_missing {
        let name = match &request.kernel {
            None => "linux".to_owned(),
            Some(kernel) => format!("linux-{kernel}"),
        };
        if let Ok(there) = store.find(&name) {
            say(&there.name);
            return Ok(());
        }
    }
    let made = linux(&request, &store, |doing| eprintln!("prepare: {doing}")).map_err(failure)?;
    say(&made.name);
    Ok(())
}

fn two_files(text: &str) -> Result<(PathBuf, PathBuf), &'static str> {
    match text.split_once(',') {
        Some((code, variables)) if !code.is_empty() && !variables.is_empty() => {
            Ok((code.into(), variables.into()))
        }
        _ => Err("two files with a comma between them are expected"),
    }
}

fn prepare_windows(args: WindowsArgs) -> Result<(), Failure> {
    let viewer = args.viewer || args.image.is_some();
    let (source, out) = match (args.iso, args.image, args.out) {
        (Some(iso), _, Some(out)) => {
            let (edition, key) = (args.edition, args.key);
            (Source::Iso { iso, edition, key }, out)
        }
        (_, Some(image), _) => (Source::Image, image),
        // The arguments' own conditions let nothing else through.
        _ => {
            return Err(Failure::Wrong(miette::miette!(
                "--iso and --out, or --image"
            )));
        }
    };
    let request = WindowsRequest {
        source,
        out,
        virtio_win: args.virtio_win,
        certificates: args.certificates,
        firmware: args.firmware.map(|firmware| match firmware {
            FirmwareArg::Bios => Firmware::Bios,
            FirmwareArg::Uefi => Firmware::Uefi,
        }),
        ovmf: args.ovmf,
        tpm: args.tpm,
        memory: args.memory,
        processors: args.processors,
        size: args.size << 30,
        viewer,
    };
    let made = running::runtime()?.block_on(async {
        let (qemu, accel) = running::machine_of(args.accel).await?;
        let pace = args.pace.map_or_else(|| Pace::of(accel), Pace::times);
        let tell = |doing: &str| eprintln!("prepare: {doing}");
        let preparing = windows(&request, &qemu, accel, pace, tell);
        tokio::select! {
            made = preparing => made.map_err(windows_failure),
            _ = tokio::signal::ctrl_c() => {
                complain("interrupted: the same command goes on from there");
                Err(Failure::Interrupted)
            }
        }
    })?;
    say(made.display());
    Ok(())
}

/// An error of preparing a Windows, with what to do about it.
fn windows_failure(error: WindowsError) -> Failure {
    let mut text = error.to_string();
    if let Some(why) = std::error::Error::source(&error) {
        text += &format!(": {why}");
    }
    let report = match error.help() {
        Some(help) => miette::miette!(help = help, "{text}"),
        None => miette::miette!("{text}"),
    };
    match error.is_request() {
        true => Failure::Wrong(report),
        false => Failure::Machine(report),
    }
}

/// An error of preparing, with what to do about it.
pub(super) fn failure(error: PrepareError) -> Failure {
    let mut text = error.to_string();
    if let Some(why) = std::error::Error::source(&error) {
        text += &format!(": {why}");
    }
    Failure::Machine(match error.help() {
        Some(help) => miette::miette!(help = help, "{text}"),
        None => miette::miette!("{text}"),
    })
}
