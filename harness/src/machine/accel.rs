//! Whether KVM can be used here: only a guest that ran under it can tell.

use std::time::{Duration, Instant};

use misfire_device::port::Journal;

use super::cache::Cache;
use super::error::MachineError;
use super::find::Qemu;
use super::spec::Accel;
use crate::guest::{Heard, Reference};

/// How long the trial of KVM may take, and that of software emulation, which is there on a busy machine too.
pub const TRIAL: Duration = Duration::from_secs(2);
const EMULATED: Duration = Duration::from_secs(30);
const DEVICE: &str = "/dev/kvm";

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccelChoice {
    /// KVM where it works, software emulation elsewhere.
    #[default]
    Auto,
    /// Software emulation.
    Tcg,
    /// KVM, or an error.
    Kvm,
}

impl AccelChoice {
    /// How instructions will be carried out.
    ///
    /// # Errors
    /// When KVM was asked for by name and does not work.
    pub async fn decide(self, qemu: &Qemu, cache: &Cache) -> Result<Accel, MachineError> {
        match self {
            Self::Tcg => Ok(Accel::Tcg),
            Self::Auto => Ok(kvm(qemu, cache).await.map_or(Accel::Tcg, |()| Accel::Kvm)),
            Self::Kvm => kvm(qemu, cache)
                .await
                .map(|()| Accel::Kvm)
                .map_err(|why| MachineError::Kvm { why }),
        }
    }
}

/// Whether KVM works, and if not, why. A trial boot of the reference guest is made once for each QEMU
/// and each start of this machine.
///
/// # Errors
/// The reason in words.
pub async fn kvm(qemu: &Qemu, cache: &Cache) -> Result<(), String> {
    use rustix::fs::{Access, access};
    if let Err(error) = access(DEVICE, Access::READ_OK | Access::WRITE_OK) {
        return Err(format!("{DEVICE} can't be opened: {error}"));
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let key = format!("{} {} {:x}", qemu.key, boot.trim(), Reference::digest());
    if let Some(answer) = cache.get::<Result<(), String>>("kvm", &key) {
        return answer;
    }
    let answer = trial(qemu, Accel::Kvm).await.map(|_| ());
    cache.put("kvm", &key, &answer);
    answer
}

/// Whether KVM can show a guest what Hyper-V would, which `hv-crash` and the other `hv-` flags need. Where it
/// can't, QEMU leaves them out without a word.
pub fn hyper_v() -> bool {
    let Ok(kvm) = std::fs::File::options().read(true).write(true).open(DEVICE) else {
        return false;
    };
    // SAFETY: the descriptor is of /dev/kvm, whose KVM_CHECK_EXTENSION takes a number and touches no memory.
    unsafe { rustix::ioctl::ioctl(&kvm, CheckExtension(KVM_CAP_HYPERV)) }
        .is_ok_and(|level| level > 0)
}

/// `KVM_CHECK_EXTENSION` of `linux/kvm.h`: `_IO(0xae, 0x03)`; its answer is a number.
const KVM_CHECK_EXTENSION: rustix::ioctl::Opcode = rustix::ioctl::opcode::none(0xae, 0x03);
const KVM_CAP_HYPERV: usize = 44;

struct CheckExtension(usize);

// SAFETY: the argument is a number that the kernel does not use as an address, and nothing is written.
unsafe impl rustix::ioctl::Ioctl for CheckExtension {
    type Output = rustix::ioctl::IoctlOutput;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> rustix::ioctl::Opcode {
        KVM_CHECK_EXTENSION
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::without_provenance_mut(self.0)
    }

    unsafe fn output_from_ptr(
        output: rustix::ioctl::IoctlOutput,
        _: *mut std::ffi::c_void,
    ) -> rustix::io::Result<Self::Output> {
        Ok(output)
    }
}

/// Boots the reference guest without a device and lets it leave; the time from start to end.
///
/// # Errors
/// What went wrong, in words.
pub async fn trial(qemu: &Qemu, accel: Accel) -> Result<Duration, String> {
    let begin = Instant::now();
    let limit = match accel {
        Accel::Kvm => TRIAL,
        Accel::Tcg => EMULATED,
    };
    let left = || limit.saturating_sub(begin.elapsed());
    let run = async {
        let mut guest = Reference::boot(
            qemu,
            accel,
            Vec::new(),
            "",
            Journal::new(Box::new(|_| ())),
            limit,
        )?;
        let is_ready = matches!(guest.ready(left()).await?, Heard::Answer(_));
        if is_ready && matches!(guest.exit(left()).await?, Heard::Answer(_)) {
            return Ok(Ok(begin.elapsed()));
        }
        let machine = guest.machine();
        let mut why = match machine.last_lines().last() {
            None => format!("a guest printed nothing within {} s", limit.as_secs()),
            Some(line) => format!(
                "a guest was not through within {} s; its last line: {line}",
                limit.as_secs()
            ),
        };
        let messages = machine.messages();
        if let Some(first) = messages.lines().find(|line| !line.contains("warning:")) {
            why.push_str(&format!("; QEMU said: {first}"));
        }
        Ok(Err(why))
    };
    run.await
        .unwrap_or_else(|error: MachineError| Err(error.to_string()))
}
