//! QEMU: its arguments, its process, its control channel, the guest's console.
//!
//! [`MachineSpec`] says what a machine is, [`argv`] what QEMU is told, [`Machine`] is one that runs.
//! Nothing of a machine stays behind, also when we are killed: its sockets and its kernel are
//! descriptors without a path, the kernel ends QEMU with us, and the kill timer ends it with its time.

mod accel;
mod argv;
mod cache;
mod console;
mod debugger;
mod error;
mod find;
mod kill_timer;
mod launch;
mod line;
mod process;
mod qmp;
mod recording;
mod slot;
mod spec;
mod table;
#[cfg(test)]
pub(crate) mod test_support;
mod tpm;
mod uefi;

pub use accel::{AccelChoice, TRIAL, hyper_v, kvm, trial};
pub use argv::{argv, device_id, device_number, slot_id};
pub use cache::{Cache, cache_folder};
pub use debugger::{Debugger, Listening, line_of};
pub use error::{MachineError, OLDEST_QEMU};
pub use find::{About, Qemu, VARIABLE, Version};
pub use launch::{Machine, Next};
pub use process::{Ended, Process};
pub use qmp::{ANSWER_LIMIT, Happening, Qmp, QmpError, TablePlace};
pub use recording::{Recording, Way};
pub use spec::{
    Accel, Boot, EXIT_PORT, FIRST_SLOT, Firmware, Hotplug, Inherited, Installed, MAX_DEVICES,
    MachineSpec, Plugged, Rom, START_ADDRESS,
};
pub use table::BadTable;
pub use tpm::until_there as until_tpm;
