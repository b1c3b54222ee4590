//! A guest that stays for whoever wants to look at it.

use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::bench::*;
use crate::killed::Killed;

/// How long a child may take to say what is awaited.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines of a child, none of which is waited for without an end.
struct Lines {
    from: mpsc::Receiver<String>,
    end: Instant,
}

impl Lines {
    /// A thread reads them, which ends with the child.
    fn of(output: impl Read + Send + 'static) -> Self {
        let (tell, from) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let end = Instant::now() + PATIENCE;
        Self { from, end }
    }
}

impl Iterator for Lines {
    type Item = String;

    /// None at the end of the output, and when it took too long.
    fn next(&mut self) -> Option<String> {
        let left = self.end.saturating_duration_since(Instant::now());
        self.from.recv_timeout(left).ok()
    }
}

/// What is in a line after a text, up to the next blank.
fn after<'l>(line: &'l str, text: &str) -> Option<&'l str> {
    line.split_once(text)?.1.split(' ').next()
}

#[test]
fn a_guest_that_hangs_stays_for_a_debugger_and_a_viewer_until_it_is_let_go() {
    let mut bench = Bench::new("load=stuck");
    bench.more = "limits = { work = 1.0 }".into();
    let guest = bench.guest_file();
    bench.write_scenario(&SCENARIO.replace("WAIT", bench.wait));
    let run = Command::new(env!("CARGO_BIN_EXE_misfire"))
        .args([
            "run",
            "tests/disk",
            "--keep-on-failure",
            "--cold",
            "--accel",
            "tcg",
        ])
        .arg("--guest")
        .arg(guest)
        .arg("--scenarios")
        .arg(bench.path("scenarios"))
        .arg("--out")
        .arg(bench.path("out"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut run = Killed(run.unwrap());
    let lines = Lines::of(run.stderr.take().unwrap());
    let (mut debugger, mut viewer, mut said) = (None, None, String::new());
    for line in lines {
        said += &format!("{line}\n");
        debugger = debugger.or(after(&line, "misfire kd --late ").map(str::to_owned));
        viewer = viewer.or(after(&line, "a VNC viewer at ").map(str::to_owned));
        if debugger.is_some() && viewer.is_some() {
            break;
        }
    }
    let (Some(debugger), Some(viewer)) = (debugger, viewer) else {
        panic!("it did not stay: {said}");
    };
    assert!(said.contains("the guest stays until Ctrl-C"), "{said}");
    assert!(said.contains("the kernel answers its debugger"), "{said}");
    let port = debugger.rsplit(':').next().unwrap();
    let windbg = format!("windbg -k com:ipport={port},port=127.0.0.1");
    assert!(said.contains(&windbg), "{said}");

    // A viewer is greeted, and the kernel answers whoever takes the debugger's line.
    let mut greeting = [0; 4];
    let mut screen = TcpStream::connect(&viewer).unwrap();
    screen
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    screen.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"RFB ");
    let console = Command::new(env!("CARGO_BIN_EXE_misfire"))
        .args(["kd", "--late", "--probe", "1", &debugger])
        .stdout(Stdio::piped())
        .spawn();
    let mut console = Killed(console.unwrap());
    let mut heard = Lines::of(console.stdout.take().unwrap());
    assert!(heard.any(|line| line == "kd: alive"));
    drop(console);

    let ours = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(ours, rustix::process::Signal::INT).unwrap();
    // What it did before it stayed is judged.
    let verdict: Vec<String> = Lines::of(run.stdout.take().unwrap()).collect();
    let judged = verdict.iter().find(|line| line.contains("tests/disk"));
    assert!(
        judged.is_some_and(|line| line.starts_with("FAIL")),
        "{verdict:#?}"
    );
    assert_eq!(run.wait().unwrap().code(), Some(1));
    // With the run the machine is gone.
    assert!(TcpStream::connect(&viewer).is_err());
}
