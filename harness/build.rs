//! Compiles the reference guest (`guests/reference`) and tells the crate where it lies:
//! `MISFIRE_GUEST` is the path of an ELF file with a PVH entry.
//!
//! The compiler is called directly: the guest is one crate without dependencies, so no second cargo
//! with locks and a target folder of its own is needed. It is always optimised, in every profile.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The guest is freestanding code for this target; its `core` and `alloc` come with the toolchain
/// on an x86-64 Linux host, and by `rustup target add` elsewhere.
const TARGET: &str = "x86_64-unknown-linux-gnu";

const FLAGS: &[&str] = &[
    "--edition=2024",
    "--crate-name=misfire_guest",
    "--crate-type=bin",
    "-Cpanic=abort",
    "-Copt-level=s",
    "-Ccodegen-units=1",
    "-Crelocation-model=static",
    "-Cstrip=symbols",
    "-Clinker=rust-lld",
    "-Clinker-flavor=ld.lld",
    "-Clink-arg=-static",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=--gc-sections",
];

fn main() {
    let variable = |name: &str| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let source = Path::new(&variable("CARGO_MANIFEST_DIR")).join("guests/reference");
    let guest = PathBuf::from(variable("OUT_DIR")).join("misfire-guest");
    for input in ["src", "link.ld"] {
        println!("cargo::rerun-if-changed={}", source.join(input).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=MISFIRE_GUEST={}", guest.display());

    let output = Command::new(variable("RUSTC"))
        .args(FLAGS)
        .args(["--target", TARGET])
        .arg(format!("-Clink-arg=-T{}", source.join("link.ld").display()))
        .arg(format!("--remap-path-prefix={}=guest", source.display()))
        .arg("-o")
        .arg(&guest)
        .arg(source.join("src/main.rs"))
        .output()
        .unwrap_or_else(|error| panic!("the compiler could not be started: {error}"));
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the reference guest did not compile for {TARGET} (is the target installed? \
         `rustup target add {TARGET}`):\n{messages}"
    );
    for line in messages.lines().filter(|line| line.starts_with("warning")) {
        println!("cargo::warning=reference guest: {line}");
    }
}
