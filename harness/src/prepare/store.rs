//! Where prepared guests are kept.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PrepareError;

/// Guests by name, each in a folder of its own. A guest can be deleted any time.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// A kernel and an initial RAM disk that can be booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// `linux-` and the kernel's release, such as `linux-6.1.0-50-cloud-amd64`.
    pub name: String,
    /// What it was made of: packages with their versions, or files.
    pub made_of: Vec<String>,
    /// Changes when the kernel or the initial RAM disk changes.
    pub digest: u64,
    /// Changes when the way in which guests are made changes; one of another way is none.
    recipe: u64,
    /// Where its files are.
    #[serde(skip)]
    dir: PathBuf,
}

const ABOUT: &str = "about.json";
const KERNEL: &str = "vmlinuz";
const INITRD: &str = "initrd";

impl Prepared {
    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join(KERNEL)
    }

    /// The initial RAM disk.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join(INITRD)
    }

    /// `linux-6.1` of `linux-6.1.0-50-cloud-amd64`: what stays the same when the distribution updates
    /// its kernel.
    pub fn series(&self) -> String {
        let release = self.name.strip_prefix("linux-").unwrap_or(&self.name);
        let mut parts = release.split(['.', '-', '+']);
        match (parts.next(), parts.next()) {
            (Some(major), Some(minor)) => format!("linux-{major}.{minor}"),
            _ => self.name.clone(),
        }
    }
}

impl Prepared {
    /// Whether it is a distribution's kernel as it is, without parts or a suffix of the user's.
    pub fn is_series(&self) -> bool {
        self.name.ends_with("-amd64")
    }
}

impl Store {
    /// The user's: `misfire/guests` in `XDG_CACHE_HOME` or `~/.cache`.
    ///
    /// # Errors
    /// When neither is known.
    pub fn of_user() -> Result<Self, PrepareError> {
        let dir = crate::machine::cache_folder().ok_or(PrepareError::NoFolder)?;
        Ok(Self::in_folder(&dir.join("guests")))
    }

    /// One in `dir`.
    pub fn in_folder(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every guest in it, the oldest version first.
    pub fn all(&self) -> Vec<Prepared> {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        let mut all: Vec<Prepared> = entries
            .flatten()
            .filter_map(|entry| open(&entry.path()))
            .collect();
        all.sort_by_cached_key(|guest| (version(&guest.name), guest.name.clone()));
        all
    }

    /// The newest guest that `name` means: all of its name, or the beginning up to a `.`, `-` or `+`.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, name: &str) -> Result<Prepared, PrepareError> {
        let all = self.all();
        let found = all.iter().rev().find(|guest| begins(&guest.name, name));
        found.cloned().ok_or_else(|| PrepareError::NotPrepared {
            name: name.to_owned(),
            there: all.into_iter().map(|guest| guest.name).collect(),
        })
    }

    /// Keeps a guest; one of the same name goes.
    ///
    /// # Errors
    /// When files can't be written.
    pub(super) fn keep(
        &self,
        name: &str,
        made_of: Vec<String>,
        kernel: &[u8],
        initrd: &[u8],
    ) -> Result<Prepared, PrepareError> {
        let mut hasher = DefaultHasher::new();
        (kernel, initrd).hash(&mut hasher);
        let dir = self.dir.join(name);
        let guest = Prepared {
            name: name.to_owned(),
            made_of,
            digest: hasher.finish(),
            recipe: recipe(),
            dir: dir.clone(),
        };
        fs::create_dir_all(&self.dir).map_err(PrepareError::written(&self.dir))?;
        let partial = tempfile::Builder::new()
            .prefix(".partial-")
            .tempdir_in(&self.dir)
            .map_err(PrepareError::written(&self.dir))?;
        let about = serde_json::to_vec_pretty(&guest).unwrap_or_default();
        for (file, bytes) in [
            (KERNEL, kernel),
            (INITRD, initrd),
            (ABOUT, about.as_slice()),
        ] {
            let path = partial.path().join(file);
            fs::write(&path, bytes).map_err(PrepareError::written(path))?;
        }
        // A reader sees the old guest, none for a moment, or the new one; never half of it.
        let _ = fs::remove_dir_all(&dir);
        fs::rename(partial.keep(), &dir).map_err(PrepareError::written(&dir))?;
        Ok(guest)
    }
}

fn open(dir: &Path) -> Option<Prepared> {
    let about = fs::read(dir.join(ABOUT)).ok()?;
    let guest: Prepared = serde_json::from_slice(&about).ok()?;
    (guest.recipe == recipe()).then_some(Prepared {
        dir: dir.to_owned(),
        ..guest
    })
}

/// What is ours in a guest.
fn recipe() -> u64 {
    let mut hasher = DefaultHasher::new();
    (super::linux::INIT, super::linux::MODULES).hash(&mut hasher);
    hasher.finish()
}

/// Whether `name` is `wanted`, or goes on after it with another part.
pub(super) fn begins(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '+']))
}

/// The numbers of a name, in their order: what versions are compared by.
pub(super) fn version(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_found_by_the_beginning_of_its_name_and_the_newest_wins() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::in_folder(&dir.path().join("guests"));
        assert!(store.find("linux").is_err());
        for name in [
            "linux-6.12.9-amd64",
            "linux-6.12.107-amd64",
            "linux-6.1.0-50-amd64",
        ] {
            store
                .keep(name, vec![], name.as_bytes(), b"ramdisk")
                .unwrap();
        }
        let found = |name| store.find(name).map(|guest| guest.name);
        assert_eq!(found("linux").unwrap(), "linux-6.12.107-amd64");
        assert_eq!(found("linux-6.1").unwrap(), "linux-6.1.0-50-amd64");
        assert_eq!(found("linux-6.12.9").unwrap(), "linux-6.12.9-amd64");
        assert_eq!(
            found("linux-6.10").unwrap_err().to_string(),
            "no guest `linux-6.10` is prepared; there is linux-6.1.0-50-amd64, linux-6.12.9-amd64, linux-6.12.107-amd64"
        );
        let guest = store.find("linux-6.1").unwrap();
        assert_eq!(guest.series(), "linux-6.1");
        assert_eq!(fs::read(guest.kernel()).unwrap(), b"linux-6.1.0-50-amd64");
        assert_eq!(fs::read(guest.initrd()).unwrap(), b"ramdisk");
    }

    #[test]
    fn a_guest_that_is_kept_again_takes_the_place_of_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::in_folder(dir.path());
        let old = store.keep("linux-6.1", vec![], b"a", b"b").unwrap();
        let new = store
            .keep("linux-6.1", vec!["x".into()], b"a", b"c")
            .unwrap();
        assert_ne!(old.digest, new.digest);
        assert_eq!(store.all(), [new]);
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);
    }
}
