//! The arguments of a machine that boots a system from its disk: hardware for which a Windows brings
//! drivers (AHCI, e1000e, standard VGA), a kernel debugger's line, an agent's line, and root ports
//! with room behind them for devices that come later.

use std::ffi::OsString;
use std::path::Path;

use super::{Args, placed, slot_id};
use crate::machine::spec::{
    Accel, FIRST_SLOT, Hotplug, Inherited, Installed, MachineSpec, Plugged,
};

/// Memory that a root port keeps free for what comes: below 4 GiB, and above.
const RESERVED: &str = "mem-reserve=16M,pref64-reserve=64M";

pub(super) fn argv(spec: &MachineSpec, installed: &Installed) -> Vec<OsString> {
    let mut args = Args(vec![spec.qemu.clone().into_os_string()]);
    args.flag("-nodefaults").flag("-no-user-config");
    args.option("-name", "misfire");
    if installed.viewer {
        args.option("-display", "vnc=127.0.0.1:0,to=99");
    } else {
        args.option("-display", "none");
    }
    args.option("-vga", "std");
    args.option("-accel", spec.accel.name());
    let processor = processor(spec.accel);
    let flags = installed.cpu_flags.iter().map(|flag| format!(",{flag}"));
    args.option("-cpu", format!("{processor}{}", flags.collect::<String>()));
    args.option("-smp", spec.processors.to_string());
    args.option("-machine", "q35,memory-backend=ram,hpet=off,vmport=off");
    let mib = spec.memory_mib;
    args.option("-m", format!("{mib}M"));
    args.option(
        "-object",
        format!("memory-backend-memfd,id=ram,size={mib}M,share=on"),
    );
    args.option("-rtc", "base=localtime");
    // What crashed stands still until its picture and its memory are taken.
    args.option("-action", "panic=pause");
    disk(&mut args, installed, true);
    args.option("-netdev", "user,id=net0,restrict=on");
    args.option("-device", "e1000e,netdev=net0,addr=0x3");
    if let Some(tpm) = &installed.tpm {
        args.option("-chardev", format!("socket,id=tpm,path={}", file(tpm)));
        args.option("-tpmdev", "emulator,id=tpm0,chardev=tpm");
        args.option("-device", "tpm-tis,tpmdev=tpm0");
    }
    for (name, which) in [("console", Inherited::Console), ("agent", Inherited::Agent)] {
        args.option("-chardev", format!("socket,id={name},fd={}", which.fd()));
        args.option("-serial", format!("chardev:{name}"));
    }
    args.option("-device", "pvpanic");
    args.option("-device", "vmcoreinfo");
    args.option(
        "-chardev",
        format!("socket,id=qmp,fd={}", Inherited::Qmp.fd()),
    );
    args.option("-qmp", "chardev:qmp");
    if installed.hotplug == Hotplug::Native {
        args.option(
            "-global",
            "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
        );
    }
    if spec.plugged == Plugged::Restored {
        args.option("-incoming", "defer");
    }
    for (dev, attachment) in spec.devices.iter().enumerate() {
        let (id, addr, n) = (slot_id(dev), FIRST_SLOT + dev, dev + 1);
        args.option(
            "-device",
            format!("pcie-root-port,id={id},addr={addr:#x},chassis={n},slot={n},{RESERVED}"),
        );
        if spec.plugged == Plugged::AtStart {
            for chardev in &attachment.chardevs {
                args.option("-chardev", chardev);
            }
            args.option("-device", placed(spec, dev, &attachment.device).to_string());
        }
    }
    args.0
}

/// A processor that has all there is.
pub(super) fn processor(accel: Accel) -> &'static str {
    match accel {
        Accel::Kvm => "host",
        Accel::Tcg => "max",
    }
}

/// The disk at the AHCI of the chipset, and the firmware; whether that `boots` from it, or from a kernel.
pub(super) fn disk(args: &mut Args, installed: &Installed, boots: bool) {
    if let Some(firmware) = &installed.firmware {
        let variables = firmware.variables.as_deref().map(file);
        args.flash(&file(&firmware.code), variables.as_deref());
    }
    let snapshot = if installed.keeps { "off" } else { "on" };
    args.option(
        "-drive",
        format!(
            "if=none,id=disk0,format={},cache=unsafe,snapshot={snapshot},file={}",
            installed.format,
            file(&installed.disk)
        ),
    );
    let first = if boots { ",bootindex=0" } else { "" };
    args.option("-device", format!("ide-hd,drive=disk0,bus=ide.0{first}"));
}

/// A path as the value of an option: a comma in it is doubled.
fn file(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
