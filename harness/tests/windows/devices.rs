//! What becomes of a device: refused, never there, pulled out, asked for, put in again.

use misfire::scenario::Outcome;
use misfire::verdict::Verdict;

use crate::bench::*;

/// A disk with these interrupt messages that `steps` happen to, and that is put in again and works then.
pub fn disk(title: &str, msix: u16, steps: &str) -> String {
    format!(
        r#"
title = "{title}"
source = "the tests of the guest kind windows"

[device]
kind = "block"
queues = 2
msix = {msix}

[[step]]
wait = "ready"
[[step]]
load   = "read"
blocks = 20
timeout = "4s"
{steps}
[[step]]
host = "replug"
[[step]]
wait = "started"
timeout = "4s"
[[step]]
load   = "verify"
blocks = 8
timeout = "4s"
"#
    )
}

pub const PULLED: &str = r#"
[[step]]
wait = "removed"
timeout = "4s"

[[fault]]
id  = "pull"
on  = "chain[q1]"
nth = 5
do  = "unplug.surprise"
"#;

pub const ASKED: &str = r#"
[[step]]
host = "unplug"
timeout = "4s"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_pulled_out_under_load_is_missed_and_comes_back() {
    let mut bench = Bench::new("");
    bench.expect = "[expect.windows]\nio = \"failed\"\nheld = [\"WIN-PNP-001\"]\n\
                    log = [\"MISFIRE: dev 0 removed surprise\"]";
    let steps = disk("a disk that is pulled out under load", 3, PULLED);
    let log = bench.passes_scenario(&steps).await;
    assert_eq!(log.matches("MISFIRE: dev 0 started").count(), 2, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_asked_for_is_let_go_in_order_whoever_switches_its_slot() {
    // QEMU does not survive to lose a function with MSI-X: it is kept. One on the line is taken out.
    for msix in [3, 0] {
        let mut bench = Bench::new("");
        bench.expect = "[expect]\nlog = [\"MISFIRE: dev 0 removed orderly\"]";
        let steps = disk("a disk that is asked for", msix, ASKED);
        let log = bench.passes_scenario(&steps).await;
        assert_eq!(log.matches("MISFIRE: dev 0 started").count(), 2, "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_is_stopped_and_started_waited_for_and_left_alone() {
    let steps = r#"
title = "a disk that is stopped, started, grown and left alone"
source = "the tests of the guest kind windows"

[device]
kind = "block"
queues = 2
msix = 3

[[step]]
wait = "ready"
[[step]]
guest = "device restart"
timeout = "4s"
[[step]]
guest = "device stop"
timeout = "4s"
[[step]]
guest = "device start"
timeout = "4s"
[[step]]
host = "cfg.change capacity=8192"
[[step]]
guest = "wait-config"
timeout = "4s"
[[step]]
guest = "idle 1ms"
timeout = "4s"
[[step]]
load   = "verify"
blocks = 8
timeout = "4s"
"#;
    let log = Bench::new("").passes_scenario(steps).await;
    assert_eq!(log.matches("MISFIRE: dev 0 started").count(), 3, "{log}");
    for done in ["restart", "stop", "start"] {
        let line = format!("MISFIRE: done ok device op={done}");
        assert!(log.contains(&line), "{line}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_does_not_let_its_device_go_is_told_and_the_step_runs_out_of_time() {
    let bench = Bench::new("slot=veto");
    let asked = ASKED.replace("timeout = \"4s\"", "timeout = \"1s\"");
    let steps = disk("a disk that is asked for", 3, &asked);
    let report = bench.run_scenario(&steps).await;
    let (told, log) = (told(&report), bench.log());
    assert_eq!(report.verdict, Verdict::Fail, "{told}\n{log}");
    assert!(told.contains("step `host unplug`"), "{told}");
    let veto = "harness: device 0 was not let go: MISFIRE: slot stays reason=262";
    assert!(log.contains(veto), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_refuses_its_device_is_told_with_the_problem_code() {
    let mut bench = Bench::new("node=10");
    bench.expect = "[expect.windows]\noutcome = \"refused\"\ninterrupts = \"none\"";
    let report = bench.run().await;
    let log = bench.log();
    assert_eq!(
        report.outcome,
        Some(Outcome::Refused),
        "{}\n{log}",
        told(&report)
    );
    assert!(
        log.contains("the device node has problem 10 FAILED_START"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_never_comes_up_is_a_verdict() {
    let mut bench = Bench::new("node=absent");
    bench.more = "limits = { device = 1.0 }".into();
    bench.wait = "2s";
    let report = bench.run().await;
    let (told, log) = (told(&report), bench.log());
    assert_eq!(report.verdict, Verdict::Fail, "{told}");
    assert!(told.contains("step `wait ready` ran out of time"), "{told}");
    let words =
        "harness: stage `device`: device 0 was not started within 1 s: there is no device node";
    assert!(log.contains(words), "{log}");
    assert!(told.contains("the kernel answers its debugger"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_gets_no_driver_is_refused_when_its_time_is_over_and_steps_go_on() {
    let mut bench = Bench::new("node=28");
    bench.more = "limits = { device = 1.0 }".into();
    bench.expect = "[expect.windows]\noutcome = \"refused\"\ninterrupts = \"none\"";
    let report = bench.run().await;
    let (told, log) = (told(&report), bench.log());
    assert_eq!(report.outcome, Some(Outcome::Refused), "{told}\n{log}");
    let words =
        "device 0 was not started within 1 s: the device node has problem 28 FAILED_INSTALL";
    assert!(log.contains(words), "{log}");
    assert!(log.contains("MISFIRE: done ok load"), "{log}");
}
