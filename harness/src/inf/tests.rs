use std::path::Path;

use misfire_device::shape::{Kind, Shape};

use super::*;

/// A driver for block devices as its author would ship it.
const GOOD: &str = r#"; A disk.
[Version]
Signature = "$WINDOWS NT$"
Class     = SCSIAdapter

[Manufacturer]
%Maker% = Disks, NTamd64, NTarm64.10.0...22000

[Disks.NTamd64]
%Disk.DeviceDesc% = disk_inst, PCI\VEN_1AF4&DEV_1042&SUBSYS_00021AF4&REV_01, \
    PCI\VEN_1AF4&DEV_1042

[Disks.NTarm64.10.0...22000]
%Disk.DeviceDesc% = disk_inst, pci\ven_1af4&dev_1042

[disk_inst.NT]
CopyFiles = files

[disk_inst.NT.HW]
AddReg = messages

[messages]
HKR, "Interrupt Management",, 0x00000010
HKR, Interrupt Management\MessageSignaledInterruptProperties,, 0x00000010
HKR, Interrupt Management\MessageSignaledInterruptProperties, MSISupported, 0x00010001, 1
HKR, "Interrupt Management\MessageSignaledInterruptProperties", MessageNumberLimit, %REG_DWORD%, 0x10

[Strings]
Maker = "Somebody; and others"
Disk.DeviceDesc = "A ""fast"" disk"
REG_DWORD = 0x00010001
"#;

fn inf(text: &str) -> Inf {
    Inf::read(Path::new("disk.inf"), text.as_bytes()).unwrap()
}

fn block(queues: u16, msix: u16) -> Device {
    Device {
        name: "the disk".into(),
        shape: Shape {
            queues,
            msix: Some(msix),
            ..Shape::new(Kind::Block)
        },
    }
}

fn findings(text: &str, device: Device) -> Vec<(Severity, &'static str, Option<usize>, String)> {
    let report = check(&inf(text), Architecture::Amd64, &[device]);
    let findings = report.findings.into_iter();
    findings
        .map(|f| (f.severity, f.rule, f.line, f.text))
        .collect()
}

#[test]
fn a_model_is_read_with_its_ids_and_its_interrupts() {
    let driver = Driver::of(&inf(GOOD), Architecture::Amd64);
    let [model] = &driver.models[..] else {
        panic!("one model: {driver:?}");
    };
    assert_eq!((model.line, model.since), (10, None));
    assert_eq!(model.description, "A \"fast\" disk");
    assert_eq!(
        model.ids,
        [
            "PCI\\VEN_1AF4&DEV_1042&SUBSYS_00021AF4&REV_01",
            "PCI\\VEN_1AF4&DEV_1042"
        ]
    );
    assert_eq!(model.install, "disk_inst.nt");
    let value = |entry: &Option<driver::Entry>| entry.as_ref().map(|e| (e.line, e.value));
    assert_eq!(value(&model.interrupts.msi_supported), Some((25, Some(1))));
    assert_eq!(value(&model.interrupts.message_limit), Some((26, Some(16))));
    let arm = Driver::of(&inf(GOOD), Architecture::Arm64);
    assert_eq!(arm.models[0].since, Some((10, 0)));
    assert!(Driver::of(&inf(GOOD), Architecture::X86).models.is_empty());
}

#[test]
fn a_file_with_nothing_wrong_is_told_what_its_device_gets() {
    let report = check(&inf(GOOD), Architecture::Amd64, &[block(4, 5)]);
    let device = &report.devices[0];
    assert_eq!(
        device.taken,
        Some(("PCI\\VEN_1AF4&DEV_1042".into(), 10)),
        "{device:?}"
    );
    assert_eq!(device.messages, Some(5));
    assert!(!report.fails());
    assert_eq!(
        report
            .findings
            .iter()
            .map(|f| f.text.as_str())
            .collect::<Vec<_>>(),
        ["the disk has an MSI-X table of 5: a limit of 16 changes nothing"]
    );
}

#[test]
fn a_limit_below_what_the_device_could_use_is_a_warning() {
    let found = findings(GOOD, block(31, 32));
    assert_eq!(found.len(), 1, "{found:?}");
    let (severity, rule, line, text) = &found[0];
    assert_eq!(
        (*severity, *rule, *line),
        (Severity::Warning, "WIN-MSI-013", Some(26))
    );
    assert!(
        text.contains("32 sources of interrupts: 16 messages are fewer"),
        "{text}"
    );
    assert!(findings(GOOD, block(15, 16)).is_empty());
}

#[test]
fn policy_in_the_install_section_itself_is_an_error() {
    let text = GOOD.replace(
        "[disk_inst.NT.HW]\nAddReg",
        "[nowhere]\nx=y\n[disk_inst.NT]\nAddReg",
    );
    let found = findings(&text, block(4, 5));
    let errors: Vec<_> = found
        .iter()
        .filter(|f| f.0 == Severity::Error)
        .map(|f| f.2)
        .collect();
    assert_eq!(
        errors,
        [Some(25), Some(26), Some(27), Some(28)],
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|f| f.3.contains("MSISupported is not set")),
        "{found:?}"
    );
}

#[test]
fn msi_supported_is_a_yes_or_no() {
    let warn = |value: &str| {
        let text = GOOD.replace("MSISupported, 0x00010001, 1", value);
        findings(&text, block(15, 16))
    };
    let sixteen = warn("MSISupported, 0x00010001, 16");
    assert!(
        sixteen[0]
            .3
            .starts_with("MSISupported = 16: it is a yes or no"),
        "{sixteen:?}"
    );
    let none = warn("Other, 0x00010001, 1");
    assert!(
        none.iter()
            .any(|f| f.3.contains("given one line-based interrupt")),
        "{none:?}"
    );
    assert!(
        none.iter()
            .any(|f| f.3.contains("has no effect without MSISupported = 1")),
        "{none:?}"
    );
    let text = warn("MSISupported, 0x00000000, 1");
    assert_eq!(text[0].0, Severity::Error);
    assert!(text[0].3.contains("is no REG_DWORD"), "{text:?}");
}

#[test]
fn limits_are_held_against_what_each_windows_can_do() {
    let with = |limit: &str| findings(&GOOD.replace("0x10\n", limit), block(15, 16));
    assert_eq!(with("2049\n")[0].0, Severity::Error);
    let win7 = with("1024\n");
    assert_eq!((win7[0].0, win7[0].1), (Severity::Warning, "WIN-MSI-003"));
    // A driver that is for Windows 10 alone is not for Windows 7.
    let ten = GOOD
        .replace("NTamd64", "NTamd64.10.0")
        .replace("0x10\n", "1024\n");
    let found = findings(&ten, block(15, 16));
    assert!(found.iter().all(|f| f.1 != "WIN-MSI-003"), "{found:?}");
    assert!(with("910\n").iter().all(|f| f.1 != "WIN-MSI-003"));
    let unlimited = GOOD.replace("MessageNumberLimit", "Nothing");
    let found = findings(&unlimited, block(15, 2048));
    assert!(
        found[0].3.contains("Windows 7 may not start it"),
        "{found:?}"
    );
}

#[test]
fn msi_has_powers_of_two_up_to_16() {
    let text = GOOD.replace("0x10\n", "3\n");
    let mut device = block(4, 0);
    device.shape.msi = 8;
    let found = findings(&text, device);
    assert!(
        found
            .iter()
            .any(|f| f.3.contains("has to be 1, 2, 4, 8 or 16, and is 3")),
        "{found:?}"
    );
}

#[test]
fn a_driver_for_another_device_is_an_error_that_names_what_the_device_is() {
    let text = GOOD.replace("DEV_1042", "DEV_1001");
    let found = findings(&text, block(4, 5));
    assert_eq!(found[0].0, Severity::Error);
    assert!(
        found[0].3.contains("PCI\\VEN_1AF4&DEV_1042&SUBSYS_"),
        "{found:?}"
    );
    let x86 = check(&inf(GOOD), Architecture::X86, &[]);
    assert!(x86.fails(), "no model for this processor");
}

#[test]
fn needs_is_followed_and_never_in_a_circle() {
    let text = GOOD.replace(
        "[disk_inst.NT.HW]\nAddReg = messages",
        "[disk_inst.NT.HW]\nNeeds = other.HW\n[other.HW]\nNeeds = disk_inst.NT.HW, other.HW\nAddReg = messages",
    );
    let driver = Driver::of(&inf(&text), Architecture::Amd64);
    assert!(driver.models[0].interrupts.msi_supported.is_some());
}

#[test]
fn every_encoding_that_windows_takes_is_read() {
    let utf16: Vec<u8> = std::iter::once(0xfeff)
        .chain(GOOD.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let with_mark = ["\u{feff}", GOOD].concat().into_bytes();
    let ansi = [GOOD.replace("Somebody", "Caf").as_bytes(), b"\n; \xe9\n"].concat();
    let dos = GOOD.replace('\n', "\r\n").into_bytes();
    for bytes in [utf16, with_mark, ansi, dos] {
        let inf = Inf::read(Path::new("disk.inf"), &bytes).unwrap();
        let driver = Driver::of(&inf, Architecture::Amd64);
        assert_eq!(driver.models[0].line, 10);
    }
}

#[test]
fn what_is_no_inf_is_refused_with_the_line() {
    let refused = |text: &str| {
        let problem = Inf::read(Path::new("disk.inf"), text.as_bytes()).unwrap_err();
        (problem.position(), problem.message.clone())
    };
    assert_eq!(refused("; nothing\nhere = 1\n").0, Some((2, 1)));
    assert_eq!(
        refused("[Version]\r\n\r\n[Manufacturer\r\n").0,
        Some((3, 1))
    );
    let (at, message) = refused("[Version]\nSignature = \"$OS/2$\"\n");
    assert_eq!(at, Some((2, 1)));
    assert!(message.contains("expected `$WINDOWS NT$`"), "{message}");
    assert!(refused("").1.contains("is no INF"));
}

#[test]
fn ids_are_made_as_windows_makes_them() {
    let ids = hardware_ids(&Shape::new(Kind::PortCard));
    assert_eq!(ids[1].len(), "PCI\\VEN_1234&DEV_4D46&SUBSYS_00000000".len());
    assert!(
        ids[0].starts_with("PCI\\VEN_1234&DEV_4D46&SUBSYS_"),
        "{ids:?}"
    );
    assert!(
        ids.contains(&"PCI\\VEN_1234&DEV_4D46&CC_FF0000".into()),
        "{ids:?}"
    );
    assert!(ids.contains(&"PCI\\CC_FF00".into()), "{ids:?}");
}

/// GOOD with a service that has these values.
fn with_values(lines: &str) -> String {
    const SERVICE: &str = "[disk_inst.NT.Services]\n\
        AddService = other, 0, elsewhere\n\
        AddService = disk, 0x2, service\n\
        [service]\nAddReg = values\n[elsewhere]\nAddReg = not\n\
        [not]\nHKR, Parameters\\Device, Other, 0x00010001, 1\n[values]\n";
    GOOD.replace("[Strings]", &format!("{SERVICE}{lines}\n[Strings]"))
}

fn parameters(lines: &str) -> Parameters {
    let driver = Driver::of(&inf(&with_values(lines)), Architecture::Amd64);
    driver.models[0].parameters.clone()
}

#[test]
fn values_that_a_miniport_can_read_are_those_of_its_own_service() {
    let read = parameters(
        "HKR, \"Parameters\",, 0x10\n\
         HKR, \"Parameters\\Device\", Number, %REG_DWORD%, 0x10\n\
         HKR, \"PARAMETERS\\Device3\", \"A text\", , \"of one, two\"\n\
         HKR, Parameters\\Device, Bytes, 0x1, 0a, ff,1\n\
         HKR, Parameters\\Device, Path, 0x00020000, %%SystemRoot%%\\x\n\
         HKR, Parameters\\Device, Several, 0x00010000, one, \"and two\"\n\
         HKR, Parameters\\Device, Long, 0x000b0001, 1,2,3,4,5,6,7,8\n\
         HKR, Parameters\\Device, Gone, 0x00010001, 1\n\
         HKR, Parameters\\Device, Gone, 0x4\n\
         HKR, Parameters\\Device, number, 0x00010003, 9\n\
         HKR, Parameters, Elsewhere, 0x00010001, 1\n\
         HKR, Parameters\\Device\\Below, Elsewhere, 0x00010001, 1\n\
         HKR, Parameters\\Device99, Nobody, 0x00010001, 1\n\
         HKLM, Parameters\\Device, Elsewhere, 0x00010001, 1",
    );
    let value = |adapter, name: &str, data| Parameter {
        adapter,
        name: name.into(),
        data,
    };
    let expected = [
        value(None, "Number", Data::Number(16)),
        value(Some(3), "A text", Data::Text("of one, two".into())),
        value(None, "Bytes", Data::Binary(vec![10, 255, 1])),
        value(None, "Path", Data::Expandable("%SystemRoot%\\x".into())),
        value(
            None,
            "Several",
            Data::Texts(vec!["one".into(), "and two".into()]),
        ),
        value(None, "Long", Data::Long(0x0807_0605_0403_0201)),
    ];
    assert_eq!(read.values, expected);
    assert_eq!(read.refused, []);
    assert_eq!(read.values[0].bytes(), (4, vec![16, 0, 0, 0]));
    assert_eq!(read.values[1].bytes(), (1, b"of one, two\0".to_vec()));
    assert_eq!(read.values[3].bytes(), (2, b"%SystemRoot%\\x\0".to_vec()));
    assert_eq!(read.values[4].bytes(), (7, b"one\0and two\0\0".to_vec()));
    assert_eq!(read.values[5].bytes(), (11, (1..9).collect()));
    assert_eq!(parameters(""), Parameters::default());
}

#[test]
fn values_that_cannot_be_handed_on_are_told_with_their_lines() {
    for line in [
        "HKR, Parameters\\Device, A, 0x00010008, another",
        "HKR, Parameters\\Device, A, 0x00050000, a",
        "HKR, Parameters\\Device, A, 0x000b0001, 1, 2",
        "HKR, Parameters\\Device, A, nothing, 1",
        "HKR, Parameters\\Device, A, 0x00010001, one",
        "HKR, Parameters\\Device, A, 0x00010001, 1, 2, 3, 4",
        "HKR, Parameters\\Device, A, 1, 100",
        "HKR, Parameters\\Device, A, 0, \"ä\"",
        "HKR, Parameters\\Device, ä, 0, a",
    ] {
        let read = parameters(line);
        let at = with_values(line)
            .lines()
            .position(|own| own == line)
            .unwrap()
            + 1;
        let lines: Vec<_> = read.refused.iter().map(|(line, _)| *line).collect();
        assert_eq!((lines, read.values.len()), (vec![at], 0), "{line}");
    }
    let many: Vec<_> = (0..33)
        .map(|n| format!("HKR, Parameters\\Device, N{n}, 0x10001, 1"))
        .collect();
    assert_eq!(parameters(&many[..32].join("\n")).refused, []);
    assert_eq!(parameters(&many.join("\n")).refused.len(), 1);
    let long = format!("HKR, Parameters\\Device, A, 0, {}", "x".repeat(1024));
    assert_eq!(parameters(&long).refused.len(), 1);
}
