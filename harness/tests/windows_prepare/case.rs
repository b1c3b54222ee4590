//! A preparation of the stand-in.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use misfire::machine::{Accel, Cache, Qemu};
use misfire::prepare::{
    Firmware, Pace, Record, Source, Stage, WindowsError, WindowsRequest, windows,
};

use crate::media::{IMAGES, assemble, crash, medium};

/// What a stage may take that never ends; one that ends has the time that it would have with a Windows.
pub const SHORT: Duration = Duration::from_secs(3);
/// The same of one that is to be heard of before.
pub const LONGER: Duration = Duration::from_secs(20);

/// What nothing here takes.
pub const ENDLESS: Duration = Duration::from_secs(500);

/// A folder with a stand-in that was assembled with these defines, and a request for it.
pub struct Case {
    pub folder: tempfile::TempDir,
    pub request: WindowsRequest,
}

impl Case {
    pub fn new(defines: &[&str]) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(folder.path().join("frames.bin"), crash()).unwrap();
        let iso = folder.path().join("win.iso");
        assemble(folder.path(), "disk.S", defines);
        let start = assemble(folder.path(), "cd.S", defines);
        std::fs::write(&iso, medium(&start, IMAGES)).unwrap();
        let request = WindowsRequest {
            source: Source::Iso {
                iso,
                edition: None,
                key: None,
            },
            out: folder.path().join("win11.qcow2"),
            virtio_win: None,
            certificates: vec![],
            firmware: Some(Firmware::Bios),
            ovmf: None,
            tpm: None,
            memory: Some(512),
            processors: 1,
            size: 16 << 20,
            viewer: false,
        };
        Self { folder, request }
    }

    /// Prepares it. What was told is in the second value.
    pub async fn prepare(
        &self,
        most: Option<(Stage, Duration)>,
    ) -> (Result<PathBuf, WindowsError>, Vec<String>) {
        let told = Mutex::new(Vec::new());
        let tell = |line: &str| {
            let mut told = told.lock().unwrap();
            // What it looks like is told again and again.
            if told.last().is_none_or(|last| last != line) {
                told.push(line.to_owned());
            }
        };
        let pace = Pace {
            look: Duration::from_millis(500),
            most,
            ..Pace::of(Accel::Tcg)
        };
        let qemu = Qemu::find(&Cache::of_user()).await.unwrap();
        let preparing = windows(&self.request, &qemu, Accel::Tcg, pace, tell);
        let made = tokio::time::timeout(ENDLESS, preparing).await;
        let told = told.lock().unwrap().clone();
        let made = made.unwrap_or_else(|_| panic!("it does not end: {told:#?}"));
        (made, told)
    }

    pub fn stage(&self) -> Stage {
        Record::of(&self.request.out).unwrap().unwrap().stage
    }

    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

pub fn is_png(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG"))
}
