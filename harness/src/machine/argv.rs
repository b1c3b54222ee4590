//! QEMU's argument vector.

mod installed;

use std::ffi::OsString;

use crate::image::LOAD_ADDRESS;

use super::spec::{
    Accel, Boot, EXIT_PORT, FIRST_SIBLING_SLOT, FIRST_SLOT, Inherited, MachineSpec, Plugged, Rom,
    START_ADDRESS,
};

/// What a q35 has and the reference guest does not use: each costs time at start.
const SPARED: &str =
    "sata=off,smbus=off,usb=off,hpet=off,vmport=off,i8042=off,acpi=off,smm=off,pit=off";

/// What a system that is not ours has no use for.
const SPARED_WITH_ACPI: &str = "smbus=off,usb=off,vmport=off,i8042=off,smm=off";

/// How instructions are carried out. The processors of our own kernel take turns where they are emulated
/// (docs/nt-guest.md).
fn accel(spec: &MachineSpec) -> String {
    let ours = matches!(spec.boot, Boot::Direct | Boot::SeaBios);
    match spec.accel {
        Accel::Tcg if ours && spec.processors > 1 => "tcg,thread=single".into(),
        accel => accel.name().into(),
    }
}

/// The program and its arguments for `spec`.
///
/// Serial port, control channel, kernel and what starts it are descriptors that QEMU inherits
/// ([`Inherited`]), so a machine has no path that could stay behind.
pub fn argv(spec: &MachineSpec) -> Vec<OsString> {
    if let (Boot::Disk, Some(installed)) = (spec.boot, &spec.installed) {
        return installed::argv(spec, installed);
    }
    let mut args = Args(vec![spec.qemu.clone().into_os_string()]);
    args.flag("-nodefaults").flag("-no-user-config");
    args.flag("-no-reboot");
    args.option("-display", "none");
    args.option("-name", "misfire");
    args.option("-accel", accel(spec));
    let spared = match spec.boot {
        Boot::Direct => format!(",{SPARED}"),
        Boot::SeaBios => String::new(),
        _ if spec.installed.is_some() => format!(",{SPARED_WITH_ACPI}"),
        Boot::Agent | Boot::Loader | Boot::Firmware(_) | Boot::Disk => {
            format!(",sata=off,{SPARED_WITH_ACPI}")
        }
    };
    args.option("-machine", format!("q35,memory-backend=ram{spared}"));
    let mib = spec.memory_mib;
    args.option("-m", format!("{mib}M"));
    if spec.processors > 1 {
        args.option("-smp", spec.processors.to_string());
    }
    args.option(
        "-object",
        format!("memory-backend-memfd,id=ram,size={mib}M,share=on"),
    );
    let kernel = Inherited::Kernel.path();
    match spec.boot {
        Boot::Direct => {
            let start = Inherited::Start.path();
            args.option("-bios", Inherited::Rom.path());
            args.option("-device", format!("loader,file={kernel}"));
            args.option(
                "-device",
                format!("loader,file={start},addr={START_ADDRESS:#x},force-raw=on"),
            );
        }
        Boot::SeaBios => {
            args.option("-boot", "strict=on");
            args.option("-kernel", kernel);
            if !spec.append.is_empty() {
                args.option("-append", &spec.append);
            }
        }
        // Who is restored has it in memory.
        Boot::Agent if spec.plugged == Plugged::Restored => {}
        // The disk has it.
        Boot::Loader => {}
        Boot::Agent | Boot::Disk => {
            args.option("-kernel", kernel);
            args.option("-initrd", Inherited::Initrd.path());
            args.option("-append", &spec.append);
        }
        Boot::Firmware(rom @ (Rom::SeaBios | Rom::Bios)) => {
            args.option("-boot", "order=c,strict=on");
            if rom == Rom::Bios {
                args.option("-bios", Inherited::Rom.path());
            }
        }
        Boot::Firmware(Rom::Uefi { variables }) => {
            let variables = variables.then(|| Inherited::Variables.path());
            args.flash(&Inherited::Rom.path(), variables.as_deref());
            args.option("-kernel", kernel);
        }
    }
    if let Some(installed) = &spec.installed {
        args.option("-cpu", installed::processor(spec.accel));
        installed::disk(&mut args, installed, spec.boot == Boot::Loader);
    }
    if spec.image.is_some() {
        let image = Inherited::Image.path();
        args.option(
            "-device",
            format!("loader,file={image},addr={LOAD_ADDRESS:#x},force-raw=on"),
        );
    }
    args.option(
        "-chardev",
        format!("socket,id=console,fd={}", Inherited::Console.fd()),
    );
    if let Boot::Firmware(_) = spec.boot {
        let port = format!("isa-debugcon,iobase={DEBUG_PORT:#x},chardev=console");
        args.option("-device", port);
    } else {
        args.option("-serial", "chardev:console");
    }
    if spec.boot.has_agent() {
        let agent = Inherited::Agent.fd();
        args.option("-chardev", format!("socket,id=agent,fd={agent}"));
        match spec.boot {
            // It polls the first two for keys.
            Boot::Firmware(Rom::Uefi { .. }) => {
                args.option("-device", format!("isa-serial,chardev=agent,{THIRD_PORT}"))
            }
            _ => args.option("-serial", "chardev:agent"),
        };
    }
    if matches!(spec.boot, Boot::Agent | Boot::Loader) {
        args.option("-device", format!("pvpanic-pci,addr={PANIC_SLOT:#x}"));
    }
    args.option(
        "-chardev",
        format!("socket,id=qmp,fd={}", Inherited::Qmp.fd()),
    );
    args.option("-qmp", "chardev:qmp");
    args.option(
        "-device",
        format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"),
    );
    if !spec.slots.is_empty() {
        // The slots are the root ports' own, as PCI Express has them, and not ACPI's.
        args.option(
            "-global",
            "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
        );
    }
    if spec.plugged == Plugged::Restored {
        args.option("-incoming", "defer");
    }
    let at_start = spec.plugged == Plugged::AtStart;
    for (dev, attachment) in spec.devices.iter().enumerate() {
        for chardev in attachment.chardevs.iter().filter(|_| at_start) {
            args.option("-chardev", chardev);
        }
        if spec.slots.contains(&dev) {
            let (id, addr, n) = (slot_id(dev), FIRST_SLOT + dev, dev + 1);
            args.option(
                "-device",
                format!("pcie-root-port,id={id},addr={addr:#x},chassis={n},slot={n}"),
            );
        }
        if at_start {
            args.option("-device", placed(spec, dev, &attachment.device).to_string());
        }
    }
    let siblings = spec.devices.iter().flat_map(|device| &device.siblings);
    for (n, sibling) in siblings.enumerate() {
        let mut sibling = sibling.clone();
        sibling["bus"] = "pcie.0".into();
        sibling["addr"] = format!("{:#x}", FIRST_SIBLING_SLOT + n).into();
        args.option("-device", sibling.to_string());
    }
    args.0
}

/// The `-device` object with its place on the bus and the name that QMP knows it by.
pub fn placed(spec: &MachineSpec, dev: usize, device: &serde_json::Value) -> serde_json::Value {
    let mut device = device.clone();
    if let Some(object) = device.as_object_mut() {
        let (bus, addr) = if spec.slots.contains(&dev) {
            (slot_id(dev), 0)
        } else {
            ("pcie.0".to_owned(), FIRST_SLOT + dev)
        };
        object.insert("id".into(), device_id(dev).into());
        object.insert("bus".into(), bus.into());
        object.insert("addr".into(), format!("{addr:#x}").into());
    }
    device
}

/// QEMU's id of the root port in front of device `dev`.
pub fn slot_id(dev: usize) -> String {
    format!("slot{dev}")
}

/// The device that QEMU knows by this id.
pub fn device_number(id: &str) -> Option<u8> {
    id.strip_prefix("dev")?.parse().ok()
}

/// QEMU's id of device `dev`.
pub fn device_id(dev: usize) -> String {
    format!("dev{dev}")
}

/// Where a firmware prints.
const DEBUG_PORT: u16 = 0x402;
/// The third serial port.
const THIRD_PORT: &str = "index=2,iobase=0x3e8,irq=4";
/// Where the device sits that tells the host of a panic.
const PANIC_SLOT: usize = 0x02;

struct Args(Vec<OsString>);

impl Args {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
    }

    /// A UEFI firmware in flash memory: files as the values of options. What it writes is gone with the machine.
    fn flash(&mut self, code: &str, variables: Option<&str>) {
        let code = format!("if=pflash,unit=0,format=raw,readonly=on,file={code}");
        self.option("-drive", code);
        if let Some(variables) = variables {
            let variables = format!("if=pflash,unit=1,format=raw,snapshot=on,file={variables}");
            self.option("-drive", variables);
        }
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.0.push(name.into());
        self.0.push(value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::spec::{Accel, Firmware, Hotplug, Installed};
    use misfire_device::port::Attachment;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn spec() -> MachineSpec {
        MachineSpec {
            qemu: "qemu-system-x86_64".into(),
            accel: Accel::Tcg,
            boot: Boot::Direct,
            memory_mib: 64,
            processors: 1,
            append: "os=win7 mistake=no-read-back".into(),
            image: None,
            slots: BTreeSet::new(),
            plugged: Plugged::AtStart,
            installed: None,
            devices: vec![
                Attachment {
                    chardevs: vec![],
                    device: json!({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": "run/dev0"}}),
                    siblings: vec![json!({"driver": "virtio-rng-pci", "vectors": 64})],
                },
                Attachment {
                    chardevs: vec!["socket,id=vhost1,path=run/dev1".into()],
                    device: json!({"driver": "vhost-user-blk-pci", "chardev": "vhost1", "vectors": 3}),
                    siblings: vec![],
                },
            ],
        }
    }

    fn shown(spec: &MachineSpec) -> String {
        let argv = argv(spec);
        let words: Vec<_> = argv.iter().map(|a| a.to_str().unwrap()).collect();
        let mut text = String::new();
        for word in words {
            if word.starts_with('-') {
                text.push('\n');
            } else if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    #[test]
    fn the_reference_guest_gets_a_q35_with_nothing_but_its_devices() {
        insta::assert_snapshot!(shown(&spec()));
    }

    #[test]
    fn a_machine_with_firmware_gets_the_whole_q35() {
        let spec = MachineSpec {
            accel: Accel::Kvm,
            boot: Boot::SeaBios,
            devices: vec![],
            ..spec()
        };
        insta::assert_snapshot!(shown(&spec));
    }

    #[test]
    fn a_guest_with_an_agent_gets_its_devices_when_it_is_restored() {
        let spec = MachineSpec {
            boot: Boot::Agent,
            plugged: Plugged::Restored,
            slots: [0, 1].into(),
            append: "console=ttyS0".into(),
            ..spec()
        };
        insta::assert_snapshot!(shown(&spec));
    }

    #[test]
    fn a_system_on_a_disk_gets_that_and_no_kernel() {
        let spec = MachineSpec {
            boot: Boot::Loader,
            plugged: Plugged::Later,
            slots: [0, 1].into(),
            append: String::new(),
            installed: Some(Installed {
                disk: "root.raw".into(),
                format: "raw".into(),
                keeps: false,
                firmware: None,
                tpm: None,
                cpu_flags: Vec::new(),
                hotplug: Hotplug::Native,
                viewer: false,
            }),
            ..spec()
        };
        insta::assert_snapshot!(shown(&spec));
    }

    #[test]
    fn a_firmware_prints_on_its_debug_port() {
        let spec = MachineSpec {
            boot: Boot::Firmware(Rom::Bios),
            append: String::new(),
            ..spec()
        };
        insta::assert_snapshot!(shown(&spec));
    }

    #[test]
    fn a_uefi_firmware_runs_an_application_that_listens_at_the_third_serial_port() {
        let spec = MachineSpec {
            boot: Boot::Firmware(Rom::Uefi { variables: true }),
            append: String::new(),
            ..spec()
        };
        insta::assert_snapshot!(shown(&spec));
    }

    #[test]
    fn an_installed_system_gets_hardware_that_a_windows_has_drivers_for() {
        let spec = MachineSpec {
            boot: Boot::Disk,
            processors: 2,
            plugged: Plugged::Later,
            slots: [0, 1].into(),
            installed: Some(Installed {
                disk: "images/a,b.qcow2".into(),
                format: "qcow2".into(),
                keeps: false,
                firmware: Some(Firmware {
                    code: "OVMF_CODE.fd".into(),
                    variables: Some("OVMF_VARS.fd".into()),
                }),
                tpm: Some("swtpm.sock".into()),
                cpu_flags: vec!["hv-time".into()],
                hotplug: Hotplug::Native,
                viewer: false,
            }),
            ..spec()
        };
        insta::assert_snapshot!(shown(&spec));
    }

    #[test]
    fn a_comma_in_the_command_line_stays_as_it_is() {
        let spec = MachineSpec {
            boot: Boot::SeaBios,
            append: "mistake=a,b dev1.queues=2".into(),
            ..spec()
        };
        assert!(argv(&spec).contains(&"mistake=a,b dev1.queues=2".into()));
    }
}
