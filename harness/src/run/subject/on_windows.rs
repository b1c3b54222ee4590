//! What a scenario asks of a Windows.

use std::path::PathBuf;

use misfire_device::shape::Kind;

use crate::guest::windows;
use crate::scenario::{Action, Load, Scenario};

/// A Windows, and how it gets to where it can be used.
#[derive(Clone, Debug)]
pub struct WindowsSubject {
    /// What is booted.
    pub image: windows::Image,
    /// The folder of the states that it is restored from; none: it is booted each time.
    pub states: Option<PathBuf>,
}

impl WindowsSubject {
    /// What is booted for a scenario: one in which nobody is granted a message has a system of its own.
    pub(in crate::run) fn image_for(&self, scenario: &Scenario) -> windows::Image {
        match scenario.guest.all.grant.as_deref() {
            Some("none") => self.image.without_messages(),
            _ => self.image.clone(),
        }
    }

    /// What is set at the node of a device before it is used, as the guest's script takes it.
    pub(in crate::run) fn node_settings(&self, scenario: &Scenario, dev: usize) -> Option<String> {
        let own = scenario.guest.devices.get(dev);
        let all = &scenario.guest.all;
        let grant = own.and_then(|own| own.grant.as_deref());
        let has_one = grant.or(all.grant.as_deref()) == Some("one");
        let limit = own
            .and_then(|own| own.message_limit)
            .or(all.message_limit)
            .or(has_one.then_some(1))
            .or(self.image.message_number_limit);
        let msi = own.and_then(|own| own.msi_supported).or(all.msi_supported);
        let msi = msi.or((grant == Some("none")).then_some(false));
        let words: Vec<String> = [
            limit.map(|limit| format!("limit={limit}")),
            msi.map(|msi| format!("msi={}", u8::from(msi))),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

/// Why a scenario is not meant for a Windows, if it isn't.
pub(super) fn skips(scenario: &Scenario, has_workload: bool) -> Option<&'static str> {
    if scenario.guest.has_mistake() {
        return Some("a mistake is made by the reference guest's driver only");
    }
    for parameters in scenario.guest.devices.iter().chain([&scenario.guest.all]) {
        if parameters.os.is_some() || parameters.style.is_some() {
            return Some("its guest parameters are those of the model of Windows");
        }
        if parameters.poll.is_some()
            || parameters.access.is_some()
            || parameters.descriptors.is_some()
            || parameters.interface.is_some()
        {
            return Some("its guest parameters are the reference driver's own");
        }
        if parameters.depth.is_some_and(|depth| depth > 1) && !has_workload {
            return Some("it needs several requests in flight, and there is one at a time");
        }
    }
    for device in &scenario.devices {
        if device.shape.siblings.is_some() {
            return Some("passive functions beside the device have no slot to be put into later");
        }
        if !matches!(device.shape.kind, Kind::Block | Kind::Scsi) && !has_workload {
            return Some("for this kind of device the guest file has to name a workload");
        }
    }
    scenario.steps.iter().find_map(|step| match &step.action {
        Action::Load(
            Load::Block {
                queue: Some(1..), ..
            },
            _,
        ) => Some("on Windows the processor chooses the queue"),
        Action::Load(
            Load::Block {
                kind: "discard", ..
            },
            _,
        ) if !has_workload => Some("what is discarded on Windows is for its file systems to say"),
        Action::Guest(command)
            if command.starts_with("wait-config") && !is_disk(scenario, command) =>
        {
            Some("that a driver has taken a change over shows on Windows of disks only")
        }
        Action::Guest(command) => {
            let mut words = command
                .split_ascii_whitespace()
                .filter(|word| !word.contains('='));
            let is_known = matches!(
                (words.next(), words.next()),
                (Some("device"), Some("restart" | "stop" | "start"))
                    | (Some("wait-config" | "idle" | "state"), None)
            );
            (!is_known).then_some("this command means nothing to a Windows guest")
        }
        _ => None,
    })
}

/// Whether the device that a command is for is a disk.
fn is_disk(scenario: &Scenario, command: &str) -> bool {
    let dev = command
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("dev=")?.parse::<usize>().ok());
    let device = scenario.devices.get(dev.unwrap_or(0));
    device.is_some_and(|device| matches!(device.shape.kind, Kind::Block | Kind::Scsi))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::windows::WindowsFile;
    use crate::run::Subject;

    fn subject(file: &WindowsFile) -> WindowsSubject {
        WindowsSubject {
            image: windows::Image::own("win11", "dut@1", file).unwrap(),
            states: None,
        }
    }

    #[test]
    fn commands_are_known_as_scenarios_give_them() {
        for (command, is_known) in [
            ("device restart", true),
            ("device stop", true),
            ("device start", true),
            ("idle 5ms", true),
            ("state", true),
            ("wait-config", true),
            ("device sleep", false),
            ("device rebalance one", false),
            ("queue reset q=1", false),
        ] {
            let text = format!(
                "title = \"t\"\n[device]\nkind = \"block\"\n[[step]]\nguest = \"{command}\"\n"
            );
            let path = std::path::Path::new("a/b.toml");
            let read = crate::scenario::read(path, "a/b", &text, &crate::cli::vocabulary());
            assert_eq!(
                skips(&read.unwrap()[0], false).is_none(),
                is_known,
                "{command}"
            );
        }
    }

    #[test]
    fn a_change_that_does_not_show_on_windows_is_not_waited_for() {
        let scenario = |kind: &str| {
            let text = format!(
                "title = \"t\"\n[device]\nkind = \"{kind}\"\n[[step]]\nguest = \"wait-config\"\n"
            );
            let path = std::path::Path::new("a/b.toml");
            let read = crate::scenario::read(path, "a/b", &text, &crate::cli::vocabulary());
            read.unwrap().remove(0)
        };
        assert_eq!(skips(&scenario("block"), true), None);
        let why = skips(&scenario("net"), true).unwrap();
        assert!(why.contains("of disks only"), "{why}");
    }

    #[test]
    fn whatever_is_predicted_of_a_driver_for_windows_runs_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let library = crate::scenario::Library::open(Some(&root), &[], &crate::cli::vocabulary());
        let scenarios = library.unwrap().scenarios;
        let is_predicted = |scenario: &&Scenario| {
            let mut known = scenario.expect.known.iter();
            known.any(|known| known.driver.ends_with("@fbcc19d7"))
        };
        for scenario in scenarios.iter().filter(is_predicted) {
            assert_eq!(skips(scenario, true), None, "{}", scenario.name);
        }
    }

    #[test]
    fn guests_with_a_software_tpm_run_one_after_the_other() {
        for (tpm, at_once) in [(Some("swtpm.sock".into()), 1), (None, usize::MAX)] {
            let file = WindowsFile {
                tpm,
                ..WindowsFile::default()
            };
            let subject = Subject::Windows(Box::new(subject(&file)));
            assert_eq!(subject.at_once(), at_once);
        }
    }

    #[test]
    fn what_a_scenario_says_of_messages_is_set_at_the_node_or_in_the_whole_system() {
        let scenario = |guest: &str| {
            let text = format!("title = \"t\"\n[device]\nkind = \"block\"\n[guest]\n{guest}\n");
            let path = std::path::Path::new("a/b.toml");
            let words = crate::cli::vocabulary();
            let read = crate::scenario::read(path, "a/b", &text, &words);
            read.unwrap_or_else(|wrong| panic!("{guest}: {wrong:?}"))
                .remove(0)
        };
        let plain = subject(&WindowsFile::default());
        let limited = subject(&WindowsFile {
            message_number_limit: Some(8),
            ..WindowsFile::default()
        });
        for (guest, settings, of_limited) in [
            ("", None, Some("limit=8")),
            ("message-limit = 2", Some("limit=2"), Some("limit=2")),
            ("grant = \"one\"", Some("limit=1"), Some("limit=1")),
            (
                "msi-supported = false",
                Some("msi=0"),
                Some("limit=8 msi=0"),
            ),
        ] {
            let scenario = scenario(guest);
            let at = |subject: &WindowsSubject| subject.node_settings(&scenario, 0);
            assert_eq!(at(&plain).as_deref(), settings, "{guest}");
            assert_eq!(at(&limited).as_deref(), of_limited, "{guest}");
            assert_eq!(plain.image_for(&scenario), plain.image, "{guest}");
        }
        let without = scenario("grant = \"none\"");
        let image = plain.image_for(&without);
        assert_eq!(image, plain.image.without_messages());
        assert_ne!(image, plain.image);
    }
}
