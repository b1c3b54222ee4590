//! QEMU's argument vector.

use std::ffi::OsString;

use super::spec::{Boot, EXIT_PORT, FIRST_SLOT, Inherited, MachineSpec, START_ADDRESS};

/// What a q35 has and the reference guest does not use: each costs time at start.
const SPARED: &str =
    "sata=off,smbus=off,usb=off,hpet=off,vmport=off,i8042=off,acpi=off,smm=off,pit=off";

/// The program and its arguments for `spec`.
///
/// Serial port, control channel, kernel and what starts it are descriptors that QEMU inherits
/// ([`Inherited`]), so a machine has no path that could stay behind.
pub fn argv(spec: &MachineSpec) -> Vec<OsString> {
    let mut args = Args(vec![spec.qemu.clone().into_os_string()]);
    args.flag("-nodefaults").flag("-no-user-config");
    args.flag("-no-reboot");
    args.option("-display", "none");
    args.option("-name", "misfire");
    args.option("-accel", spec.accel.name());
    let spared = match spec.boot {
        Boot::Direct => format!(",{SPARED}"),
        Boot::SeaBios => String::new(),
    };
    args.option("-machine", format!("q35,memory-backend=ram{spared}"));
    let mib = spec.memory_mib;
    args.option("-m", format!("{mib}M"));
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
    }
    args.option(
        "-chardev",
        format!("socket,id=console,fd={}", Inherited::Console.fd()),
    );
    args.option("-serial", "chardev:console");
    args.option(
        "-chardev",
        format!("socket,id=qmp,fd={}", Inherited::Qmp.fd()),
    );
    args.option("-qmp", "chardev:qmp");
    args.option(
        "-device",
        format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"),
    );
    for (dev, attachment) in spec.devices.iter().enumerate() {
        for chardev in &attachment.chardevs {
            args.option("-chardev", chardev);
        }
        args.option("-device", placed(dev, &attachment.device));
    }
    args.0
}

/// The `-device` object with its place on the bus and the name that QMP knows it by.
fn placed(dev: usize, device: &serde_json::Value) -> String {
    let mut device = device.clone();
    if let Some(object) = device.as_object_mut() {
        object.insert("id".into(), device_id(dev).into());
        object.insert("bus".into(), "pcie.0".into());
        object.insert("addr".into(), format!("{:#x}", FIRST_SLOT + dev).into());
    }
    device.to_string()
}

/// QEMU's id of device `dev`.
pub fn device_id(dev: usize) -> String {
    format!("dev{dev}")
}

struct Args(Vec<OsString>);

impl Args {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
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
    use crate::machine::spec::Accel;
    use misfire_device::port::Attachment;
    use serde_json::json;

    fn spec() -> MachineSpec {
        MachineSpec {
            qemu: "qemu-system-x86_64".into(),
            accel: Accel::Tcg,
            boot: Boot::Direct,
            memory_mib: 64,
            append: "os=win7 mistake=no-read-back".into(),
            devices: vec![
                Attachment {
                    chardevs: vec![],
                    device: json!({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": "run/dev0"}}),
                },
                Attachment {
                    chardevs: vec!["socket,id=vhost1,path=run/dev1".into()],
                    device: json!({"driver": "vhost-user-blk-pci", "chardev": "vhost1", "vectors": 3}),
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
    fn a_comma_in_the_command_line_stays_as_it_is() {
        let spec = MachineSpec {
            boot: Boot::SeaBios,
            append: "mistake=a,b dev1.queues=2".into(),
            ..spec()
        };
        assert!(argv(&spec).contains(&"mistake=a,b dev1.queues=2".into()));
    }
}
