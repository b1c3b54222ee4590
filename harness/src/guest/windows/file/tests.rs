use std::path::Path;

use super::*;
use crate::guest::GuestFile;
use crate::guest::file::What;
use crate::guest::windows::course::Order;
use crate::scenario::Problems;

/// A folder with an image and a package.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("package")).unwrap();
    for name in [
        "win11.qcow2",
        "package/dut.sys",
        "package/dut.inf",
        "package/test.cer",
    ] {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    dir
}

fn read(dir: &Path, text: &str) -> Result<WindowsFile, Problems> {
    let text = format!("name = \"win11\"\nkind = \"windows\"\n[windows]\n{text}");
    let file = GuestFile::read(&dir.join("win11.toml"), &text)?;
    match file.what {
        What::Windows(windows) => Ok(*windows),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_package_is_copied_trusted_and_installed_in_this_order() {
    let dir = folder();
    let text = "image = \"win11.qcow2\"\npackage = \"package\"\nverifier = [\"dma\", \"io\"]\n\
                msi-forcedisable = true";
    let file = read(dir.path(), text).unwrap();
    let windows = Windows::own("win11", "dut@1", &file).unwrap();
    assert_eq!(windows.installed.format, "qcow2");
    assert_eq!(windows.driver, "dut@1");
    let what: Vec<&str> = windows.jobs.iter().map(|job| job.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "making a folder",
            "copying the harness's script",
            "copying dut.inf",
            "copying dut.sys",
            "copying test.cer",
            "trusting test.cer as Root",
            "trusting test.cer as TrustedPublisher",
            "installing dut.inf",
            "forbidding messages",
            "setting Driver Verifier",
        ]
    );
    let last = windows.jobs.last().unwrap();
    let Order::Run { args, .. } = &last.order else {
        panic!("not a program");
    };
    assert_eq!(args, &["/flags", "0x90", "/driver", "dut.sys"]);
    assert!(last.restarts);
    assert_eq!(windows.without_messages(), windows);
    let file = read(dir.path(), "image = \"win11.qcow2\"").unwrap();
    let windows = Windows::own("win11", "dut@1", &file).unwrap();
    let without = windows.without_messages();
    assert_eq!(without.jobs.last().unwrap().what, "forbidding messages");
}

#[test]
fn what_is_wrong_is_refused_with_its_key() {
    let dir = folder();
    for (text, message) in [
        ("format = \"iso\"", "`iso`: expected qcow2, raw, vhdx, vmdk"),
        ("memory = 1", "memory = 1: expected 16 to 1048576"),
        (
            "driver = \"viostor\"",
            "`viostor`: expected \"driver@revision\"",
        ),
        (
            "limits = { boot = 0.0 }",
            "boot = 0: expected 0.01 to 86400 seconds",
        ),
        (
            "verifier = [\"dma\"]",
            "Driver Verifier needs the name of a driver: verified",
        ),
        (
            "log = [{ line = \"(\", means = \"line\" }]",
            "not a regular expression",
        ),
        (
            "log = [{ line = \"q(?<queue>.)\", means = \"queue-vector\" }]",
            "a line that means `queue-vector` needs the group (?<wrote>…)",
        ),
    ] {
        let Problems(all) =
            read(dir.path(), &format!("image = \"win11.qcow2\"\n{text}")).expect_err(text);
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].message.contains(message), "{}", all[0].message);
    }
    let Problems(all) = read(dir.path(), "").expect_err("an image is needed");
    assert_eq!(all[0].message, "a Windows needs the image of its disk");
}

#[test]
fn a_package_without_an_inf_is_none() {
    let dir = folder();
    std::fs::remove_file(dir.path().join("package/dut.inf")).unwrap();
    let text = "image = \"win11.qcow2\"\npackage = \"package\"";
    let file = read(dir.path(), text).unwrap();
    let error = Windows::own("win11", "dut@1", &file).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("package: there is no INF in it"),
        "{error}"
    );
}
