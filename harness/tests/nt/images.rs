//! What is read of an image and of an INF, and what is refused.

use std::path::Path;

use misfire::image::Image;

use crate::bench::*;

#[test]
fn both_builds_are_read_and_import_nothing_that_the_model_lacks() {
    for kind in ["blk", "scsi"] {
        both_builds_are_read(kind);
    }
}

fn both_builds_are_read(kind: &str) {
    let plain = Image::read(&bytes(&format!("{kind}.sys"))).unwrap();
    let release = Image::read(&bytes(&format!("{kind}-release.sys"))).unwrap();
    assert_eq!((plain.missing(), release.missing()), (vec![], vec![]));
    assert_eq!((plain.cookie, plain.functions), (None, None));
    assert!(release.cookie.is_some() && release.functions.is_some());
    assert!(release.sections.iter().any(|s| s.name == "INIT"));
    // Registers are imported calls in the one, and instructions in the other.
    let calls = |image: &Image| {
        image
            .imports
            .iter()
            .filter(|i| i.name.contains("Register"))
            .count()
    };
    assert!(calls(&plain) > 0 && calls(&release) == 0);
}

#[test]
fn an_image_that_is_cut_off_anywhere_is_refused() {
    let whole = bytes("blk-release.sys");
    for end in 0..whole.len() {
        assert!(
            Image::read(&whole[..end]).is_err(),
            "{end} bytes of {}",
            whole.len()
        );
    }
}

#[test]
fn what_is_no_driver_is_refused_with_its_name_and_nothing_is_started() {
    let readme = Path::new(HERE).join("Cargo.toml").display().to_string();
    let (status, said) = misfire(&["vectors/per-queue", "--driver", &readme]);
    assert_eq!(status, Some(2));
    assert!(
        said.contains("Cargo.toml") && said.contains("not a PE image"),
        "{said}"
    );
    let (status, said) = misfire(&["vectors/per-queue"]);
    assert_eq!(status, Some(2));
    assert!(said.contains("--driver X.sys"), "{said}");
}

#[test]
fn an_inf_with_a_value_that_cannot_be_handed_on_is_refused_with_its_line() {
    let image = miniports().join("blk.sys").display().to_string();
    let own = Path::new(HERE).join("guests/miniports/blk.inf");
    let text =
        std::fs::read_to_string(own).unwrap() + "HKR, Parameters\\Device, Odd, 0x00020001, 61\n";
    let inf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("odd-value.inf");
    std::fs::write(&inf, &text).unwrap();
    let inf = inf.display().to_string();
    let (status, said) = misfire(&["vectors/per-queue", "--driver", &image, "--inf", &inf]);
    assert_eq!(status, Some(2), "{said}");
    let line = format!(":{}:", text.lines().count());
    assert!(said.contains(&line), "{line}: {said}");
    assert!(said.contains("REG_BINARY"), "{said}");
}

#[test]
fn an_import_that_the_model_lacks_is_named_before_the_start_or_when_it_is_called() {
    let image = miniports().join("missing.sys").display().to_string();
    let arguments = ["vectors/per-queue", "--driver", &image];
    let (status, said) = misfire(&arguments);
    assert_eq!(status, Some(2));
    assert!(said.contains("IoNoSuchRoutine of ntoskrnl.exe"), "{said}");
    let (status, said) = misfire(&[&arguments[..], &["--allow-missing"]].concat());
    assert_eq!(status, Some(1));
    assert!(
        said.contains("crashed") && said.contains("not Windows"),
        "{said}"
    );
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nt/command/vectors/per-queue/guest.log");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(
        log.contains("the driver calls IoNoSuchRoutine of ntoskrnl.exe"),
        "{log}"
    );
}
