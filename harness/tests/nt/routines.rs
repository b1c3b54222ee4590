//! What the model's routines answer.

use std::path::Path;

use misfire::cli::vocabulary;
use misfire::report::one_scenario;
use misfire::run::Snapshots;
use misfire::scenario::Library;

use crate::bench::*;

#[test]
fn what_the_kernel_exports_answers_as_it_should() {
    let image = miniports().join("routines.sys").display().to_string();
    let (status, said) = misfire(&["vectors/shared", "--driver", &image]);
    assert_eq!(status, Some(1), "{said}");
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nt/command/vectors/shared/guest.log");
    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("ROUTINE:"))
        .collect();
    assert_eq!(lines.len(), 23, "{log}");
    assert!(lines.iter().all(|line| line.ends_with(" answers")), "{log}");
}

#[test]
fn what_the_port_driver_is_asked_for_by_a_code_answers_as_it_should() {
    for processors in [1, 2] {
        let parameter = Some("mistake=calls-routines".to_owned());
        let reports = run_on(processors, "blk.sys", &["vectors/processors"], parameter);
        let text = one_scenario(&reports[0], false);
        assert_eq!(broken(&reports[0]), [""; 0], "{text}");
        let log = log(&reports[0]);
        let lines = log.lines().filter(|line| line.contains("ROUTINE:"));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 18, "{log}");
        assert!(lines.iter().all(|line| line.ends_with(" answers")), "{log}");
        // What it does not have is told by its name.
        assert!(
            log.contains("NT: StorPortExtendedFunction(27), InvokeAcpiMethod, is not modelled"),
            "{log}"
        );
    }
}

#[test]
fn a_miniport_is_told_the_processor_of_each_message_and_which_channel_a_request_is_in() {
    for processors in [1, 2] {
        let parameter = Some("mistake=calls-routines".to_owned());
        let reports = run_on(processors, "scsi.sys", &["scsi/units"], parameter);
        let text = one_scenario(&reports[0], false);
        assert_eq!(broken(&reports[0]), [""; 0], "{text}");
        let log = log(&reports[0]);
        assert!(log.contains("ROUTINE: MessageTargets answers"), "{log}");
    }
}

#[test]
fn a_miniport_is_told_why_its_device_leaves_d0() {
    let parameter = Some("mistake=calls-routines".to_owned());
    let reports = run("blk.sys", &["power/sleep@twice"], parameter);
    let log = log(&reports[0]);
    let lines = log.lines().filter_map(|line| line.split("POWER: ").nth(1));
    let lines: Vec<&str> = lines.collect();
    // Of the unit, then of the adapter; and after it woke up in the other order.
    let asleep = |action| vec![action; 2];
    let awake = ["state 1, action 0"; 2];
    let expected = [
        asleep("state 4, action 2"),
        awake.to_vec(),
        asleep("state 4, action 3"),
        vec!["the boot configuration"],
        awake.to_vec(),
    ];
    assert_eq!(lines, expected.concat(), "{log}");
}

#[test]
fn a_miniport_reads_what_its_inf_puts_into_the_registry_and_nothing_without_one() {
    let told = |inf: bool| {
        let root = Path::new(HERE).join("../scenarios");
        let name = "vectors/per-queue";
        let library = Library::open(Some(&root), &[name.into()], &vocabulary()).unwrap();
        let mut chosen = library.scenarios;
        chosen.retain(|scenario| scenario.name == name);
        let mut driver = driver("blk.sys", Some("mistake=calls-routines".into()));
        driver.inf = driver.inf.filter(|_| inf);
        let folder = if inf { "registry" } else { "no-registry" };
        let reports = run_with("blk.sys", chosen, driver, folder, Snapshots::Leave, 1);
        let log = log(&reports[0]);
        let lines = log
            .lines()
            .filter_map(|line| line.split("REGISTRY: ").nth(1));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let with = [
        "too small by 4",
        "number 1234 of 4 bytes",
        "text of all of 7 bytes",
        "bytes a ff of 2",
        "path %SystemRoot%\\a of 15 bytes",
        "list one, two of 9 bytes",
        "long 2 1 of 8 bytes",
        "written 5 of 4 bytes",
    ];
    assert_eq!(told(true), with);
    let without = [
        "too small by 0",
        "no number, 0 bytes",
        "written 5 of 4 bytes",
    ];
    assert_eq!(told(false), without);
}
