//! The machine as a guest file of a real Windows has it: its firmware, its hot-plug.

use misfire::machine::{Cache, Firmware, Qemu};

use crate::bench::*;
use crate::devices::{ASKED, PULLED, disk};
use crate::swtpm::Swtpm;
use crate::uefi;

/// A stand-in under UEFI, with a copy of the firmware's variables.
async fn under_uefi(canned: &'static str) -> Bench {
    let qemu = Qemu::find(&Cache::of_user()).await.unwrap();
    let Ok(Firmware {
        code,
        variables: Some(variables),
    }) = Firmware::find(&qemu.program)
    else {
        panic!("there is no OVMF: ci/setup makes it available");
    };
    let mut bench = Bench::new(canned);
    bench.memory = 256;
    std::fs::copy(variables, bench.path("variables.fd")).unwrap();
    let code = code.display();
    bench.more = format!("firmware = {{ code = \"{code}\", variables = \"variables.fd\" }}");
    uefi::disk(bench.dir.path(), canned, "");
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uefi_firmware_starts_the_system_and_its_variables_stay_as_they_were() {
    let mut bench = under_uefi("pnputil=3010").await;
    bench.keeping.recording = Some(bench.path("recording"));
    let before = std::fs::read(bench.path("variables.fd")).unwrap();
    let log = bench.passes().await;
    // It was started again by the firmware, too.
    assert_eq!(log.matches("kd: booted").count(), 2, "{log}");
    assert_eq!(std::fs::read(bench.path("variables.fd")).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_a_system_under_uefi_is_kept_and_restored() {
    let mut bench = under_uefi("").await;
    bench.warm = true;
    for _ in 0..2 {
        let log = bench.passes().await;
        assert!(!log.contains("kd: booted"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_comes_and_goes_as_qemus_acpi_tables_have_it() {
    // With messages QEMU keeps the device in its slot; one on the line is taken out.
    for (title, msix, steps, how) in [
        ("a disk that is asked for", 3, ASKED, "orderly"),
        ("a disk that is asked for", 0, ASKED, "orderly"),
        (
            "a disk that is pulled out under load",
            3,
            PULLED,
            "surprise",
        ),
    ] {
        let mut bench = Bench::new("hotplug=acpi");
        bench.hotplug = "acpi";
        bench.expect = match how {
            "orderly" => "[expect]\nlog = [\"MISFIRE: dev 0 removed orderly\"]",
            _ => "[expect.windows]\nio = \"failed\"\nlog = [\"MISFIRE: dev 0 removed surprise\"]",
        };
        let log = bench.passes_scenario(&disk(title, msix, steps)).await;
        assert_eq!(
            log.matches("MISFIRE: dev 0 started").count(),
            2,
            "{msix}, {how}: {log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_kept_and_restored_where_acpi_tells_of_devices() {
    let mut bench = Bench::new("hotplug=acpi");
    bench.hotplug = "acpi";
    bench.warm = true;
    for _ in 0..2 {
        bench.passes().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_has_its_tpm_in_one_run_after_the_other_and_when_it_is_restored() {
    let tpm = Swtpm::start();
    for warm in [false, true] {
        let mut bench = Bench::new("");
        bench.more = format!("tpm = \"{}\"", tpm.socket().display());
        bench.warm = warm;
        for _ in 0..2 {
            bench.passes().await;
        }
    }
    assert!(tpm.began() >= 5, "it was not there each time");
    assert!(tpm.was_used(), "the firmware did not use it");
}
