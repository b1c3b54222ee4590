//! Debian packages: found and fetched by apt with a state of its own, unpacked without root.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::PrepareError;
use super::store::version;

/// Turns the system's package sources into those of another release on the same mirrors.
const OTHER_RELEASE: &str = include_str!("../../../ci/newer-release.awk");
/// Releases that may have a kernel that the system's own does not have, in the order they are asked.
const RELEASES: &[&str] = &["trixie", "forky", "sid"];
const TOOLS: &[&str] = &["apt-get", "apt-cache", "apt-config", "dpkg-deb", "awk"];

/// An apt that knows nothing of what is installed here and changes nothing of it.
#[derive(Debug)]
pub(super) struct Apt {
    dir: PathBuf,
    conf: PathBuf,
    /// The releases that are asked.
    releases: Vec<String>,
}

/// A package, unpacked.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// `name version` of everything that was unpacked.
    pub packages: Vec<String>,
}

impl Apt {
    /// One that keeps its state in `dir` and asks the release of this system.
    pub fn open(dir: &Path) -> Result<Self, PrepareError> {
        for tool in TOOLS {
            if !in_path(tool) {
                return Err(PrepareError::NoTool(tool));
            }
        }
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            let folder = dir.join(folder);
            fs::create_dir_all(&folder).map_err(PrepareError::written(folder))?;
        }
        let conf = dir.join("apt.conf");
        let at = dir.display();
        let text = format!(
            "#clear APT::Update::Pre-Invoke;\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n\
             #clear APT::Architectures;\n\
             #clear APT::Default-Release;\n\
             APT::Architecture \"amd64\";\n\
             APT::Architectures {{ \"amd64\"; }};\n\
             APT::Install-Recommends \"false\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"3\";\n\
             Dir::State \"{at}/state\";\n\
             Dir::State::status \"{at}/status\";\n\
             Dir::Cache \"{at}/cache\";\n\
             Dir::Etc::sourcelist \"{at}/misfire.sources\";\n\
             Dir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"/dev/null\";\n"
        );
        let status = dir.join("status");
        fs::write(&status, "").map_err(PrepareError::written(status))?;
        fs::write(&conf, text).map_err(PrepareError::written(&conf))?;
        let apt = Self {
            dir: dir.to_owned(),
            conf,
            releases: vec![codename()],
        };
        apt.update()?;
        Ok(apt)
    }

    /// Asks another release of the same distribution too; false: there is none left.
    pub fn widen(&mut self) -> Result<bool, PrepareError> {
        let next = RELEASES
            .iter()
            .find(|release| !self.releases.iter().any(|asked| asked == *release));
        let Some(release) = next else {
            return Ok(false);
        };
        self.releases.push((*release).to_owned());
        self.update()?;
        Ok(true)
    }

    /// Fetches the lists of packages. A source that can't be reached is found out by what is missing.
    fn update(&self) -> Result<(), PrepareError> {
        let system = system_sources()?;
        let mut sources = String::new();
        for release in &self.releases {
            let mut awk = Command::new("awk");
            awk.arg("-v").arg(format!("release={release}"));
            awk.arg("-v").arg(format!("codename={}", codename()));
            awk.arg(OTHER_RELEASE).args(&system);
            sources += &output(awk, "awk")?;
        }
        let path = self.dir.join("misfire.sources");
        fs::write(&path, sources).map_err(PrepareError::written(path))?;
        let _ = output(self.command("apt-get", ["-q", "update"]), "apt-get update");
        Ok(())
    }

    /// The names of packages that begin with `prefix`.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>, PrepareError> {
        let text = output(self.command("apt-cache", ["pkgnames", prefix]), "apt-cache")?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Unpacks the newest of these packages into `root`, with those that they depend on and `with`
    /// accepts.
    pub fn unpack(
        &self,
        packages: &[&str],
        with: impl Fn(&str) -> bool,
        root: &Path,
    ) -> Result<Unpacked, PrepareError> {
        let mut wanted: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
        let mut known: BTreeSet<String> = wanted.iter().cloned().collect();
        let mut found = Vec::new();
        while let Some(name) = wanted.pop() {
            let shown = self.command("apt-cache", ["--no-all-versions", "show", name.as_str()]);
            let not_offered = || PrepareError::NotOffered {
                wanted: format!("package {name}"),
                offers: Vec::new(),
            };
            let text = output(shown, "apt-cache show").map_err(|_| not_offered())?;
            let field = |key: &str| {
                text.lines()
                    .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
            };
            let version = field("Version").ok_or_else(not_offered)?;
            found.push((name.clone(), version.to_owned()));
            for key in ["Depends", "Pre-Depends"] {
                let needed = field(key)
                    .unwrap_or_default()
                    .split(',')
                    .filter_map(first_word);
                for needed in needed.filter(|needed| with(needed)) {
                    if known.insert(needed.to_owned()) {
                        wanted.push(needed.to_owned());
                    }
                }
            }
        }
        let archives = tempfile::tempdir_in(&self.dir).map_err(PrepareError::written(&self.dir))?;
        let mut fetch = self.command("apt-get", ["-q", "download"]);
        fetch.args(
            found
                .iter()
                .map(|(name, version)| format!("{name}={version}")),
        );
        fetch.current_dir(archives.path());
        output(fetch, "apt-get download")?;
        let entries = fs::read_dir(archives.path()).map_err(PrepareError::read(archives.path()))?;
        for archive in entries.flatten().map(|entry| entry.path()) {
            if archive.extension() == Some(OsStr::new("deb")) {
                unpack_file(&archive, root)?;
            }
        }
        let mut packages: Vec<String> = found.iter().map(|(n, v)| format!("{n} {v}")).collect();
        packages.sort();
        Ok(Unpacked { packages })
    }

    fn command<'a>(&self, program: &str, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.conf).args(args);
        command
    }
}

/// Unpacks a package that is there as a file.
pub(super) fn unpack_file(archive: &Path, root: &Path) -> Result<(), PrepareError> {
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("-x").arg(archive).arg(root);
    output(unpack, "dpkg-deb").map(drop)
}

/// `libc6` of ` libc6 (>= 2.36) | libc6-i386`.
fn first_word(dependency: &str) -> Option<&str> {
    dependency
        .split([' ', '(', ':', '|'])
        .find(|word| !word.is_empty())
}

/// The newest of `names` that is a kernel of the version `wanted`, or of any; the smaller flavour for
/// virtual machines first.
pub(super) fn kernel_of<'a>(names: &'a [String], wanted: Option<&str>) -> Option<&'a str> {
    kernels(names)
        .filter(|name| match wanted {
            None => true,
            Some(wanted) => super::store::begins(&name["linux-image-".len()..], wanted),
        })
        .max_by_key(|name| {
            let cloud = name.ends_with("-cloud-amd64");
            match wanted {
                // Of a version that was asked for, the flavour decides.
                Some(_) => (cloud, version(name), false),
                None => (false, version(name), cloud),
            }
        })
}

/// Those of `names` that are bootable kernels.
pub(super) fn kernels(names: &[String]) -> impl Iterator<Item = &str> {
    names.iter().map(String::as_str).filter(|name| {
        name.strip_prefix("linux-image-").is_some_and(|rest| {
            let flavour = rest.trim_start_matches(|c: char| !c.is_ascii_alphabetic() || c == 'd');
            rest.starts_with(|c: char| c.is_ascii_digit())
                && !rest.contains("-rt")
                && rest.ends_with("amd64")
                && !flavour.is_empty()
        })
    })
}

/// The files that say where this system's packages come from.
fn system_sources() -> Result<Vec<PathBuf>, PrepareError> {
    let mut ask = Command::new("apt-config");
    ask.args(["shell", "FILE", "Dir::Etc::sourcelist/f"]);
    ask.args(["PARTS", "Dir::Etc::sourceparts/d"]);
    let text = output(ask, "apt-config")?;
    let value = |key: &str| {
        text.lines()
            .find_map(|line| {
                line.strip_prefix(key)?
                    .strip_prefix("='")?
                    .strip_suffix('\'')
            })
            .map(PathBuf::from)
    };
    let mut files: Vec<PathBuf> = value("FILE").into_iter().collect();
    let parts = value("PARTS").and_then(|dir| fs::read_dir(dir).ok());
    files.extend(
        parts
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path()),
    );
    files.retain(|path| {
        let named = path
            .extension()
            .is_some_and(|end| end == "list" || end == "sources");
        named && path.metadata().is_ok_and(|data| data.len() > 0)
    });
    files.sort();
    Ok(files)
}

/// The release that this system is.
fn codename() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or("sid")
        .trim_matches('"')
        .to_owned()
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// What a program prints, or why it failed.
pub(super) fn output(mut command: Command, name: &str) -> Result<String, PrepareError> {
    let failed = |said: String| PrepareError::Tool {
        command: name.to_owned(),
        said,
    };
    let out = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !out.status.success() {
        let text = String::from_utf8_lossy(&out.stderr);
        let last: Vec<&str> = text.trim().lines().rev().take(4).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        return Err(failed(match last.as_slice() {
            [] => out.status.to_string(),
            lines => lines.join(" | "),
        }));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        [
            "linux-image-amd64",
            "linux-image-cloud-amd64",
            "linux-image-6.1.0-9-amd64",
            "linux-image-6.1.0-50-amd64",
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64-dbg",
            "linux-image-6.1.0-50-cloud-amd64-unsigned",
            "linux-image-6.1.0-51-rt-amd64",
            "linux-image-6.12.95+deb12-cloud-amd64",
            "linux-image-6.12.107+deb13-cloud-amd64",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    #[test]
    fn a_version_means_its_newest_kernel_for_virtual_machines() {
        let names = names();
        let of = |wanted| kernel_of(&names, wanted);
        assert_eq!(of(Some("6.1")), Some("linux-image-6.1.0-50-cloud-amd64"));
        assert_eq!(
            of(Some("6.12")),
            Some("linux-image-6.12.107+deb13-cloud-amd64")
        );
        assert_eq!(of(Some("6.1.0-9")), Some("linux-image-6.1.0-9-amd64"));
        assert_eq!(
            of(Some("6")),
            Some("linux-image-6.12.107+deb13-cloud-amd64")
        );
        assert_eq!(of(None), Some("linux-image-6.12.107+deb13-cloud-amd64"));
        assert_eq!(of(Some("5.10")), None);
    }

    #[test]
    fn of_a_dependency_the_first_alternative_is_taken() {
        assert_eq!(first_word(" libc6 (>= 2.36)"), Some("libc6"));
        assert_eq!(first_word("libgcc-s1:any | libgcc1"), Some("libgcc-s1"));
        assert_eq!(first_word(" "), None);
    }
}
