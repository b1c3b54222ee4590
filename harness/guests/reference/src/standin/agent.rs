//! QEMU's guest agent on COM2, as far as the harness uses it: files are taken and forgotten, and of
//! programs only those are there that the harness starts.

use super::json;
use super::prompt::Prompt;
use super::serial::{Serial, let_others};
use super::{Canned, give};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// What a program ends with that starts the system again by itself.
const RESTARTING: u32 = 1641;
/// Of a program that it does not know.
const UNKNOWN: &str = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"PID is not known\"}}";
/// The longest request in bytes; what is longer is not answered.
const LONGEST: usize = 256 * 1024;
/// How often the port is looked at for the next byte of a request that has begun.
const LOOKS: u32 = 5_000;

/// What every file holds that is read.
const NOTES: &str = ">>>  Section start\r\n     inf: read\r\n!!!  sto: it was not installed\r\n";

/// A program that was started.
#[derive(Default)]
struct Process {
    /// Its exit code; none: it runs.
    code: Option<u32>,
    output: String,
    /// The word of the command whose answer ends it.
    awaits: Option<String>,
}

/// What is known of the device.
#[derive(Clone, Default, PartialEq)]
enum Node {
    #[default]
    Absent,
    Started {
        messages: u32,
        lines: u32,
    },
    Problem(u32),
}

/// The agent.
pub struct Agent {
    line: Serial,
    request: Vec<u8>,
    processes: Vec<Process>,
    /// By device.
    nodes: Vec<Node>,
    files: u32,
    written: u64,
    /// There is no agent yet, but a PowerShell.
    prompt: Option<Prompt>,
}

impl Agent {
    /// An agent that listens at this port.
    pub fn new(line: Serial) -> Self {
        Self {
            line,
            request: Vec::new(),
            processes: Vec::new(),
            nodes: Vec::new(),
            files: 0,
            written: 0,
            prompt: None,
        }
    }

    /// It is a PowerShell until it is made an agent.
    pub fn begins_as(&mut self, prompt: Option<Prompt>) {
        self.prompt = prompt;
    }

    /// Takes what has come, and answers.
    pub fn turn(&mut self, canned: &Canned) {
        let mut looks = 0;
        while looks < LOOKS {
            match self.line.take() {
                Some(b'\n') => {
                    let request = core::mem::take(&mut self.request);
                    self.answer(&request, canned);
                    looks = 0;
                }
                Some(byte) if self.request.len() < LONGEST => {
                    self.request.push(byte);
                    looks = 0;
                }
                Some(_) => looks = 0,
                // Nothing has begun: whoever looks again later loses nothing.
                None if self.request.is_empty() => return,
                None => {
                    looks += 1;
                    let_others();
                }
            }
        }
    }

    /// A line that the kernel prints for the harness.
    pub fn hear(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("dev"), Some(dev)) => self.device(dev, line),
            (Some("done"), Some(_)) => {
                let verb = words.next().unwrap_or_default();
                let ended = self
                    .processes
                    .iter_mut()
                    .find(|p| p.code.is_none() && p.awaits.as_deref() == Some(verb));
                if let Some(process) = ended {
                    process.code = Some(0);
                    process.output = format!("MISFIRE: {line}\r\n");
                }
            }
            _ => {}
        }
    }

    fn device(&mut self, dev: &str, line: &str) {
        let Some(dev) = dev.parse::<usize>().ok().filter(|dev| *dev < 16) else {
            return;
        };
        let value = |key: &str| {
            let word = line
                .split_ascii_whitespace()
                .find_map(|w| w.strip_prefix(key));
            word.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        if line.split_ascii_whitespace().nth(2) == Some("removed") {
            // Who waits for it to go waits no more.
            let slot = format!("slot-out {dev}");
            let waits = |p: &&mut Process| p.awaits.as_deref() == Some(slot.as_str());
            if let Some(process) = self.processes.iter_mut().find(waits) {
                *process = Process {
                    code: Some(0),
                    output: "MISFIRE: slot gone\r\n".to_string(),
                    awaits: None,
                };
            }
        }
        let node = match line.split_ascii_whitespace().nth(2) {
            Some("started") => Node::Started {
                messages: value("granted="),
                lines: line.contains(" mode=intx ").into(),
            },
            Some("failed") => Node::Problem(value("problem=")),
            Some("removed") => Node::Absent,
            _ => return,
        };
        if self.nodes.len() <= dev {
            self.nodes.resize(dev + 1, Node::Absent);
        }
        self.nodes[dev] = node;
    }

    fn answer(&mut self, request: &[u8], canned: &Canned) {
        let start = request
            .iter()
            .rposition(|b| *b == 0xff)
            .map_or(0, |at| at + 1);
        let request = core::str::from_utf8(&request[start..]).unwrap_or("");
        if let Some(prompt) = &mut self.prompt {
            match prompt.hear(request) {
                Some(said) => self.line.send(said.as_bytes()),
                None => self.prompt = None,
            }
            return;
        }
        if request.trim().is_empty() {
            return;
        }
        let answer = match json::text(request, "execute").as_deref() {
            Some("guest-sync-delimited") if canned.get("agent") == Some("crash") => {
                return super::ask_for_crash();
            }
            Some("guest-sync-delimited") => {
                self.line.send(&[0xff]);
                format!("{}", json::number(request, "id").unwrap_or(0))
            }
            Some("guest-sync") => format!("{}", json::number(request, "id").unwrap_or(0)),
            Some("guest-ping" | "guest-file-close" | "guest-file-flush") => "{}".to_string(),
            Some("guest-file-open") => {
                self.files += 1;
                format!("{}", 1000 + self.files)
            }
            Some("guest-file-write") => {
                let coded = json::text(request, "buf-b64").unwrap_or_default();
                let padding = coded.bytes().rev().take_while(|b| *b == b'=').count();
                let count = coded.len() / 4 * 3 - padding.min(coded.len());
                self.written += count as u64;
                format!("{{\"count\": {count}, \"eof\": false}}")
            }
            Some("guest-info") => {
                "{\"version\": \"standin\", \"supported_commands\": []}".to_string()
            }
            Some("guest-file-read") => format!(
                "{{\"count\": {}, \"buf-b64\": \"{}\", \"eof\": true}}",
                NOTES.len(),
                json::base64(NOTES.as_bytes())
            ),
            Some("guest-exec") => {
                let path = json::text(request, "path").unwrap_or_default();
                let args = json::list(request, "arg");
                match self.start(&path, &args, canned) {
                    Some(pid) => format!("{{\"pid\": {pid}}}"),
                    None => {
                        return self.say(&format!(
                            "{{\"error\": {{\"class\": \"GenericError\", \"desc\": \"Failed to \
                             execute child process ({})\"}}}}",
                            path.replace('\\', "/")
                        ));
                    }
                }
            }
            Some("guest-exec-status") => {
                let pid = json::number(request, "pid").unwrap_or(0);
                let forgets = canned.get("load") == Some("forgotten");
                match self.processes.get((pid as usize).wrapping_sub(1)) {
                    // It was started anew.
                    Some(Process {
                        awaits: Some(verb), ..
                    }) if forgets && verb == "load" => {
                        return self.say(UNKNOWN);
                    }
                    Some(Process { code: None, .. }) => "{\"exited\": false}".to_string(),
                    Some(Process {
                        code: Some(code),
                        output,
                        ..
                    }) => {
                        if *code == RESTARTING {
                            super::ask_for_reboot();
                        }
                        format!(
                            "{{\"exited\": true, \"exitcode\": {code}, \"out-data\": \"{}\"}}",
                            json::base64(output.as_bytes())
                        )
                    }
                    None => return self.say(UNKNOWN),
                }
            }
            _ => {
                return self
                    .say("{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"not here\"}}");
            }
        };
        self.say(&format!("{{\"return\": {answer}}}"));
    }

    fn say(&self, line: &str) {
        self.line.send(line.as_bytes());
        self.line.send(b"\n");
    }

    /// Starts a program; its number.
    fn start(&mut self, path: &str, args: &[String], canned: &Canned) -> Option<usize> {
        let name = path.rsplit(['\\', '/']).next().unwrap_or(path);
        let name = name.strip_suffix(".exe").unwrap_or(name);
        let process = match name {
            "powershell" => {
                let script = args.iter().position(|arg| arg.ends_with(".ps1"))?;
                self.script(&args[script + 1..], canned)
            }
            "shutdown" => {
                match canned.get("shutdown") {
                    Some("crash") => super::ask_for_crash(),
                    Some("stuck") => {}
                    _ => super::ask_for_reboot(),
                }
                Process {
                    code: Some(0),
                    ..Process::default()
                }
            }
            "certutil" | "pnputil" | "bcdedit" | "verifier" | "reg" | "cmd" => {
                let code = match canned.get(name) {
                    Some("stuck") => None,
                    Some("crash") => {
                        super::ask_for_crash();
                        None
                    }
                    Some(code) => Some(code.parse().unwrap_or(1)),
                    None => Some(0),
                };
                Process {
                    output: format!("{name} is not here; it says {code:?}\r\n"),
                    code,
                    awaits: None,
                }
            }
            _ => return None,
        };
        self.processes.push(process);
        Some(self.processes.len())
    }

    /// What the harness's own script says to its arguments.
    fn script(&mut self, args: &[String], canned: &Canned) -> Process {
        let verb = args.first().map_or("", String::as_str);
        let done = |output: String| Process {
            code: Some(0),
            output,
            awaits: None,
        };
        match verb {
            "node" => {
                let bus = args.get(1).and_then(|bus| bus.parse::<usize>().ok());
                let node = bus.and_then(|bus| self.nodes.get(bus.wrapping_sub(1)));
                let mut node = node.cloned().unwrap_or_default();
                match canned.get("node") {
                    Some("crash") => super::ask_for_crash(),
                    Some("absent") => node = Node::Absent,
                    Some(code) => node = Node::Problem(code.parse().unwrap_or(10)),
                    None => {}
                }
                done(match node {
                    Node::Absent => "MISFIRE: node found=no\r\n".to_string(),
                    Node::Started { messages, lines } => format!(
                        "MISFIRE: node found=yes problem=0 status=OK service=standin \
                         messages={messages} lines={lines} memory=1 id=PCI\\VEN_1AF4\r\n"
                    ),
                    Node::Problem(code) => format!(
                        "MISFIRE: node found=yes problem={code} status=Error service=standin \
                         messages=0 lines=0 memory=0 id=PCI\\VEN_1AF4\r\n"
                    ),
                })
            }
            "slot-out" | "slot-in" => {
                let bus = args.get(1).and_then(|bus| bus.parse::<usize>().ok());
                let dev = bus.unwrap_or(0).wrapping_sub(1);
                if verb == "slot-in" {
                    super::slot_of(dev, super::Slot::In);
                    return done("MISFIRE: slot in\r\n".to_string());
                }
                if canned.get("slot") == Some("veto") {
                    return done("MISFIRE: slot stays reason=262\r\n".to_string());
                }
                if self.nodes.get(dev).is_none_or(|node| *node == Node::Absent) {
                    return done("MISFIRE: slot gone\r\n".to_string());
                }
                // Who asks the system itself has pressed the button.
                if !args.iter().any(|arg| arg == "how=eject") {
                    super::slot_of(dev, super::Slot::Out);
                }
                Process {
                    awaits: Some(format!("slot-out {dev}")),
                    ..Process::default()
                }
            }
            "load" | "device" | "wait-config" | "idle" | "state" => {
                match canned.get(verb) {
                    Some("stuck") => return Process::default(),
                    Some("crash") => super::ask_for_crash(),
                    Some("hang") => super::ask_for_hang(),
                    Some("restart") => super::ask_for_reboot(),
                    Some("sleep") => super::ask_for_sleep(),
                    Some("forgotten") => {}
                    _ => {
                        // Which bus the device is on is for those who have many.
                        let known = args.iter().filter(|arg| !arg.starts_with("bus="));
                        let words: Vec<&str> = known.map(String::as_str).collect();
                        give(&words.join(" "));
                    }
                }
                Process {
                    awaits: Some(verb.to_string()),
                    ..Process::default()
                }
            }
            _ => done(match canned.get(verb) {
                Some(reason) => format!("MISFIRE: done failed {verb} reason={reason}\r\n"),
                None => format!("MISFIRE: done ok {verb}\r\n"),
            }),
        }
    }
}
