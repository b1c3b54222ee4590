//! Whether a Windows image does what runs need of it.

use super::{Doctor, Finding, State, about_disk, good, not};
use crate::machine::{Accel, AccelChoice, Cache, Qemu};
use crate::prepare::{Checked, GuestOnDisk, Pace, WindowsError};
use crate::run::{Subject, WindowsSubject};

const HELP: &str = "docs/windows.md says what each setting of an image is for; `misfire prepare windows --image` makes them.";

impl Doctor {
    /// Boots a Windows image, to which nothing is written, and listens for its debugger and its agent; a
    /// guest that brings a driver package is run with a disk that works.
    pub(super) async fn examine_windows(&mut self, windows: &WindowsSubject) {
        let cache = Cache::of_user();
        let Ok(qemu) = Qemu::find(&cache).await else {
            return;
        };
        let accel = AccelChoice::Auto.decide(&qemu, &cache).await;
        let accel = accel.unwrap_or(Accel::Tcg);
        let guest = GuestOnDisk::of_image(&windows.image);
        let found = guest.check(&qemu, accel, Pace::of(accel)).await;
        self.findings.extend(about_image(&guest, found));
        if self.can_run() && windows.image.installs {
            let subject = Subject::Windows(Box::new(windows.clone()));
            self.findings.push(about_disk(subject, accel).await);
        }
    }
}

fn about_image(guest: &GuestOnDisk, found: Result<Checked, WindowsError>) -> Vec<Finding> {
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let help = error.help().unwrap_or_else(|| HELP.to_owned());
            return vec![not("image", State::Bad, error.to_string(), &help)];
        }
    };
    let kernel = match found.build {
        Some(build) => format!("the kernel, build {build}, speaks to a debugger on COM1"),
        None => "the kernel speaks to a debugger on COM1".to_owned(),
    };
    let either = |about, is: bool, is_so: String, else_so: &str| match is {
        true => good(about, is_so),
        false => not(about, State::Bad, else_so.to_owned(), HELP),
    };
    vec![
        good("image", guest.image().display().to_string()),
        either(
            "kernel debugger",
            found.debugger,
            kernel,
            "the kernel does not speak to a debugger on COM1",
        ),
        either(
            "agent",
            found.agent,
            "it answers on COM2".to_owned(),
            "no agent answers on COM2",
        ),
    ]
}
