//! An INF is read and looked at, or refused with the line.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use misfire::inf::{Architecture, Device, Inf, check};
use misfire_device::shape::Shape;
use misfire_fuzz::KINDS;

fuzz_target!(|bytes: &[u8]| {
    let inf = match Inf::read(Path::new("driver.inf"), bytes) {
        Ok(inf) => inf,
        Err(problem) => {
            let _ = (problem.position(), problem.to_string());
            return;
        }
    };
    let devices: Vec<Device> = KINDS
        .iter()
        .map(|kind| Device {
            name: "a device".into(),
            shape: Shape::new(*kind),
        })
        .collect();
    for architecture in [Architecture::X86, Architecture::Amd64, Architecture::Arm64] {
        check(&inf, architecture, &devices);
    }
});
