//! What took time to find out about this machine, kept for the next run. It can be deleted any time.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Answers by name, each with the key that it holds for.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: Option<PathBuf>,
    forgetful: bool,
}

#[derive(Serialize, Deserialize)]
struct Entry<T> {
    key: String,
    value: T,
}

/// `misfire` in `XDG_CACHE_HOME` or `~/.cache`; `None` without either.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base =
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("misfire"))
}

impl Cache {
    /// The user's: `misfire` in `XDG_CACHE_HOME` or `~/.cache`. Without either, nothing is kept.
    pub fn of_user() -> Self {
        Self {
            dir: cache_folder(),
            forgetful: false,
        }
    }

    /// One that keeps its answers in `dir`.
    pub fn in_folder(dir: &Path) -> Self {
        Self {
            dir: Some(dir.to_owned()),
            forgetful: false,
        }
    }

    /// The same, but everything is found out again, and kept.
    #[must_use]
    pub fn forgetful(self) -> Self {
        Self {
            forgetful: true,
            ..self
        }
    }

    /// The answer `name`, if it was found with `key`.
    pub fn get<T: DeserializeOwned>(&self, name: &str, key: &str) -> Option<T> {
        if self.forgetful {
            return None;
        }
        let text = fs::read(self.path(name)?).ok()?;
        let entry: Entry<T> = serde_json::from_slice(&text).ok()?;
        (entry.key == key).then_some(entry.value)
    }

    /// Keeps an answer. What can't be kept is found out again.
    pub fn put<T: Serialize>(&self, name: &str, key: &str, value: T) {
        let _ = self.try_put(name, key, value);
    }

    fn try_put<T: Serialize>(&self, name: &str, key: &str, value: T) -> Option<()> {
        let path = self.path(name)?;
        let dir = path.parent()?;
        fs::create_dir_all(dir).ok()?;
        let entry = Entry {
            key: key.to_owned(),
            value,
        };
        // Readers see the old answer or the new one, never half of it.
        let mut file = tempfile::NamedTempFile::new_in(dir).ok()?;
        file.write_all(&serde_json::to_vec(&entry).ok()?).ok()?;
        file.persist(path).ok()?;
        Some(())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(format!("{name}.json")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_its_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(&dir.path().join("new"));
        assert_eq!(cache.get::<u32>("qemu", "a"), None);
        cache.put("qemu", "a", 7);
        assert_eq!(cache.get::<u32>("qemu", "a"), Some(7));
        assert_eq!(cache.get::<u32>("qemu", "b"), None);
        cache.put("qemu", "b", 8);
        assert_eq!(cache.get::<u32>("qemu", "a"), None);
    }

    #[test]
    fn a_damaged_or_deleted_answer_is_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(dir.path());
        cache.put("qemu", "a", 7);
        fs::write(dir.path().join("qemu.json"), "{").unwrap();
        assert_eq!(cache.get::<u32>("qemu", "a"), None);
        fs::remove_file(dir.path().join("qemu.json")).unwrap();
        assert_eq!(cache.get::<u32>("qemu", "a"), None);
    }

    #[test]
    fn a_forgetful_one_keeps_for_others_what_it_found() {
        let dir = tempfile::tempdir().unwrap();
        let forgetful = Cache::in_folder(dir.path()).forgetful();
        forgetful.put("qemu", "a", 7);
        assert_eq!(forgetful.get::<u32>("qemu", "a"), None);
        assert_eq!(
            Cache::in_folder(dir.path()).get::<u32>("qemu", "a"),
            Some(7)
        );
    }

    #[test]
    fn without_a_folder_nothing_is_kept_and_nothing_fails() {
        let cache = Cache {
            dir: None,
            forgetful: false,
        };
        cache.put("qemu", "a", 7);
        assert_eq!(cache.get::<u32>("qemu", "a"), None);
    }
}
