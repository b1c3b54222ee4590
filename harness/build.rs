//! Compiles what runs in guests and tells the crate where it lies: `MISFIRE_GUEST` is the path of the reference
//! guest (`guests/reference`), an ELF file with a PVH entry, `MISFIRE_HAND` that of what a Linux guest is given to
//! run (`guests/linux/hand`), a static program, and `MISFIRE_UEFI` that of what a UEFI firmware is (`guests/uefi`).
//!
//! The compiler is called directly: each is one crate without dependencies, so no second cargo
//! with locks and a target folder of its own is needed. It is always optimised, in every profile.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Both are freestanding code for this target; its `core` and `alloc` come with the toolchain
/// on an x86-64 Linux host, and by `rustup target add` elsewhere.
const TARGET: &str = "x86_64-unknown-linux-gnu";

const FLAGS: &[&str] = &[
    "--edition=2024",
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

/// An interrupt comes on the stack that a firmware's program runs on. Its place is the one that its PE image asks for.
const UEFI_FLAGS: [&str; 4] = [
    "-Cno-redzone=yes",
    "-Clink-arg=--image-base=0x2001000",
    "-Clink-arg=--entry=efi_main",
    "-Clink-arg=-znorelro",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let guests = Path::new(&variable("CARGO_MANIFEST_DIR")).join("guests");
    let reference = guests.join("reference");
    println!(
        "cargo::rerun-if-changed={}",
        reference.join("link.ld").display()
    );
    let script = format!("-Clink-arg=-T{}", reference.join("link.ld").display());
    compile(
        "MISFIRE_GUEST",
        "misfire-guest",
        &reference.join("src"),
        &[script],
    );
    // What a Linux guest is given to run.
    compile(
        "MISFIRE_HAND",
        "misfire-hand",
        &guests.join("linux/hand"),
        &[],
    );
    // What a UEFI firmware is given to run.
    compile(
        "MISFIRE_UEFI",
        "misfire-uefi",
        &guests.join("uefi"),
        &UEFI_FLAGS.map(str::to_owned),
    );
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"))
}

/// Compiles `main.rs` in the folder `source`, and puts the path of the program into the variable `told`.
fn compile(told: &str, name: &str, source: &Path, more: &[String]) {
    let program = PathBuf::from(variable("OUT_DIR")).join(name);
    println!("cargo::rerun-if-changed={}", source.display());
    let shared = Path::new(&variable("CARGO_MANIFEST_DIR")).join("guests/shared");
    println!("cargo::rerun-if-changed={}", shared.display());
    println!("cargo::rustc-env={told}={}", program.display());
    let output = Command::new(variable("RUSTC"))
        .arg(format!("--crate-name={}", name.replace('-', "_")))
        .args(FLAGS)
        .args(["--target", TARGET])
        .args(more)
        .arg(format!(
            "--remap-path-prefix={}=guest/src",
            source.display()
        ))
        .arg("-o")
        .arg(&program)
        .arg(source.join("main.rs"))
        .output()
        .unwrap_or_else(|error| panic!("the compiler could not be started: {error}"));
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name} did not compile for {TARGET} (is the target installed? \
         `rustup target add {TARGET}`):\n{messages}"
    );
    for line in messages.lines().filter(|line| line.starts_with("warning")) {
        println!("cargo::warning={name}: {line}");
    }
}
