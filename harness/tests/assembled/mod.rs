//! Programs of `tests/programs/windows_standin`, assembled.

use std::path::Path;
use std::process::Command;

/// The bytes of one of them, with these options beside those that every flat image needs. What it includes is looked
/// for in `folder`, where it is put too.
pub fn assemble(folder: &Path, source: &str, options: &[&str]) -> Vec<u8> {
    let out = folder.join(source).with_extension("bin");
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/windows_standin");
    let output = Command::new("cc")
        .args(["-nostdlib", "-static", "-no-pie"])
        .arg("-Wl,--build-id=none,--oformat=binary")
        .arg(format!("-Wa,-I{}", folder.display()))
        .args(options)
        .arg("-o")
        .arg(&out)
        .arg(programs.join(source))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{source}: {said}");
    std::fs::read(out).unwrap()
}
