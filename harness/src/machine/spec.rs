//! What a machine is: everything that its argument vector is made of.

use std::path::PathBuf;

use misfire_device::port::Attachment;

/// The most devices a machine takes: slots 0x10 to 0x1e; 0x1f is the chipset's.
pub const MAX_DEVICES: usize = 15;
/// The slot on bus 0 of device 0; device N is N slots further.
pub const FIRST_SLOT: usize = 0x10;
/// I/O port at which the guest ends the machine; a value V written there gives exit status 2V + 1.
pub const EXIT_PORT: u16 = 0xf4;

/// Everything that QEMU is told.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineSpec {
    /// The program.
    pub qemu: PathBuf,
    /// How instructions are carried out.
    pub accel: Accel,
    /// What runs first.
    pub firmware: Firmware,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// The kernel, as QEMU opens it.
    pub kernel: PathBuf,
    /// The kernel's command line.
    pub append: String,
    /// The devices, 0 first.
    pub devices: Vec<Attachment>,
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

/// What runs before the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Firmware {
    /// qboot, which comes with QEMU: hands over in a tenth of SeaBIOS's time, touches devices only to
    /// list them, and leaves their base address registers empty.
    #[default]
    Qboot,
    /// SeaBIOS, QEMU's own choice: places base address registers, looks for things to boot.
    SeaBios,
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
}

impl Inherited {
    /// Its number in QEMU.
    pub fn fd(self) -> i32 {
        self as i32
    }
}
