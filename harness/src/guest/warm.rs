//! States of guests that have booted, kept for the next run.
//!
//! A state is three files with one stem: the machine's memory, what belongs to it, and a lock. Whoever makes a state or
//! removes it has the lock alone, whoever uses it shares it, so that neither takes away what the other needs. A process
//! that is killed leaves no lock behind; what it leaves else is removed by the next that makes a state.

pub(super) mod disk;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::machine::MachineError;

/// What the name of a lock ends with, and what that of a memory begins with which is being written.
const LOCK: &str = "lock";
const PARTIAL: &str = "partial-";
/// The states of one kind of guest. Kinds may share a folder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// What the name of a memory ends with.
    pub memory: &'static str,
    /// What the name of the file beside it ends with.
    pub beside: &'static str,
    /// How many are kept.
    pub most: usize,
}

/// A state that nobody removes while this is there.
#[derive(Debug)]
pub(super) struct Kept<T> {
    /// The memory.
    pub memory: PathBuf,
    /// What belongs to it.
    pub beside: T,
    _lock: File,
}

/// What is there of a state.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// All of it.
    Kept(Kept<T>),
    /// It has to be made, and nobody else makes it.
    Missing(Making<T>),
}

/// A state that is being made. What there is of it goes with this, unless it is [kept](Self::kept).
#[derive(Debug)]
pub(super) struct Making<T> {
    /// Where the memory is written; it gets its name when everything is there.
    pub memory: PathBuf,
    /// Where that is written what belongs to it.
    pub beside: PathBuf,
    of: Stem<T>,
    alone: Option<File>,
}

/// The files of a state, and how what belongs to it is read; none: it is of no use.
#[derive(Debug)]
struct Stem<T> {
    kind: Kind,
    folder: PathBuf,
    stem: String,
    read: fn(&Path) -> Option<T>,
}

impl<T> Stem<T> {
    fn at(&self, end: &str) -> PathBuf {
        self.folder.join(format!("{}.{end}", self.stem))
    }

    fn failing(&self) -> impl Fn(io::Error) -> MachineError {
        let doing = format!("keeping a guest's state in {}", self.folder.display());
        move |source| MachineError::os(&doing)(source)
    }

    /// What belongs to the state, if it is all there.
    fn open(&self) -> Option<T> {
        let is_there = self.at(self.kind.memory).is_file();
        is_there
            .then(|| (self.read)(&self.at(self.kind.beside)))
            .flatten()
    }

    /// The state, if it is all there.
    async fn kept(&self) -> Result<Option<Kept<T>>, MachineError> {
        let shared = lock(self.at(LOCK), Use::Shared).await;
        let shared = shared.map_err(self.failing())?;
        Ok(self.open().map(|beside| {
            let memory = self.at(self.kind.memory);
            used(&memory);
            Kept {
                memory,
                beside,
                _lock: shared,
            }
        }))
    }
}

impl<T> Making<T> {
    /// It is made.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub async fn kept(mut self) -> Result<Kept<T>, MachineError> {
        let named = fs::rename(&self.memory, self.of.at(self.of.kind.memory));
        named.map_err(self.of.failing())?;
        self.alone = None;
        let kept = self.of.kept().await?;
        self.of.kind.tidy(&self.of.folder);
        let gone = || io::Error::new(io::ErrorKind::NotFound, "it is gone");
        kept.ok_or_else(gone).map_err(self.of.failing())
    }
}

impl<T> Drop for Making<T> {
    fn drop(&mut self) {
        if self.alone.is_some() {
            let _ = fs::remove_file(&self.memory);
            let _ = fs::remove_file(&self.beside);
        }
    }
}

impl Kind {
    /// The state `stem` in `folder`, if `read` can use what belongs to it. One at a time makes it, and whoever wants the
    /// same one waits.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub async fn find<T>(
        self,
        folder: &Path,
        stem: &str,
        read: fn(&Path) -> Option<T>,
    ) -> Result<Found<T>, MachineError> {
        let of = Stem {
            kind: self,
            folder: folder.to_owned(),
            stem: stem.to_owned(),
            read,
        };
        fs::create_dir_all(folder).map_err(of.failing())?;
        loop {
            if let Some(kept) = of.kept().await? {
                return Ok(Found::Kept(kept));
            }
            let alone = lock(of.at(LOCK), Use::Alone).await;
            let alone = alone.map_err(of.failing())?;
            // Somebody may have made it meanwhile.
            if of.open().is_none() {
                let beside = of.at(self.beside);
                // What somebody left behind who was killed.
                let _ = fs::remove_file(of.at(self.memory));
                let _ = fs::remove_file(&beside);
                return Ok(Found::Missing(Making {
                    memory: of.at(&format!("{PARTIAL}{}", std::process::id())),
                    beside,
                    of,
                    alone: Some(alone),
                }));
            }
        }
    }

    /// Removes what is of no use: the states that were not used for the longest time, if there are too many, and what
    /// killed processes left. What somebody uses or makes stays; what can't be removed, too.
    fn tidy(self, folder: &Path) {
        let mut complete = Vec::new();
        for (stem, ends) in stems(folder) {
            let has = |end: &str| ends.iter().any(|one| one == end);
            match (has(self.memory), has(self.beside)) {
                (true, true) => {
                    let memory = folder.join(format!("{stem}.{}", self.memory));
                    let used = fs::metadata(&memory).and_then(|data| data.modified());
                    complete.push((used.ok(), stem.clone()));
                }
                (false, false) => {}
                _ => self.remove(folder, &stem, &[self.memory, self.beside]),
            }
            let partial: Vec<&str> = ends
                .iter()
                .map(String::as_str)
                .filter(|end| end.starts_with(PARTIAL))
                .collect();
            if !partial.is_empty() || ends == [LOCK] {
                self.remove(folder, &stem, &partial);
            }
        }
        complete.sort();
        let surplus = complete.len().saturating_sub(self.most);
        for (_, stem) in &complete[..surplus] {
            self.remove(folder, stem, &[self.memory, self.beside]);
        }
    }

    /// Removes files of a stem that nobody uses, and its lock with the last of them.
    fn remove(self, folder: &Path, stem: &str, ends: &[&str]) {
        let at = |end: &str| folder.join(format!("{stem}.{end}"));
        let lock = at(LOCK);
        let Ok(file) = open_lock(&lock) else {
            return;
        };
        if flock(&file, Use::Alone.now()).is_err() || !is_at(&file, &lock) {
            return;
        }
        for end in ends {
            let _ = fs::remove_file(at(end));
        }
        let has_more = stems(folder)
            .remove(stem)
            .is_some_and(|ends| ends != [LOCK]);
        if !has_more {
            let _ = fs::remove_file(lock);
        }
    }
}

/// What files there are: the ends of their names by what they begin with.
fn stems(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut stems: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Some(name) = entry.file_name().to_str()
            && let Some((stem, end)) = name.rsplit_once('.')
        {
            stems.entry(stem.into()).or_default().push(end.into());
        }
    }
    stems
}

/// Notes that a state was used. One that can't be noted counts as old.
fn used(memory: &Path) {
    let _ = File::open(memory).and_then(|file| file.set_modified(SystemTime::now()));
}

fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).open(path)
}

/// Whether the file is still the one of that name: who removes a state removes its lock.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata()
        .and_then(|open| Ok(same(open, fs::metadata(path)?)))
        .unwrap_or(false)
}

/// How a lock is taken.
#[derive(Clone, Copy)]
enum Use {
    Shared,
    Alone,
}

impl Use {
    fn now(self) -> FlockOperation {
        match self {
            Self::Shared => FlockOperation::NonBlockingLockShared,
            Self::Alone => FlockOperation::NonBlockingLockExclusive,
        }
    }

    fn later(self) -> FlockOperation {
        match self {
            Self::Shared => FlockOperation::LockShared,
            Self::Alone => FlockOperation::LockExclusive,
        }
    }
}

/// Takes a lock, and waits for it where nobody else waits.
async fn lock(path: PathBuf, how: Use) -> io::Result<File> {
    loop {
        let file = open_lock(&path)?;
        let file = match flock(&file, how.now()) {
            Ok(()) => file,
            Err(Errno::WOULDBLOCK) => {
                let waits = move || flock(&file, how.later()).map(|()| file);
                let waited = tokio::task::spawn_blocking(waits).await;
                waited.map_err(io::Error::other)??
            }
            Err(error) => return Err(error.into()),
        };
        if is_at(&file, &path) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests;
