//! What the harness says to a Windows, and what it makes of the answers.

use std::collections::BTreeMap;

/// Problem codes of a device node that a driver under test runs into, with the names that Windows has for
/// them without `CM_PROB_`.
const PROBLEMS: &[(u32, &str)] = &[
    (1, "NOT_CONFIGURED"),
    (3, "OUT_OF_MEMORY"),
    (10, "FAILED_START"),
    (12, "NORMAL_CONFLICT"),
    (14, "NEED_RESTART"),
    (18, "REINSTALL"),
    (19, "REGISTRY"),
    (21, "WILL_BE_REMOVED"),
    (22, "DISABLED"),
    (24, "DEVICE_NOT_THERE"),
    (28, "FAILED_INSTALL"),
    (29, "HARDWARE_DISABLED"),
    (31, "FAILED_ADD"),
    (32, "DISABLED_SERVICE"),
    (37, "FAILED_DRIVER_ENTRY"),
    (38, "DRIVER_FAILED_PRIOR_UNLOAD"),
    (39, "DRIVER_FAILED_LOAD"),
    (43, "FAILED_POST_START"),
    (45, "PHANTOM"),
    (47, "HELD_FOR_EJECT"),
    (48, "DRIVER_BLOCKED"),
    (52, "UNSIGNED_DRIVER"),
    (53, "USED_BY_DEBUGGER"),
    (54, "DEVICE_RESET"),
    (56, "NEED_CLASS_CONFIG"),
];

/// Codes that a node has while its driver is being installed, and not when that is over.
const PASSING: &[u32] = &[1, 18, 24, 28, 45, 47, 54, 56];

/// `10 FAILED_START`.
pub fn problem(code: u32) -> String {
    match PROBLEMS.iter().find(|(known, _)| *known == code) {
        Some((_, name)) => format!("{code} {name}"),
        None => code.to_string(),
    }
}

/// What the end of `certutil` or `pnputil` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installed {
    /// It was done.
    Done,
    /// It is done when the system was started again.
    AfterRestart,
    /// The same, and the system is starting again already.
    Restarting,
    /// It was not: why.
    Failed(String),
}

/// What an exit code of a program that installs something means.
pub fn installed(program: &str, code: u32) -> Installed {
    let is_pnputil = program.contains("pnputil");
    match code {
        0 => Installed::Done,
        // No device that matches is there, or one has a better driver already: as it should be while the
        // device is not there.
        259 if is_pnputil => Installed::Done,
        3010 if is_pnputil => Installed::AfterRestart,
        1641 if is_pnputil => Installed::Restarting,
        2 if program.contains("verifier") => Installed::AfterRestart,
        code => {
            let why = match code {
                2 => " (ERROR_FILE_NOT_FOUND)",
                5 => " (ERROR_ACCESS_DENIED)",
                0xe000_0247 => " (the publisher of the driver is not trusted)",
                0x800b_0109 => " (CERT_E_UNTRUSTEDROOT)",
                0xe000_022f => " (the hash of a file is not in the catalogue)",
                0x800b_0100 => " (TRUST_E_NOSIGNATURE)",
                _ => "",
            };
            Installed::Failed(format!("{program} ended with exit code {code:#x}{why}"))
        }
    }
}

/// A device node, as the script tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Whether there is one.
    pub found: bool,
    /// Its problem code; 0: none.
    pub problem: u32,
    /// The driver's service.
    pub service: String,
    /// Interrupt messages that it was given.
    pub messages: u32,
    /// Interrupt lines that it was given.
    pub lines: u32,
    /// Ranges of memory that it was given.
    pub memory: u32,
    /// The NTSTATUS behind the problem, where Windows tells it.
    pub status: Option<u32>,
    /// Its instance id.
    pub id: String,
}

/// What has become of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is being looked at still.
    No,
    /// A driver has started it.
    Started,
    /// It has a problem.
    Problem,
}

impl Node {
    /// Reads `MISFIRE: node found=yes problem=0 …` among what the script printed.
    pub fn parse(output: &str) -> Option<Self> {
        let line = output
            .lines()
            .find_map(|line| line.trim().strip_prefix("MISFIRE: node "))?;
        let values: BTreeMap<&str, &str> = line
            .split_ascii_whitespace()
            .filter_map(|word| word.split_once('='))
            .collect();
        let number = |key: &str| {
            let value = values.get(key)?;
            match value.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16).ok(),
                None => value.parse().ok(),
            }
        };
        let text = |key: &str| values.get(key).copied().unwrap_or_default().to_owned();
        Some(Self {
            found: values.get("found").copied() == Some("yes"),
            problem: number("problem").unwrap_or(0),
            service: text("service"),
            messages: number("messages").unwrap_or(0),
            lines: number("lines").unwrap_or(0),
            memory: number("memory").unwrap_or(0),
            status: number("ntstatus").filter(|status| *status != 0),
            id: text("id"),
        })
    }

    /// What has become of the device, when the node was seen like that so often in a row.
    pub fn settled(&self, times: u32) -> Settled {
        match self.problem {
            _ if !self.found => Settled::No,
            0 if self.service.is_empty() => Settled::No,
            0 => Settled::Started,
            problem if PASSING.contains(&problem) => Settled::No,
            _ if times < 2 => Settled::No,
            _ => Settled::Problem,
        }
    }

    /// The line of it in the log: what a driver of our own would print.
    pub fn line(&self, dev: usize, queues: u16) -> String {
        if self.problem != 0 {
            let status = self.status.unwrap_or(0xc000_0001);
            let name = problem(self.problem);
            let name = name.split_once(' ').map_or("UNKNOWN", |(_, name)| name);
            let code = self.problem;
            return format!(
                "MISFIRE: dev {dev} failed status={status:#010X} {name} problem={code}"
            )
            .replace("0X", "0x");
        }
        // What it does with them shows in the device's registers.
        let (granted, mode) = match (self.messages, self.lines) {
            (0, 1..) => (0, "intx"),
            (0, 0) => (0, "polled"),
            (messages, _) => (messages, "messages"),
        };
        format!(
            "MISFIRE: dev {dev} started mode={mode} granted={granted} used={granted} queues={queues}"
        )
    }

    /// The same in words, for what the harness keeps.
    pub fn words(&self) -> String {
        let Self {
            service,
            messages,
            lines,
            memory,
            ..
        } = self;
        if !self.found {
            return "there is no device node".to_owned();
        }
        let problem = match self.problem {
            0 => "no problem".to_owned(),
            code => format!("problem {}", problem(code)),
        };
        format!(
            "the device node has {problem}; service `{service}`, {messages} messages, {lines} lines, \
             {memory} ranges of memory"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_of_an_installation_are_understood_and_named() {
        let pnputil = |code| installed("pnputil.exe", code);
        assert_eq!(pnputil(0), Installed::Done);
        assert_eq!(pnputil(259), Installed::Done);
        assert_eq!(pnputil(3010), Installed::AfterRestart);
        assert_eq!(pnputil(1641), Installed::Restarting);
        assert_eq!(
            pnputil(0xe000_0247),
            Installed::Failed(
                "pnputil.exe ended with exit code 0xe0000247 (the publisher of the driver is not \
                 trusted)"
                    .into()
            )
        );
        assert!(matches!(
            installed("certutil.exe", 259),
            Installed::Failed(_)
        ));
    }

    #[test]
    fn a_node_is_read_from_among_what_the_script_printed() {
        let output = "noise\r\nMISFIRE: node found=yes problem=10 ntstatus=0xC0000493 service=viostor \
                      messages=0 lines=0 memory=2 id=PCI\\VEN_1AF4\r\n";
        let node = Node::parse(output).unwrap();
        assert_eq!(node.problem, 10);
        assert_eq!(node.status, Some(0xc000_0493));
        assert_eq!(node.settled(1), Settled::No);
        assert_eq!(node.settled(2), Settled::Problem);
        assert_eq!(
            node.line(1, 2),
            "MISFIRE: dev 1 failed status=0xC0000493 FAILED_START problem=10"
        );
        assert!(node.words().contains("problem 10 FAILED_START"));
        assert_eq!(Node::parse("nothing"), None);
    }

    #[test]
    fn a_node_that_is_being_installed_is_not_settled() {
        let node = |text: &str| Node::parse(&format!("MISFIRE: node {text}")).unwrap();
        assert_eq!(node("found=no").settled(9), Settled::No);
        assert_eq!(node("found=yes problem=28").settled(9), Settled::No);
        assert_eq!(node("found=yes problem=0 service=").settled(9), Settled::No);
        let started = node("found=yes problem=0 service=viostor messages=3");
        assert_eq!(started.settled(1), Settled::Started);
        assert_eq!(
            started.line(0, 2),
            "MISFIRE: dev 0 started mode=messages granted=3 used=3 queues=2"
        );
    }

    #[test]
    fn the_table_of_problems_is_sorted() {
        assert!(PROBLEMS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(problem(12), "12 NORMAL_CONFLICT");
        assert_eq!(problem(99), "99");
    }
}
