//! Whether the kernel debugger keeps up with QEMU's serial port: a kernel that prints as fast as it can is
//! listened to by `misfire kd`, by the debugger of a run, by who acknowledges with the least effort that
//! there can be, and by who reads and throws away. No Windows: the reference kernel in its place.

mod killed;
mod standin;

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use killed::Killed;
use misfire::log::kd::Event;
use misfire::machine::{Cache, Debugger, Listening, Qemu};
use misfire_device::port::Journal;
use rustix::process::{Pid, Signal, kill_process};

/// Lines that the kernel prints, and bytes of each on the wire: frame, header, text.
const LINES: u32 = 600;
const BYTES: f64 = 33.0 + 80.0 + 10.0;
/// 115200 baud are so many bytes a second.
const BAUD: f64 = 11_520.0;
/// What the last line begins with.
const END: &[u8] = b"chatter ends";
/// Each is measured so often, and the middle counts: others use the machine too.
const TIMES: usize = 3;
/// What each may take at the most.
const MOST: Duration = Duration::from_secs(60);
/// How much longer the debugger may take than who acknowledges with the least effort.
const MORE: f64 = 3.0;

/// How long it takes from the first byte to the last line, by who listens at the socket.
fn chatter(canned: &str, listen: impl Fn(&Path) -> Duration) -> Duration {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let disk = standin::disk(dir.path(), &format!("chatter={LINES} {canned}"), "");
    let socket = dir.path().join("com1");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let qemu = runtime.block_on(Qemu::find(&Cache::of_user())).unwrap();
    // It listens before there is a machine, so whoever connects needs not wait.
    let listener = UnixListener::bind(&socket).unwrap();
    let mut command = Command::new(&qemu.program);
    command
        .args(["-nodefaults", "-display", "none", "-machine", "q35"])
        .args(["-m", "64M", "-accel", "tcg", "-cpu", "max"])
        .arg("-drive")
        .arg(format!(
            "if=none,id=d,format=raw,snapshot=on,file={}",
            disk.display()
        ))
        .args(["-device", "ide-hd,drive=d,bus=ide.0"])
        .args(["-chardev", "socket,id=com1,fd=3,server=on,wait=on"])
        .args(["-serial", "chardev:com1"])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let line = FdMapping {
        parent_fd: listener.into(),
        child_fd: 3,
    };
    let machine = command.fd_mappings(vec![line]).unwrap().spawn();
    let machine = Killed(machine.unwrap());
    let (done, ended) = channel::<()>();
    let pid = Pid::from_child(&machine);
    let too_late = std::thread::spawn(move || {
        // Whoever listens to it comes to an end then, and says so.
        if ended.recv_timeout(MOST) == Err(RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let took = listen(&socket);
    drop(done);
    too_late.join().unwrap();
    took
}

/// Reads until the last line has come; `see` sees each piece.
fn until_end(mut from: impl Read, mut see: impl FnMut(&[u8])) -> Duration {
    let mut chunk = vec![0; 64 << 10];
    let mut last: Vec<u8> = Vec::new();
    let mut begin = None;
    loop {
        let length = from.read(&mut chunk).unwrap();
        assert_ne!(length, 0, "the end never came");
        let begin = *begin.get_or_insert_with(Instant::now);
        see(&chunk[..length]);
        last.extend(&chunk[..length]);
        if last.windows(END.len()).any(|window| window == END) {
            return begin.elapsed();
        }
        last.drain(..last.len().saturating_sub(END.len()));
    }
}

fn thrown_away(socket: &Path) -> Duration {
    until_end(UnixStream::connect(socket).unwrap(), |_| ())
}

/// Each frame is acknowledged, and nothing else is done with it.
fn acknowledged(socket: &Path) -> Duration {
    const HEADER: usize = 16;
    let socket = UnixStream::connect(socket).unwrap();
    let mut writer = socket.try_clone().unwrap();
    let mut bytes: Vec<u8> = Vec::new();
    until_end(socket, |piece| {
        bytes.extend(piece);
        let mut at = 0;
        let mut said = Vec::new();
        while let Some(frame) = bytes.get(at..).filter(|rest| rest.len() >= HEADER) {
            if !frame.starts_with(b"0000") {
                at += 1;
                continue;
            }
            let end = at + HEADER + usize::from(u16::from_le_bytes([frame[6], frame[7]])) + 1;
            if bytes.len() < end {
                break;
            }
            said.extend(b"iiii\x04\0\0\0");
            said.extend([frame[8], frame[9] & !0x08, frame[10], frame[11], 0, 0, 0, 0]);
            at = end;
        }
        bytes.drain(..at);
        writer.write_all(&said).unwrap();
    })
}

/// `misfire kd`, to the last line that it prints.
fn by_console(socket: &Path) -> Duration {
    let console = Command::new(env!("CARGO_BIN_EXE_misfire"))
        .arg("kd")
        .arg(socket)
        .stdout(Stdio::piped())
        .spawn();
    let mut console = Killed(console.unwrap());
    until_end(console.stdout.take().unwrap(), |_| ())
}

/// The debugger of a run, to the last line in the journal.
fn in_a_run(socket: &Path) -> Duration {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let stream = UnixStream::connect(socket).unwrap();
        let journal = Journal::new(Box::new(|_| ()));
        let mut debugger = Debugger::open(stream, false, journal, Listening::default()).unwrap();
        let mut begin = None;
        while let Some(event) = debugger.next().await {
            let begin = *begin.get_or_insert_with(Instant::now);
            if matches!(&event, Event::Line { text, .. } if text.as_bytes().starts_with(END)) {
                return begin.elapsed();
            }
        }
        panic!("the end never came");
    })
}

/// Who listens at a socket, and how long it took.
type Listener = fn(&Path) -> Duration;

/// The middle of several times, in seconds.
fn middle(canned: &str, listen: Listener) -> f64 {
    let mut times = [0.0; TIMES].map(|_: f64| chatter(canned, listen).as_secs_f64());
    times.sort_by(f64::total_cmp);
    times[TIMES / 2]
}

/// A kernel waits for each acknowledgement, so who listens can be no faster than who acknowledges with the least
/// effort. Throwing away is another matter: a kernel that nobody answers would wait, and one that waits for
/// nobody is no Windows.
#[test]
fn the_debugger_keeps_up_with_a_chatty_kernel_at_115200_baud() {
    let rate = |seconds: f64| f64::from(LINES) * BYTES / seconds;
    let thrown = middle("", thrown_away);
    println!("thrown away:  {:8.0} bytes a second", rate(thrown));
    let least = middle("waits=yes", acknowledged);
    println!(
        "acknowledged: {:8.0} bytes a second: each line is waited for",
        rate(least)
    );
    let listeners: [(&str, Listener); 2] = [("misfire kd", by_console), ("in a run", in_a_run)];
    for (name, listen) in listeners {
        let seconds = middle("waits=yes", listen);
        let (rate, times) = (rate(seconds), seconds / least);
        println!("{name}: {rate:8.0} bytes a second, {times:.2} times the least effort");
        assert!(rate > BAUD, "{name}: {rate:.0} bytes a second");
        assert!(times < MORE, "{name}: {times:.2} times the least effort");
    }
}
