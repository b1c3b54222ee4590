//! Finding a QEMU, and what it can do.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::cache::Cache;
use super::error::{MachineError, OLDEST_QEMU};
use super::spec::Boot;

const PROGRAM: &str = "qemu-system-x86_64";
/// Where `ci/setup` puts a QEMU of the project's own.
const OF_PROJECT: &str = "target/qemu/qemu-system-x86_64";
/// Names a QEMU that is used whatever else there is.
pub const VARIABLE: &str = "MISFIRE_QEMU";

/// QEMU's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A QEMU that is new enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// The program.
    pub program: PathBuf,
    /// What it is and has.
    pub about: About,
    /// Changes when the program changes.
    pub(super) key: String,
}

/// What a QEMU is and has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its version.
    pub version: Version,
    /// Whether it has the device `vfio-user-pci`.
    pub vfio_user: bool,
    /// Whether it has the device `loader`, which a boot without firmware needs.
    pub loader: bool,
}

impl Qemu {
    /// Writes to `path` which QEMU this is, and what it is told: an argument a line.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn tell(&self, path: &Path, argv: &[OsString]) -> std::io::Result<()> {
        let mut text = format!("QEMU {}\n", self.about.version);
        for word in argv {
            text += &format!("{}\n", word.to_string_lossy());
        }
        std::fs::write(path, text)
    }

    /// The QEMU to use: `$MISFIRE_QEMU`; else `target/qemu` in a folder at or above the executable or
    /// the current folder; else the one in `PATH`. What it can do is asked once for each program.
    ///
    /// # Errors
    /// When there is none, or it is too old, or it lacks vfio-user.
    pub async fn find(cache: &Cache) -> Result<Self, MachineError> {
        let named = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
        let folders: Vec<_> = [std::env::current_exe(), std::env::current_dir()]
            .into_iter()
            .flatten()
            .collect();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = look(named.as_deref(), &folders, &path)?;
        let qemu = Self::ask(program, cache).await?;
        qemu.check()?;
        Ok(qemu)
    }

    /// Asks `program` what it can do, or remembers what it said.
    ///
    /// # Errors
    /// When it does not start or is not QEMU.
    pub async fn ask(program: PathBuf, cache: &Cache) -> Result<Self, MachineError> {
        let key = key(&program).map_err(|error| MachineError::NotQemu {
            program: program.clone(),
            why: error.to_string(),
        })?;
        if let Some(about) = cache.get("qemu", &key) {
            return Ok(Self {
                program,
                about,
                key,
            });
        }
        let has = async |device: &str| {
            let help = format!("{device},help");
            let args = ["-machine", "none", "-device", &help];
            let asked = output(&program, &args).await;
            asked.is_ok_and(|(success, _)| success)
        };
        let (version, vfio_user, loader) = tokio::join!(
            output(&program, &["--version"]),
            has("vfio-user-pci"),
            has("loader"),
        );
        let version = version.and_then(|(_, text)| {
            read_version(&text).ok_or_else(|| format!("`--version` printed `{}`", text.trim()))
        });
        let version = version.map_err(|why| MachineError::NotQemu {
            program: program.clone(),
            why,
        })?;
        let about = About {
            version,
            vfio_user,
            loader,
        };
        cache.put("qemu", &key, about);
        Ok(Self {
            program,
            about,
            key,
        })
    }

    /// Changes when the program changes.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The fastest way to a kernel that needs no firmware.
    pub fn boot(&self) -> Boot {
        if self.about.loader {
            Boot::Direct
        } else {
            Boot::SeaBios
        }
    }

    fn check(&self) -> Result<(), MachineError> {
        let Version(major, minor, _) = self.about.version;
        let program = self.program.clone();
        if (major, minor) < OLDEST_QEMU {
            return Err(MachineError::TooOld {
                program,
                found: self.about.version,
            });
        }
        if !self.about.vfio_user {
            return Err(MachineError::NoVfioUser { program });
        }
        Ok(())
    }
}

/// Finds the program without starting anything.
fn look(named: Option<&OsStr>, starts: &[PathBuf], path: &OsStr) -> Result<PathBuf, MachineError> {
    if let Some(name) = named {
        return in_path(name, path).ok_or_else(|| MachineError::NoQemu {
            looked: vec![format!(
                "{VARIABLE} is `{}`, which is no program",
                name.display()
            )],
        });
    }
    let of_project = starts
        .iter()
        .flat_map(|start| start.ancestors())
        .map(|folder| folder.join(OF_PROJECT))
        .find(|program| is_program(program));
    of_project
        .or_else(|| in_path(OsStr::new(PROGRAM), path))
        .ok_or_else(|| MachineError::NoQemu {
            looked: vec![
                format!("{VARIABLE} is not set"),
                format!("no {OF_PROJECT} above the program or the current folder"),
                format!("no {PROGRAM} in PATH"),
            ],
        })
}

fn in_path(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    let direct = Path::new(name);
    if direct.components().count() > 1 {
        return is_program(direct).then(|| direct.to_owned());
    }
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.mode() & 0o111 != 0)
}

fn key(program: &Path) -> std::io::Result<String> {
    let path = program.canonicalize()?;
    let data = path.metadata()?;
    Ok(format!(
        "{} {} {}.{:09}",
        path.display(),
        data.len(),
        data.mtime(),
        data.mtime_nsec()
    ))
}

async fn output(program: &Path, args: &[&str]) -> Result<(bool, String), String> {
    let args: Vec<OsString> = args.iter().map(Into::into).collect();
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(20), output)
        .await
        .map_err(|_| "it does not answer".to_owned())?
        .map_err(|error| format!("it does not start: {error}"))?;
    if output.stdout.is_empty() && !output.status.success() {
        return Err(format!(
            "it ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    ))
}

fn read_version(text: &str) -> Option<Version> {
    let rest = text.strip_prefix("QEMU emulator version ")?;
    let mut numbers = rest
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .next()?
        .split('.')
        .map(str::parse);
    let mut number = || numbers.next()?.ok();
    Some(Version(number()?, number()?, number().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::test_support::fake_qemu;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn program(at: &Path) -> PathBuf {
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, "").unwrap();
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
        at.to_owned()
    }

    #[test]
    fn the_named_one_is_used_before_the_projects_and_that_before_the_systems() {
        let dir = tempfile::tempdir().unwrap();
        let named = program(&dir.path().join("mine/qemu"));
        let ours = program(&dir.path().join("project").join(OF_PROJECT));
        let system = program(&dir.path().join("bin").join(PROGRAM));
        let path = system.parent().unwrap().as_os_str();
        let inside = [dir.path().join("project/harness/src")];
        let outside = [dir.path().join("elsewhere")];

        let found = |named: Option<&Path>, starts: &[PathBuf]| {
            look(named.map(Path::as_os_str), starts, path).unwrap()
        };
        assert_eq!(found(Some(&named), &inside), named);
        assert_eq!(found(Some(Path::new(PROGRAM)), &inside), system);
        assert_eq!(found(None, &inside), ours);
        assert_eq!(found(None, &outside), system);
    }

    #[test]
    fn without_any_it_is_said_where_it_was_looked_for_and_what_to_do() {
        let error = look(None, &[], OsStr::new("")).unwrap_err();
        assert!(error.to_string().contains("MISFIRE_QEMU is not set"));
        assert!(error.help().unwrap().contains("ci/setup"));
        let error = look(Some(OsStr::new("/no/such")), &[], OsStr::new("")).unwrap_err();
        assert!(error.to_string().contains("`/no/such`"), "{error}");
    }

    #[test]
    fn versions_are_read_as_qemu_prints_them() {
        let read = |text| read_version(text);
        assert_eq!(
            read("QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1)\nCopyright"),
            Some(Version(11, 1, 3))
        );
        assert_eq!(
            read("QEMU emulator version 10.2.50-rc1"),
            Some(Version(10, 2, 50))
        );
        assert_eq!(read("busybox 1.36"), None);
        assert!(Version(9, 2, 0) < Version(10, 0, 0));
    }

    #[tokio::test]
    async fn a_qemu_that_is_too_old_is_named_with_its_version() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(dir.path());
        let old = fake_qemu(dir.path(), "version-7.2.22");
        let qemu = Qemu::ask(old, &cache).await.unwrap();
        let error = qemu.check().unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("is QEMU 7.2.22, 10.2 or newer is needed"),
            "{error}"
        );
        assert!(error.help().unwrap().contains("ci/setup"));
    }

    #[tokio::test]
    async fn a_qemu_without_vfio_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(dir.path());
        let qemu = fake_qemu(dir.path(), "version-10.2.0");
        let qemu = Qemu::ask(qemu, &cache).await.unwrap();
        assert!(matches!(qemu.check(), Err(MachineError::NoVfioUser { .. })));
    }

    #[tokio::test]
    async fn a_program_is_asked_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(&dir.path().join("cache"));
        let qemu = fake_qemu(dir.path(), "counting");
        let calls = || fs::read_to_string(dir.path().join("counting.calls")).unwrap();
        Qemu::ask(qemu.clone(), &cache).await.unwrap();
        let first = calls();
        let again = Qemu::ask(qemu, &cache).await.unwrap();
        assert_eq!(again.about.version, Version(11, 0, 0));
        assert_eq!(calls(), first);
    }

    #[test]
    fn a_program_that_changed_is_another_program() {
        let dir = tempfile::tempdir().unwrap();
        let at = program(&dir.path().join("qemu"));
        let before = key(&at).unwrap();
        assert_eq!(key(&at).unwrap(), before);
        fs::write(&at, "new").unwrap();
        assert_ne!(key(&at).unwrap(), before);
    }

    #[tokio::test]
    async fn a_program_that_is_not_qemu_is_refused_with_what_it_printed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(dir.path());
        let other = fake_qemu(dir.path(), "hello");
        let error = Qemu::ask(other, &cache).await.unwrap_err();
        assert!(error.to_string().contains("hello"), "{error}");
    }
}
