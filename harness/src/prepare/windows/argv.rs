//! The machine on which a Windows is installed: hardware that every release has drivers for, a debugger's line on
//! COM1, the guest's on COM2, and two root ports that stay empty, with room for what comes later.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::machine::{Accel, FIRST_SLOT, Inherited};

/// Root ports, and what they keep free: below 4 GiB, and above.
const PORTS: usize = 2;
/// The disk's name.
pub(super) const DISK: &str = "disk0";
const RESERVED: &str = "mem-reserve=16M,pref64-reserve=64M";
/// What QEMU is told of the processor where KVM can do it; elsewhere it is left out without a word.
pub(super) const ENLIGHTENED: &[&str] =
    &["hv-relaxed", "hv-vapic", "hv-spinlocks=0x1fff", "hv-time"];

/// The machine.
#[derive(Clone, Debug)]
pub(super) struct Hardware {
    pub qemu: PathBuf,
    pub accel: Accel,
    /// Code, and the variables of this image, if it has some.
    pub firmware: Option<(PathBuf, Option<PathBuf>)>,
    pub disk: PathBuf,
    pub format: String,
    /// What is written to the disk and the variables stays there.
    pub writes: bool,
    /// The medium with the answers.
    pub stick: Option<PathBuf>,
    pub cds: Vec<PathBuf>,
    pub tpm: Option<PathBuf>,
    pub memory: u32,
    pub processors: u8,
    pub viewer: bool,
}

pub(super) fn argv(hardware: &Hardware) -> Vec<OsString> {
    let mut args = vec![hardware.qemu.clone().into_os_string()];
    let mut flag = |name: &str| args.push(name.into());
    flag("-nodefaults");
    flag("-no-user-config");
    let mut option = |name: &str, value: String| {
        args.push(name.into());
        args.push(value.into());
    };
    option("-name", "misfire-prepare".into());
    let display = if hardware.viewer {
        "vnc=127.0.0.1:0,to=99"
    } else {
        "none"
    };
    option("-display", display.into());
    option("-vga", "std".into());
    option("-accel", hardware.accel.name().into());
    let processor = match hardware.accel {
        Accel::Kvm => format!("host,{}", ENLIGHTENED.join(",")),
        Accel::Tcg => "max".into(),
    };
    option("-cpu", processor);
    option("-smp", hardware.processors.to_string());
    option("-machine", "q35,hpet=off,vmport=off".into());
    option("-m", format!("{}M", hardware.memory));
    option("-rtc", "base=localtime".into());
    option("-action", "panic=none".into());
    let snapshot = if hardware.writes { "off" } else { "on" };
    if let Some((code, variables)) = &hardware.firmware {
        let flash = "if=pflash,format=raw";
        let code = file(code);
        option("-drive", format!("{flash},unit=0,readonly=on,file={code}"));
        if let Some(variables) = variables.as_deref().map(file) {
            option(
                "-drive",
                format!("{flash},unit=1,snapshot={snapshot},file={variables}"),
            );
        }
    }
    option(
        "-drive",
        format!(
            "if=none,id={DISK},format={},discard=unmap,snapshot={snapshot},file={}",
            hardware.format,
            file(&hardware.disk)
        ),
    );
    // The disk first: as long as there is nothing on it, the medium's turn comes.
    option(
        "-device",
        format!("ide-hd,drive={DISK},bus=ide.0,bootindex=0"),
    );
    for (n, cd) in hardware.cds.iter().enumerate() {
        let id = format!("cd{n}");
        option(
            "-drive",
            format!(
                "if=none,id={id},media=cdrom,format=raw,readonly=on,file={}",
                file(cd)
            ),
        );
        let boot = if n == 0 { ",bootindex=1" } else { "" };
        option(
            "-device",
            format!("ide-cd,drive={id},bus=ide.{}{boot}", n + 1),
        );
    }
    if let Some(stick) = &hardware.stick {
        option("-device", "ich9-usb-ehci1,id=usb,addr=0x1d".into());
        option(
            "-drive",
            format!("if=none,id=answers,format=raw,file={}", file(stick)),
        );
        option(
            "-device",
            "usb-storage,drive=answers,bus=usb.0,removable=on".into(),
        );
    }
    option("-netdev", "user,id=net0,restrict=on".into());
    option("-device", "e1000e,netdev=net0,addr=0x3".into());
    if let Some(tpm) = &hardware.tpm {
        option("-chardev", format!("socket,id=tpm,path={}", file(tpm)));
        option("-tpmdev", "emulator,id=tpm0,chardev=tpm".into());
        option("-device", "tpm-tis,tpmdev=tpm0".into());
    }
    for (id, which) in [("kd", Inherited::Console), ("agent", Inherited::Agent)] {
        option("-chardev", format!("socket,id={id},fd={}", which.fd()));
        option("-serial", format!("chardev:{id}"));
    }
    option("-device", "pvpanic".into());
    option("-device", "vmcoreinfo".into());
    for n in 0..PORTS {
        let (addr, slot) = (FIRST_SLOT + n, n + 1);
        option(
            "-device",
            format!(
                "pcie-root-port,id=slot{n},addr={addr:#x},chassis={slot},slot={slot},{RESERVED}"
            ),
        );
    }
    option(
        "-chardev",
        format!("socket,id=qmp,fd={}", Inherited::Qmp.fd()),
    );
    option("-qmp", "chardev:qmp".into());
    args
}

/// A path as the value of an option: a comma in it is doubled.
fn file(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
