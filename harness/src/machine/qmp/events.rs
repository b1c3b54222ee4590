//! What QEMU says unasked.

use std::sync::Arc;

use misfire_device::port::Journal;
use misfire_device::trace::What;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

use crate::machine::recording::{Recording, Way};

/// What QEMU tells of the guest as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It was reset, not by us.
    Reset,
    /// It is about to end.
    Shutdown,
    /// It says that it crashed: the stop code and its parameters, if the event has them.
    Panicked(Option<[u64; 5]>),
    /// It says that it crashed, and that it writes its memory down.
    CrashLoaded,
    /// It has gone to sleep, in memory or on its disk.
    Asleep,
}

/// As many happenings are kept that nobody takes.
pub(super) const MOST_HAPPENINGS: usize = 64;

impl Happening {
    fn of(event: &str, data: &serde_json::Value) -> Option<Self> {
        let by_guest = data["guest"].as_bool() == Some(true);
        match event {
            "RESET" if by_guest => Some(Self::Reset),
            "SHUTDOWN" => Some(Self::Shutdown),
            "SUSPEND" | "SUSPEND_DISK" => Some(Self::Asleep),
            "GUEST_CRASHLOADED" => Some(Self::CrashLoaded),
            "GUEST_PANICKED" => {
                let info = &data["info"];
                let number = |n: usize| info[format!("arg{n}")].as_u64();
                let all = (1..=5).map(number).collect::<Option<Vec<u64>>>();
                Some(Self::Panicked(all.and_then(|all| all.try_into().ok())))
            }
            _ => None,
        }
    }
}

/// Where what QEMU says goes, except its answers.
pub(super) struct Sorted {
    pub(super) journal: Arc<Journal>,
    pub(super) migration: watch::Sender<String>,
    pub(super) happens: mpsc::Sender<Happening>,
    pub(super) recording: Option<Recording>,
}

/// Sends what QEMU says where it belongs: its events to the journal, everything else to `answers`.
///
/// An event of a newer QEMU, or one with more in it than the crate knows, is no obstacle so.
pub(super) async fn sort(
    mut from: impl tokio::io::AsyncBufRead + Unpin,
    mut answers: impl AsyncWrite + Unpin,
    to: Sorted,
) {
    #[derive(Deserialize)]
    struct QmpEvent {
        event: String,
        #[serde(default)]
        data: serde_json::Value,
    }
    let mut line = Vec::new();
    while let Ok(1..) = from.read_until(b'\n', &mut line).await {
        if let Some(recording) = &to.recording {
            recording.keep("qmp", Way::From, &line);
        }
        // Answers can be long, so only what begins like an event is tried.
        let event = line
            .windows(8)
            .take(128)
            .any(|w| w == b"\"event\":")
            .then(|| serde_json::from_slice::<QmpEvent>(&line).ok())
            .flatten();
        if let Some(QmpEvent { event, data }) = event {
            // What we do to a machine is no happening in it.
            if event == "MIGRATION" {
                let status = data["status"].as_str().unwrap_or_default();
                to.migration.send_replace(status.to_owned());
                line.clear();
                continue;
            }
            let happening = Happening::of(&event, &data);
            to.journal.record(What::Qmp { event, data });
            if let Some(happening) = happening {
                // Of a guest that resets without end the first few are enough.
                let _ = to.happens.try_send(happening);
            }
        } else if answers.write_all(&line).await.is_err() {
            break;
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_crash_that_the_processor_tells_has_its_stop_code_and_its_parameters() {
        let info = |args: serde_json::Value| json!({"action": "pause", "info": args});
        let hyper_v = info(json!({
            "type": "hyper-v", "arg1": 0xd1, "arg2": 0x28, "arg3": 2, "arg4": 0,
            "arg5": 0xffff_f805_5000_01a4_u64,
        }));
        let code = [0xd1, 0x28, 2, 0, 0xffff_f805_5000_01a4];
        for (data, panicked) in [
            (hyper_v, Some(code)),
            (info(json!({"type": "hyper-v", "arg1": 0xd1})), None),
            (json!({"action": "pause"}), None),
        ] {
            assert_eq!(
                Happening::of("GUEST_PANICKED", &data),
                Some(Happening::Panicked(panicked)),
                "{data}"
            );
        }
        // What we do to a machine is no happening in it.
        for (by_guest, happened) in [(true, Some(Happening::Reset)), (false, None)] {
            let data = json!({"guest": by_guest});
            assert_eq!(Happening::of("RESET", &data), happened);
        }
    }
}
