//! `misfire prepare windows` against a stand-in: a medium and a disk of a few sectors, which say in QEMU what Setup
//! and the settings would say. No Windows is here, and none was run.

#[path = "../assembled/mod.rs"]
mod assembled;
mod case;
#[path = "../killed/mod.rs"]
mod killed;
mod media;
mod refused;
mod resumed;
#[path = "../said/mod.rs"]
mod said;
mod stages;
#[path = "../swtpm/mod.rs"]
mod swtpm;
#[path = "../tools/mod.rs"]
mod tools;
mod uefi;
