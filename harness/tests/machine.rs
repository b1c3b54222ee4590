//! The reference guest in a real QEMU. Without a QEMU that can be used these tests have nothing to do;
//! `ci/setup` provides one.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use misfire::guest::{Heard, Reference};
use misfire::log::MachineLine;
use misfire::machine::{Accel, Boot, Cache, MachineError, Next, Qemu, TablePlace, argv};
use misfire_device::port::{Attachment, Journal, RunDir, serve};
use misfire_device::shape::{Kind, Shape};
use misfire_device::trace::{Event, What};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};

const LIMIT: Duration = Duration::from_secs(20);

async fn qemu() -> Option<Qemu> {
    match Qemu::find(&Cache::of_user()).await {
        Ok(qemu) => Some(qemu),
        Err(error) => {
            eprintln!("nothing is tested: {error}");
            None
        }
    }
}

fn journal() -> (Arc<Journal>, Arc<Mutex<Vec<Event>>>) {
    let events = Arc::<Mutex<Vec<Event>>>::default();
    let sink = Arc::clone(&events);
    let journal = Journal::new(Box::new(move |event| {
        sink.lock().unwrap().push(event);
    }));
    (journal, events)
}

fn boot(qemu: &Qemu, parameters: &str) -> Reference {
    boot_with(qemu, parameters, Vec::new(), journal().0)
}

fn boot_with(
    qemu: &Qemu,
    parameters: &str,
    devices: Vec<Attachment>,
    journal: Arc<Journal>,
) -> Reference {
    Reference::boot(qemu, Accel::Tcg, devices, parameters, journal, LIMIT).unwrap()
}

#[tokio::test]
async fn a_bare_guest_boots_answers_and_leaves() {
    let Some(qemu) = qemu().await else { return };
    let (journal, events) = journal();
    let mut guest = boot_with(&qemu, "os=win7", Vec::new(), journal);
    let ready = guest.ready(LIMIT).await.unwrap().answer().unwrap();
    assert!(matches!(ready.lines[0], MachineLine::Guest { .. }));
    assert_eq!(ready.lines.last(), Some(&MachineLine::Ready));

    let done = guest.command("idle ms=1", LIMIT).await.unwrap();
    let done = done.answer().unwrap();
    assert!(done.ok);
    assert_eq!(done.verb, "idle");

    assert_eq!(guest.exit(LIMIT).await.unwrap(), Heard::Answer(1));
    guest.end().await.unwrap();
    let events = events.lock().unwrap();
    let lines: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Log { line } => Some(line.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(lines[0], "MISFIRE: guest reference 1");
    assert_eq!(lines.last(), Some(&"MISFIRE: exit"));
    assert!(
        events
            .iter()
            .any(|event| matches!(&event.what, What::Qmp { event, .. } if event == "SHUTDOWN"))
    );
}

#[tokio::test]
async fn qemu_can_be_told_to_quit() {
    let Some(qemu) = qemu().await else { return };
    let mut guest = boot(&qemu, "");
    guest.ready(LIMIT).await.unwrap();
    guest.machine().qmp().quit().await.unwrap();
    let next = guest.machine().next("the end", Instant::now() + LIMIT);
    assert_eq!(next.await.unwrap(), Next::Left(0));
}

#[tokio::test]
async fn parameters_that_are_wrong_are_the_guests_to_refuse() {
    let Some(qemu) = qemu().await else { return };
    let heard = boot(&qemu, "os=win3").ready(LIMIT).await.unwrap();
    let Heard::Error(text) = heard else {
        panic!("{heard:?}");
    };
    assert!(text.contains("win3"), "{text}");
}

#[tokio::test]
async fn silence_says_what_was_awaited_and_what_came_last() {
    let Some(qemu) = qemu().await else { return };
    let mut guest = boot(&qemu, "");
    guest.ready(LIMIT).await.unwrap();
    let limit = Duration::from_millis(20);
    let heard = guest.command("idle ms=10000", limit).await.unwrap();
    let Heard::Silent(silence) = heard else {
        panic!("{heard:?}");
    };
    assert_eq!(
        silence.to_string(),
        "the answer to `idle ms=10000` did not come within 0.02 s; the guest's last lines: \
         MISFIRE: guest reference 1 | MISFIRE: ready"
    );
}

#[tokio::test]
async fn a_qemu_that_is_killed_is_an_error_with_the_last_lines() {
    let Some(qemu) = qemu().await else { return };
    let mut guest = boot(&qemu, "");
    guest.ready(LIMIT).await.unwrap();
    let id = guest.machine().id();
    kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
    let error = guest.command("idle ms=10000", LIMIT).await.unwrap_err();
    assert!(matches!(error, MachineError::Died { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "QEMU was killed by signal 9 while the answer to `idle ms=10000` was awaited; the guest's \
         last lines: MISFIRE: guest reference 1 | MISFIRE: ready"
    );
    assert!(!Path::new(&format!("/proc/{id}")).exists());
}

#[tokio::test]
async fn the_kill_timer_ends_a_guest_that_never_leaves() {
    let Some(qemu) = qemu().await else { return };
    let limit = Duration::from_millis(500);
    let mut guest = Reference::boot(&qemu, Accel::Tcg, Vec::new(), "", journal().0, limit).unwrap();
    let error = loop {
        match guest.machine().next("a word", Instant::now() + LIMIT).await {
            Ok(Next::Line(_)) => (),
            Ok(next) => panic!("{next:?}"),
            Err(error) => break error,
        }
    };
    assert!(
        error.to_string().contains("time limit of 0.5 s was over"),
        "{error}"
    );
}

#[tokio::test]
async fn a_device_that_qemu_does_not_know_is_an_error_in_its_words() {
    let Some(qemu) = qemu().await else { return };
    let unknown = Attachment {
        chardevs: Vec::new(),
        device: serde_json::json!({"driver": "no-such-device"}),
        siblings: Vec::new(),
    };
    let mut guest = boot_with(&qemu, "", vec![unknown], journal().0);
    let error = guest.ready(LIMIT).await.unwrap_err();
    assert!(matches!(error, MachineError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("no-such-device"), "{error}");
}

#[tokio::test]
async fn the_guest_starts_from_firmware_too() {
    let Some(qemu) = qemu().await else { return };
    let mut spec = Reference::spec(&qemu, Accel::Tcg, Vec::new(), "");
    spec.boot = Boot::SeaBios;
    assert!(argv(&spec).contains(&"-kernel".into()));
    let mut guest = Reference::boot_spec(&spec, journal().0, LIMIT).unwrap();
    guest.ready(LIMIT).await.unwrap().answer().unwrap();
    assert_eq!(guest.exit(LIMIT).await.unwrap(), Heard::Answer(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_msix_table_is_read_from_outside_as_the_driver_wrote_it() {
    let Some(qemu) = qemu().await else { return };
    let (journal, events) = journal();
    let dir = RunDir::new().unwrap();
    let shape = Shape {
        ports: 4,
        msix: Some(2048),
        ..Shape::new(Kind::PortCard)
    };
    let served = serve(0, &shape, Vec::new(), 0, dir.path(), Arc::clone(&journal)).unwrap();
    let mut guest = boot_with(&qemu, "", vec![served.qemu().clone()], journal);
    let ready = guest.ready(LIMIT).await.unwrap().answer().unwrap();
    let started = ready.lines.iter().find_map(|line| match line {
        MachineLine::Started(started) => Some(started),
        _ => None,
    });
    assert_eq!(started.unwrap().mode, "msix", "{ready:?}");

    let place = TablePlace {
        bar: 2,
        offset: 0,
        entries: 2048,
    };
    let begin = Instant::now();
    let table = guest.machine().record_msix_table(0, place).await.unwrap();
    eprintln!("2048 entries took {:?}", begin.elapsed());
    assert_eq!(table.len(), 2048);
    for entry in &table[..4] {
        assert_eq!(entry.addr >> 20, 0xfee, "{entry:x?}");
        assert!(entry.data & 0xff >= 0x10, "{entry:x?}");
        assert_eq!(entry.ctrl & 1, 0, "{entry:x?}");
    }
    assert_eq!(guest.exit(LIMIT).await.unwrap(), Heard::Answer(1));
    guest.end().await.unwrap();
    served.shutdown().unwrap();
    let events = events.lock().unwrap();
    assert!(events.iter().any(
        |event| matches!(&event.what, What::MsixTable { dev: 0, entries } if *entries == table)
    ));
}

/// Not a test by itself: the process that `a_qemu_does_not_outlive_us` kills.
#[tokio::test]
async fn a_process_that_boots_and_waits() {
    if std::env::var_os("MISFIRE_TEST_WAIT").is_none() {
        return;
    }
    let Some(qemu) = qemu().await else { return };
    let mut guest = boot(&qemu, "");
    guest.ready(LIMIT).await.unwrap();
    eprintln!("qemu is {}", guest.machine().id());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_qemu_does_not_outlive_us() {
    use std::io::{BufRead, BufReader};
    if qemu().await.is_none() {
        return;
    }
    let mut waiting = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_that_boots_and_waits", "--nocapture"])
        .env("MISFIRE_TEST_WAIT", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let id: i32 = lines
        .find_map(|line| line.unwrap().strip_prefix("qemu is ")?.parse().ok())
        .unwrap();
    let flags = rustix::process::PidfdFlags::empty();
    let qemu = rustix::process::pidfd_open(Pid::from_raw(id).unwrap(), flags).unwrap();
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    // A process's descriptor can be read when the process is gone.
    let mut gone = [PollFd::new(&qemu, PollFlags::IN)];
    let seconds = rustix::time::Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    assert_eq!(poll(&mut gone, Some(&seconds)).unwrap(), 1);
}
