//! `misfire kd`: a kernel debugger without a person, for any virtual machine's serial port.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use clap::Args;

use super::{Failure, say};
use crate::log::kd::{Client, OnBugcheck};

/// The longest wait for a byte.
const LONGEST: Duration = Duration::from_secs(3600);
/// The longest wait for a target to take what it is told.
const SHORT: Duration = Duration::from_millis(1);
/// The most bytes that wait for a target that takes none.
const MOST_WAITING: usize = 64 << 10;
/// What is read at a time.
const CHUNK: usize = 64 * 1024;

/// What `kd` takes.
#[derive(Clone, Debug, Args)]
pub struct KdArgs {
    /// The serial port of a machine started with `bcdedit /debug on`: the path of a Unix socket, or
    /// HOST:PORT.
    socket: String,
    /// The machine runs already: it had another debugger, or was restored from a snapshot.
    #[arg(long)]
    late: bool,
    /// Leaves the machine stopped when it crashes, before its dump and blue screen.
    #[arg(long)]
    stop: bool,
    /// Asks for a sign of life when nothing came for this long.
    #[arg(long, value_name = "SECONDS")]
    probe: Option<u64>,
}

/// A connection whose reads have a time limit.
trait Wire: Read + Write {
    fn wait_at_most(&self, limit: Duration) -> std::io::Result<()>;
    fn write_at_most(&self, limit: Duration) -> std::io::Result<()>;
}

impl Wire for UnixStream {
    fn wait_at_most(&self, limit: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn write_at_most(&self, limit: Duration) -> std::io::Result<()> {
        self.set_write_timeout(Some(limit))
    }
}

impl Wire for TcpStream {
    fn wait_at_most(&self, limit: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn write_at_most(&self, limit: Duration) -> std::io::Result<()> {
        self.set_write_timeout(Some(limit))
    }
}

pub(super) fn kd(args: &KdArgs) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::Machine(miette::miette!(
            help = "QEMU: -chardev socket,id=kd,path=kd.sock,server=on,wait=on -device isa-serial,chardev=kd",
            "{}: {error}",
            args.socket
        ))
    };
    let wire: Box<dyn Wire> = match args.socket.rsplit_once(':') {
        Some((host, port)) if !host.contains('/') && port.parse::<u16>().is_ok() => {
            let stream = TcpStream::connect(&args.socket).map_err(cannot)?;
            // A target stands still until it is acknowledged: nothing is kept back to fill a segment.
            stream.set_nodelay(true).map_err(cannot)?;
            Box::new(stream)
        }
        _ => Box::new(UnixStream::connect(&args.socket).map_err(cannot)?),
    };
    listen(wire, args).map_err(cannot)
}

/// Reads and answers until the other side is gone.
fn listen(mut wire: Box<dyn Wire>, args: &KdArgs) -> std::io::Result<()> {
    let policy = if args.stop {
        OnBugcheck::Stop
    } else {
        OnBugcheck::GoOn
    };
    let mut client = Client::new(args.late, policy);
    let patience = args
        .probe
        .map(|seconds| Duration::from_secs(seconds.max(1)));
    let start = Instant::now();
    let mut heard = Duration::ZERO;
    let mut probed = false;
    let mut chunk = vec![0; CHUNK];
    let mut output: Vec<u8> = Vec::new();
    let mut waits = Duration::ZERO;
    wire.write_at_most(SHORT)?;
    loop {
        let now = start.elapsed();
        let silence = patience.map(|patience| heard + patience);
        let until = [client.deadline(), silence].into_iter().flatten().min();
        let limit = until.map_or(LONGEST, |until| until.saturating_sub(now));
        let limit = if output.is_empty() { limit } else { SHORT };
        // No limit at all is another thing than none left.
        let limit = limit.max(Duration::from_millis(1));
        if limit != waits {
            wire.wait_at_most(limit)?;
            waits = limit;
        }
        match wire.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                heard = start.elapsed();
                probed = false;
                client.receive(heard, &chunk[..n]);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
        let now = start.elapsed();
        client.tick(now);
        if patience.is_some_and(|patience| now >= heard + patience) {
            heard = now;
            match probed {
                false => client.probe(),
                true => say("kd: no answer"),
            }
            probed = true;
        }
        // A target that takes nothing is read all the same. What it missed is said again.
        if output.len() > MOST_WAITING {
            output.clear();
        }
        // First the answer, in one piece: the target stands still until it has it.
        output.extend(client.take_output());
        if !output.is_empty() {
            match wire.write(&output) {
                Ok(length) => drop(output.drain(..length)),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        tell(&mut client);
    }
    client.end();
    tell(&mut client);
    Ok(())
}

fn tell(client: &mut Client) {
    while let Some(event) = client.next_event() {
        say(event);
    }
}
