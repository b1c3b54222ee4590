//! What a machine is: everything that its argument vector is made of.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use misfire_device::port::Attachment;

/// The most devices a machine takes: slots 0x10 to 0x1e; 0x1f is the chipset's.
pub const MAX_DEVICES: usize = 15;
/// The slot on bus 0 of device 0; device N is N slots further.
pub const FIRST_SLOT: usize = 0x10;
/// The slot of the first passive function beside the devices.
pub const FIRST_SIBLING_SLOT: usize = 0x08;
/// I/O port at which the guest ends the machine; a value V written there gives exit status 2V + 1.
pub const EXIT_PORT: u16 = 0xf4;

/// Where a direct boot finds the kernel's start information, in the guest's memory.
pub const START_ADDRESS: u64 = 0x7000;

/// Everything that QEMU is told.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineSpec {
    /// The program.
    pub qemu: PathBuf,
    /// How instructions are carried out.
    pub accel: Accel,
    /// How it gets to the kernel.
    pub boot: Boot,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Its processors.
    pub processors: u16,
    /// The kernel's command line. A direct boot has it in [`Inherited::Start`].
    pub append: String,
    /// The devices, 0 first.
    pub devices: Vec<Attachment>,
    /// A driver's image for the guest, as [`crate::image::handed`] makes it.
    pub image: Option<Arc<[u8]>>,
    /// Devices that sit behind a root port of their own, in a slot that they can leave.
    pub slots: BTreeSet<usize>,
    /// When the devices are put in.
    pub plugged: Plugged,
    /// The disk of its own that a machine has which boots from it, and what belongs to that; with [`Boot::Agent`] and
    /// [`Boot::Loader`] disk and firmware alone.
    pub installed: Option<Installed>,
}

/// A system that was installed on a disk, and the machine for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Installed {
    /// The image of its disk.
    pub disk: PathBuf,
    /// The image's format as QEMU calls it, such as `qcow2`.
    pub format: String,
    /// What is written to the disk stays there; else it is gone with the machine.
    pub keeps: bool,
    /// A UEFI firmware; none: SeaBIOS.
    pub firmware: Option<Firmware>,
    /// The socket of a software TPM that runs.
    pub tpm: Option<PathBuf>,
    /// What QEMU is told of the processor beside its name, such as `hv-time`.
    pub cpu_flags: Vec<String>,
    /// How devices come and go.
    pub hotplug: Hotplug,
    /// Whether a viewer can look at its screen, on a port of this host alone.
    pub viewer: bool,
}

/// A UEFI firmware in flash memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Firmware {
    /// The code.
    pub code: PathBuf,
    /// The variables that it begins with; what it writes is gone with the machine.
    pub variables: Option<PathBuf>,
}

/// Who tells the system that a device comes or goes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Hotplug {
    /// ACPI, as QEMU has it.
    #[default]
    Acpi,
    /// The root port, as PCI Express has it. A Windows takes control of errors only then.
    Native,
}

/// When the devices of a machine are put in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Plugged {
    /// They are there when it starts.
    #[default]
    AtStart,
    /// Into a guest that has booted: all of them have slots.
    Later,
    /// Into a guest that is not booted but restored; the machine waits for its state.
    Restored,
}

/// How the guest's instructions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Accel {
    /// Software emulation.
    #[default]
    Tcg,
    /// The processor's virtualisation, through `/dev/kvm`.
    Kvm,
}

impl Accel {
    /// QEMU's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// How the machine gets to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Boot {
    /// No firmware: QEMU's loader fills the memory, a ROM of ours jumps to the kernel. Base address
    /// registers are empty. Half of SeaBIOS's time, and no access that is not QEMU's or the guest's.
    #[default]
    Direct,
    /// SeaBIOS, and `-kernel`: base address registers are placed, and things to boot are looked for.
    SeaBios,
    /// The same with an initial RAM disk, ACPI and a second serial port for the guest's agent.
    Agent,
    /// The same without a kernel: the boot loader on the disk, [`MachineSpec::installed`], brings one.
    Loader,
    /// A firmware that boots from a device: what it prints on its debug port is the console, and the first
    /// serial port is for commands.
    Firmware(Rom),
    /// From a disk, [`MachineSpec::installed`], with hardware that a Windows has drivers for. A kernel
    /// debugger is at the first serial port, the guest's agent at the second.
    Disk,
}

/// What a firmware is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rom {
    /// QEMU's SeaBIOS.
    SeaBios,
    /// A BIOS in [`Inherited::Rom`].
    Bios,
    /// A UEFI firmware: its code is in [`Inherited::Rom`]. It runs the application in [`Inherited::Kernel`], which
    /// takes its commands from the third serial port.
    Uefi {
        /// The variables that it begins with are in [`Inherited::Variables`].
        variables: bool,
    },
}

/// A file descriptor that QEMU is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherited {
    /// The guest's serial port, a stream socket.
    Console = 3,
    /// QEMU's control channel, a stream socket.
    Qmp = 4,
    /// The kernel, a file in memory.
    Kernel = 5,
    /// The ROM that a direct boot begins in, or a firmware; a file in memory.
    Rom = 6,
    /// The kernel's start information and command line for a direct boot, a file in memory.
    Start = 7,
    /// A driver's image, a file in memory.
    Image = 8,
    /// The serial port where the guest's agent listens, or a boot sector; a stream socket.
    Agent = 9,
    /// The initial RAM disk.
    Initrd = 10,
    /// The variables of a UEFI firmware, a file in memory.
    Variables = 11,
}

impl Boot {
    /// Whether the guest takes commands on a serial port that is not its console: [`Inherited::Agent`].
    pub fn has_agent(self) -> bool {
        matches!(
            self,
            Self::Agent | Self::Loader | Self::Firmware(_) | Self::Disk
        )
    }
}

impl Inherited {
    /// Its number in QEMU.
    pub fn fd(self) -> i32 {
        self as i32
    }

    /// The path at which QEMU opens it as a file.
    pub fn path(self) -> String {
        format!("/proc/self/fd/{}", self.fd())
    }
}
