//! Which scenarios a Linux guest runs.

use misfire_device::file::DeviceUnderTest;
use misfire_device::shape::{Interface, Kind};

use crate::guest::linux::Linux;
use crate::scenario::{Action, GuestParameters, Parameters, Scenario};

/// Why a scenario means nothing to a Linux guest, if it does not.
pub(super) fn skips(scenario: &Scenario) -> Option<&'static str> {
    if scenario.guest.has_mistake() {
        return Some("a mistake is made by the reference guest's driver only");
    }
    if scenario.guest != GuestParameters::default() {
        let all = scenario.guest.devices.iter().chain([&scenario.guest.all]);
        let windows = |p: &Parameters| {
            p.os.is_some()
                || p.msi_supported.is_some()
                || p.message_limit.is_some()
                || p.grant.is_some()
                || p.style.is_some()
        };
        for parameters in all {
            if windows(parameters) {
                return Some("its guest parameters are a Windows' and an INF's");
            }
            if parameters.poll.is_some()
                || parameters.access.is_some()
                || parameters.descriptors.is_some()
            {
                return Some("its guest parameters are the reference driver's own");
            }
            let of_two = |d: &DeviceUnderTest| d.shape.virtio == Interface::Transitional;
            if parameters.interface.is_some() && scenario.devices.iter().any(of_two) {
                return Some("which of two interfaces it uses is a driver's own choice");
            }
        }
    }
    for device in &scenario.devices {
        if device.shape.kind == Kind::PortCard {
            return Some("Linux has no driver for a port-card");
        }
        if device.shape.siblings.is_some() {
            return Some("passive functions beside the device have no slot to be put into later");
        }
    }
    scenario.steps.iter().find_map(|step| match &step.action {
        Action::Guest(command) => {
            (!Linux::knows(command)).then_some("this command means nothing to a Linux guest")
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::vocabulary;
    use crate::scenario::Library;

    #[test]
    fn what_is_known_of_linux_stands_in_scenarios_that_run_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let library = Library::open(Some(&root), &[], &vocabulary()).unwrap();
        let mut in_vain = Vec::new();
        // What stands over a matrix is there for cells that run and for cells that do not.
        let is_cell = |name: &str| name.contains('=');
        for scenario in library.scenarios.iter().filter(|s| !is_cell(&s.name)) {
            let expect = &scenario.expect;
            let mut known = expect.known.iter().map(|known| &known.driver);
            let skipped = expect.of("linux").skip.as_deref().or(skips(scenario));
            if let Some(why) = skipped.filter(|_| known.any(|d| d.starts_with("linux@"))) {
                in_vain.push(format!("{}: {why}", scenario.name));
            }
        }
        assert!(in_vain.is_empty(), "{in_vain:#?}");
    }
}
