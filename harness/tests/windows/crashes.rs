//! Crashes and hangs: what is told of them, and what is kept.

use misfire::report::ScenarioReport;
use misfire::scenario::Outcome;
use misfire::verdict::Verdict;

use crate::bench::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_has_its_stop_code_its_arguments_and_a_picture() {
    let bench = Bench::new("load=crash");
    let report = bench.run().await;
    assert_eq!(report.verdict, Verdict::Fail, "{}", told(&report));
    assert_eq!(report.outcome, Some(Outcome::Crashed));
    let text = told(&report);
    for part in [
        "it crashed: 0xD1 DRIVER_IRQL_NOT_LESS_OR_EQUAL (0x28, 0x2, 0x0, 0xfffff805500001a4 \
         [standin.sys+0x1a4]) in standin.sys",
        "GUEST_PANICKED",
        "the guest reset itself after the crash",
        "its memory was not kept",
    ] {
        assert!(text.contains(part), "{part}:\n{text}\n{}", bench.log());
    }
    assert!(is_png(&bench.kept("screen.png")), "{text}");
    assert!(is_png(&bench.kept("screen-stop.png")), "{text}");
    assert!(report.files.contains_key("screen"), "{:?}", report.files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_can_expect_a_crash() {
    let mut bench = Bench::new("load=crash panic=loaded");
    bench.expect = "[expect.windows]\noutcome = \"crashed\"\nbugcheck = \"0xD1\"\nio = \"none\"\nbroken = [\"WIN-SYS-001\"]";
    let report = bench.passing().await;
    let told = told(&report);
    assert!(
        report.notes.iter().any(|n| n.contains("GUEST_CRASHLOADED")),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_crash_is_kept_when_it_is_asked_for() {
    let mut bench = Bench::new("load=crash panic=none");
    bench.more = "dump = true".into();
    let report = bench.run().await;
    let told = told(&report);
    assert!(told.contains("its memory, as ELF"), "{told}");
    let memory = std::fs::read(bench.kept("memory.dmp")).unwrap();
    assert!(memory.starts_with(b"\x7fELF"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_crash_is_a_windows_dump_where_the_guest_has_the_driver_for_it() {
    let bench = Bench::new("load=crash dump=windows");
    let report = bench.run().await;
    let told = told(&report);
    assert!(told.contains("its memory, as a Windows dump"), "{told}");
    let memory = std::fs::read(bench.kept("memory.dmp")).unwrap();
    assert!(memory.starts_with(b"PAGEDU64"), "{told}");
    // Two pages of head, and what the guest said is its memory. The stop is out of the kernel's own variable.
    assert_eq!(memory.len(), (2 + 16) * 4096);
    let long = |at: usize| u64::from_le_bytes(memory[at..at + 8].try_into().unwrap());
    let stop: Vec<u64> = (0..5).map(|n| long(56 + 8 * n)).collect();
    assert_eq!(stop, [0xd1, 0x28, 2, 0, 0xffff_f805_5000_01a4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_hangs_is_photographed_probed_and_woken_by_an_nmi() {
    let bench = Bench::new("load=hang");
    let report = bench.run().await;
    let told = told(&report);
    assert_eq!(report.verdict, Verdict::Fail, "{told}");
    assert_eq!(report.outcome, Some(Outcome::Wedged), "{told}");
    for part in [
        "the kernel did not answer its debugger within",
        "QEMU says that the guest is `running`",
        "an interrupt that can't be masked made it stop: 0x80 NMI_HARDWARE_FAILURE",
    ] {
        assert!(told.contains(part), "{part}:\n{told}\n{}", bench.log());
    }
    assert!(is_png(&bench.kept("screen.png")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_hangs_in_a_kernel_that_lives_is_told_apart() {
    let mut bench = Bench::new("load=stuck");
    bench.more = "limits = { work = 1.0 }".into();
    let report = bench.run().await;
    let told = told(&report);
    assert_eq!(report.verdict, Verdict::Fail, "{told}");
    assert_eq!(report.outcome, Some(Outcome::Wedged), "{told}");
    assert!(
        told.contains("the kernel answers its debugger"),
        "{told}\n{}",
        bench.log()
    );
    assert!(
        bench.log().contains("harness: stage `work`"),
        "{}",
        bench.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_a_driver_that_starts_its_device_is_its_conduct_and_no_error() {
    let bench = Bench::new("node=crash");
    let report = bench.run().await;
    let told = told(&report);
    assert_eq!(report.verdict, Verdict::Fail, "{told}\n{}", bench.log());
    assert_eq!(report.outcome, Some(Outcome::Crashed), "{told}");
    assert!(told.contains("it crashed: 0xD1"), "{told}");
    assert!(is_png(&bench.kept("screen.png")), "{told}");
}

/// A crash of which the debugger hears nothing.
async fn alone(canned: &'static str) -> (Bench, ScenarioReport) {
    let bench = Bench::new(canned);
    let report = bench.run().await;
    assert_eq!(report.verdict, Verdict::Fail, "{}", told(&report));
    assert_eq!(report.outcome, Some(Outcome::Crashed), "{}", told(&report));
    (bench, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_that_the_guest_tells_the_host_alone_is_told_without_a_stop_code() {
    for (canned, sign) in [
        ("load=crash panic=alone", "GUEST_PANICKED"),
        ("load=crash panic=alone-loaded", "GUEST_CRASHLOADED"),
    ] {
        let (bench, report) = alone(canned).await;
        let told = told(&report);
        let stops = "WIN-SYS-001 (vendor) broken: the system stops without a stop code";
        for part in [stops, sign, "the guest reset itself after the crash"] {
            assert!(told.contains(part), "{part}:\n{told}\n{}", bench.log());
        }
        let log = bench.log();
        assert!(
            log.contains("MISFIRE: crash 0x0 without a stop code"),
            "{log}"
        );
        assert!(!told.contains("did not tell the host"), "{told}");
        assert!(is_png(&bench.kept("screen.png")), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_system_or_its_agent_does_by_itself_is_an_error_and_no_conduct_of_the_driver() {
    for (canned, why) in [
        (
            "load=restart",
            "the system starts again or shuts down by itself, in good order",
        ),
        ("load=sleep", "the system went to sleep by itself"),
        // It was started anew, and does not know the program any more.
        ("load=forgotten", "the guest agent refused"),
    ] {
        let report = Bench::new(canned).run().await;
        let told = told(&report);
        assert_eq!(report.verdict, Verdict::Error, "{canned}: {told}");
        assert!(told.contains(why), "{canned}: {told}");
    }
}
