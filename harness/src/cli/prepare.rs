//! `misfire prepare`: makes guests that can be booted.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Failure, say};
use crate::prepare::{LinuxRequest, PrepareError, Store, linux};

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
}

pub(super) fn prepare(guest: PrepareGuest) -> Result<(), Failure> {
    let PrepareGuest::Linux {
        kernel,
        modules,
        suffix,
        if_missing,
    } = guest;
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
