//! Commands: one after the other, each answered.

use super::order::{Do, Ended, Stage, Time};
use super::script::value;
use super::way::{Awaited, Course, Doing};
use crate::guest::agent::AgentError;
use crate::guest::windows::words::Node;

impl Course {
    /// Begins with the next command.
    pub(super) fn work(&mut self) {
        if self.stage != Stage::Work || self.doing.is_some() || self.look.is_some() {
            return;
        }
        let Some(command) = self.commands.pop_front() else {
            return;
        };
        if command == "exit" {
            return self.let_go(0);
        }
        self.doing = Some(Doing::Command(command.clone()));
        let dev = value(&command, "dev")
            .and_then(|dev| dev.parse().ok())
            .unwrap_or(0);
        let bus = self.devices.get(dev).map_or(0, |device| device.bus);
        let is_load = command.starts_with("load ");
        if let ([program, args @ ..], true) = (&self.workload.clone()[..], is_load) {
            let kind = command.split_ascii_whitespace().nth(1).unwrap_or_default();
            let filled = |word: &String| {
                word.replace("{kind}", kind)
                    .replace("{dev}", &dev.to_string())
                    .replace("{bus}", &bus.to_string())
                    .replace("{command}", &command)
            };
            let args: Vec<String> = args.iter().map(filled).collect();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            return self.run(program, &args, self.limits.work);
        }
        self.script(&format!("{command} bus={bus}"), self.limits.work);
    }

    pub(super) fn ran(&mut self, now: Time, command: &str, ran: Result<Ended, AgentError>) {
        let mut words = command
            .split_ascii_whitespace()
            .filter(|word| !word.contains('='));
        let (verb, kind) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let op = match kind {
            "" => String::new(),
            kind => format!(" op={kind}"),
        };
        let failed = |reason: &str| format!("MISFIRE: done failed {verb} reason={reason}{op}");
        let own = verb == "load" && !self.workload.is_empty();
        let mut done = None;
        match ran {
            Ok(ended) => {
                for line in ended.output.lines().chain(ended.errors.lines()) {
                    match line.trim_end() {
                        "" => {}
                        line if line.starts_with("MISFIRE: done ") => done = Some(line.to_owned()),
                        line => self.line(line.to_owned()),
                    }
                }
                done = done.or(Some(match ended.code {
                    0 if own => format!("MISFIRE: done ok {verb} op={kind}"),
                    code => failed(&format!("exit-{code:#x}")),
                }));
            }
            Err(error @ AgentError::Silent { .. }) => {
                self.line(format!("harness: stage `work`: `{command}`: {error}"));
                done = Some(failed("timeout"));
            }
            // One that was started anew does not know the program any more: nothing of the driver is in that.
            Err(error) if error.is_an_answer() => {
                return self.line(format!("MISFIRE: error `{command}`: {error}"));
            }
            Err(error) => {
                self.line(format!("harness: stage `work`: `{command}`: {error}"));
                done = Some(failed("agent"));
            }
        }
        let done = done.unwrap_or_else(|| failed("silent"));
        let starts = verb == "device" && matches!(kind, "start" | "restart");
        if starts && done.starts_with("MISFIRE: done ok") {
            let dev = value(command, "dev")
                .and_then(|dev| dev.parse().ok())
                .unwrap_or(0);
            let late = failed("timeout");
            self.after_look = Some(Awaited { done, late });
            self.since = now;
            self.seen = (0, Node::default());
            return self.look(dev);
        }
        self.line(done);
        self.work();
    }

    /// Has each device let go, from `dev` on.
    pub(super) fn let_go(&mut self, dev: usize) {
        let Some(device) = self.devices.get(dev) else {
            self.line("MISFIRE: done ok exit".to_owned());
            self.line("MISFIRE: exit".to_owned());
            self.out.push_back(Do::Leave);
            return;
        };
        let bus = device.bus;
        self.doing = Some(Doing::Letting(dev));
        self.script(
            &format!("device dev={dev} stop bus={bus}"),
            self.limits.work,
        );
    }
}
