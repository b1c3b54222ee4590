//! The daemon's commands, as a shell sees them.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

fn daemon(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_misfire-device"));
    command.current_dir(dir).env("NO_COLOR", "1");
    command
}

fn folder(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("my.toml"), text).unwrap();
    dir
}

fn check(text: &str) -> Output {
    let dir = folder(text);
    daemon(dir.path())
        .args(["check", "my.toml"])
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const TWO: &str = r#"
[[device]]
kind = "block"
queues = 2
attach = "vhost-user"
[[device]]
kind = "port-card"
msi = 4
"#;

#[test]
fn a_good_file_is_counted() {
    let output = check(TWO);
    assert_eq!(text(&output.stdout), "my.toml: 2 devices, 0 faults\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_is_wrong_is_told_with_its_file_line_and_what_was_expected() {
    let cases = [
        (
            "[device]\nkind = \"block\"\nquues = 2\n",
            "my.toml:3:1",
            "`queues`",
        ),
        (
            "[device]\nkind = \"block\"\nqueues = \"two\"\n",
            "my.toml:3:10",
            "expected u16",
        ),
        (
            "[device]\nkind = \"block\"\nmsix = 0x801\n",
            "my.toml:3:8",
            "1 to 2048",
        ),
        ("[device]\nkind = \"tape\"\n", "my.toml:2:8", "`block`"),
        (
            "[device]\nkind = \"block\"\n[[fault]]\non = \"live\"\ndo = \"irq.dorp\"\n",
            "my.toml:5:6",
            "irq.drop",
        ),
        (
            "[device]\nkind = \"block\"\n[[fault]]\ndevice = 1\non = \"live\"\ndo = \"irq.drop\"\n",
            "my.toml:4:10",
            "counted from 0",
        ),
        (
            "[device]\nkind = \"block\"\nqueues = 65\n",
            "my.toml:3:10",
            "1 to 64",
        ),
        ("[device\n", "my.toml:1", "]"),
        ("", "my.toml", "no [device]"),
    ];
    for (file, place, words) in cases {
        let output = check(file);
        let told = text(&output.stderr);
        assert!(
            told.contains(place) && told.contains(words),
            "{file}\n{told}"
        );
        assert_eq!(output.status.code(), Some(2), "{file}");
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn a_command_that_makes_no_sense_starts_nothing() {
    let dir = folder(TWO);
    for arguments in [
        &["serve", "my.toml"][..],
        &["serve", "my.toml", "--socket", "s"],
        &["serve", "my.toml", "--socket", "s", "--dir", "."],
        &["serve", "my.toml", "--dir", "my.toml"],
        &["serve", "missing.toml", "--dir", "."],
        &["check", "missing.toml"],
        &["check"],
        &["sevre", "my.toml"],
    ] {
        let output = daemon(dir.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_the_machine_can_not_do_is_another_matter_than_a_disk_that_is_not_there() {
    let dir = folder("[device]\nkind = \"block\"\nfile = \"disk.img\"\n");
    let serve = || {
        let arguments = ["serve", "my.toml", "--socket", "s"];
        daemon(dir.path()).args(arguments).output().unwrap()
    };
    let output = serve();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("disk.img"), "{output:?}");
    std::fs::write(dir.path().join("disk.img"), [0; 512]).unwrap();
    let _listening = UnixListener::bind(dir.path().join("s")).unwrap();
    let output = serve();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

/// A daemon that is serving, and the first lines that it printed.
struct Serving {
    child: Child,
    printed: Vec<String>,
}

impl Serving {
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut command = daemon(dir);
        command.args(["serve", "my.toml"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let more = line.ends_with('\\');
            printed.push(line);
            if !more {
                break;
            }
        }
        Self { child, printed }
    }

    fn end(mut self, signal: rustix::process::Signal) -> Option<i32> {
        let id = i32::try_from(self.child.id()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_daemon_tells_what_qemu_needs_and_ends_cleanly() {
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let dir = folder(TWO);
        let arguments = ["--dir", "run/card", "--trace", "trace.jsonl"];
        let serving = Serving::start(dir.path(), &arguments);
        let printed = serving.printed.join("\n");
        for words in [
            "memory-backend-memfd,id=mem,size=1G,share=on",
            "-chardev socket,id=misfire-dev0,path=/",
            "vhost-user-blk-pci-non-transitional",
            "vfio-user-pci",
        ] {
            assert!(printed.contains(words), "{printed}");
        }
        assert!(dir.path().join("run/card/dev0").exists());
        assert!(dir.path().join("run/card/dev1").exists());
        assert_eq!(serving.end(signal), Some(0));
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["my.toml", "run", "trace.jsonl"]);
        let sockets = std::fs::read_dir(dir.path().join("run/card")).unwrap();
        assert_eq!(sockets.count(), 0);
        let trace = std::fs::File::open(dir.path().join("trace.jsonl")).unwrap();
        let events = misfire_device::trace::read_jsonl(BufReader::new(trace)).unwrap();
        assert_eq!(events.len(), 2, "{events:?}");
    }
}

#[test]
fn a_socket_that_a_killed_daemon_left_is_no_obstacle() {
    let dir = folder("[device]\nkind = \"block\"\n");
    let arguments = ["--socket", "s"];
    let first = Serving::start(dir.path(), &arguments);
    first.end(rustix::process::Signal::KILL);
    assert!(dir.path().join("s").exists());
    let second = Serving::start(dir.path(), &arguments);
    assert_eq!(second.end(rustix::process::Signal::TERM), Some(0));
    assert!(!dir.path().join("s").exists());
    assert!(!dir.path().join("s-backend").exists());
}
