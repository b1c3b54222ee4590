//! A guest file: a guest of the user's own, as `--guest FILE` takes it.
//!
//! What the file says of a kind of guest is a [`Section`], which lies beside that kind; this file knows
//! their list and nothing more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use misfire_device::file::{At, Document, Problem, Problems, problem::one_of};
use schemars::JsonSchema;
use serde::Deserialize;

use super::firmware::FirmwareFile;
use super::linux::LinuxFile;
use super::windows::WindowsFile;

/// The part of a guest file that is about one kind of guest.
pub trait Section {
    /// Says what is wrong with it, and makes its paths those of the file's folder.
    fn check(&mut self, place: &mut Place<'_>);
}

/// A kind for each section: its variant, its key, its type.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident, $key:ident: $section:ty;)+) => {
        /// A guest file as it is written.
        #[derive(Clone, Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct Written {
            /// What it is called in reports, and the folder of its snapshots.
            name: String,
            /// The revision of its driver, as `expect.known."name@revision"` has it.
            revision: Option<String>,
            /// Rules that its driver is known to break, and why.
            #[serde(default)]
            known: BTreeMap<String, String>,
            /// What it is.
            kind: Kind,
            $($(#[$doc])* $key: Option<$section>,)+
        }

        /// A kind of guest, as a file names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
        #[serde(rename_all = "lowercase")]
        pub enum Kind {
            $($(#[$doc])* $variant,)+
        }

        impl Kind {
            /// The name of the kind, and of its section.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($key),)+
                }
            }
        }

        /// What a guest is, by its kind.
        #[derive(Clone, Debug)]
        pub enum What {
            $($(#[$doc])* $variant(Box<$section>),)+
        }

        impl Written {
            /// The section of the guest's kind, checked. One that is not written says nothing.
            fn what(self, document: &Document<'_>, place: &mut Place<'_>) -> What {
                $(
                    if self.kind != Kind::$variant && self.$key.is_some() {
                        let (kind, key) = (self.kind.word(), stringify!($key));
                        let message = format!("`{key}` means nothing to a guest of kind `{kind}`");
                        place.problems.push(document.problem(&[key.into()], message));
                    }
                )+
                match self.kind {
                    $(
                        Kind::$variant => {
                            let mut section = self.$key.unwrap_or_default();
                            section.check(place);
                            What::$variant(Box::new(section))
                        }
                    )+
                }
            }
        }
    };
}

kinds! {
    /// Linux: the user's kernel, image or modules.
    Linux, linux: LinuxFile;
    /// A firmware that boots from the device.
    Firmware, firmware: FirmwareFile;
    /// A Windows on a disk image.
    Windows, windows: WindowsFile;
}

/// A guest of the user's own.
#[derive(Clone, Debug)]
pub struct GuestFile {
    /// What it is called.
    pub name: String,
    /// The revision of its driver, if the file says one.
    pub revision: Option<String>,
    /// Rules that its driver is known to break, and why.
    pub known: BTreeMap<String, String>,
    /// What it is.
    pub what: What,
}

/// A UEFI firmware in flash memory.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UefiFile {
    /// The code, such as `OVMF_CODE.fd`.
    pub code: PathBuf,
    /// The variables that it begins with, such as `OVMF_VARS.fd`.
    pub variables: Option<PathBuf>,
}

/// Guests that are not read from files.
const BUILT_IN: &[&str] = &["reference", super::NT, "linux", "firmware", "windows"];

impl GuestFile {
    /// Reads the guest file at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it, or why it can't be read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problems(vec![Problem::of_file(
                path,
                format!("can't be read: {error}"),
            )])
        })?;
        Self::read(path, &text)
    }

    /// Reads the guest file that holds `text`; what it names is looked for from the folder of `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(path: &Path, text: &str) -> Result<Self, Problems> {
        let one = |problem| Problems(vec![problem]);
        let document = Document::parse(path, text).map_err(one)?;
        let written: Written = document.read(&[&["linux", "modules"]]).map_err(one)?;
        let mut place = Place {
            document: &document,
            folder: path.parent().unwrap_or(Path::new("")),
            section: written.kind.word(),
            problems: Vec::new(),
        };
        let (name, revision) = (written.name.clone(), written.revision.clone());
        let known = written.known.clone();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
        for (key, word) in [("name", Some(&name)), ("revision", revision.as_ref())] {
            if word
                .is_some_and(|word| !word.chars().all(plain) || word.trim_matches('.').is_empty())
            {
                let message =
                    format!("the {key} must be of letters, digits, `-`, `.`, `_` and `+`");
                place
                    .problems
                    .push(document.problem(&[key.into()], message));
            }
        }
        for rule in known
            .keys()
            .filter(|id| crate::rules::rules().all(|rule| rule.id != id.as_str()))
        {
            let message = format!("there is no rule {rule}");
            place
                .problems
                .push(document.problem(&["known".into(), rule.as_str().into()], message));
        }
        if BUILT_IN.contains(&name.as_str()) {
            let message = format!(
                "no guest of yours can be called {}",
                one_of(BUILT_IN.iter().copied())
            );
            place
                .problems
                .push(document.problem(&["name".into()], message));
        }
        let what = written.what(&document, &mut place);
        if place.problems.is_empty() {
            Ok(Self {
                name,
                revision,
                known,
                what,
            })
        } else {
            Err(Problems(place.problems))
        }
    }
}

/// The JSON schema of a guest file.
pub fn guest_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Written);
    schema.insert("title".into(), "Misfire guest".into());
    schema.to_value()
}

/// Where a section stands, and what is wrong with it.
pub struct Place<'a> {
    document: &'a Document<'a>,
    folder: &'a Path,
    section: &'static str,
    problems: Vec<Problem>,
}

impl Place<'_> {
    /// Something is wrong with the value of a key of the section.
    pub fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problem_at(&[key.into()], message);
    }

    fn problem_at(&mut self, path: &[At<'_>], message: impl Into<String>) {
        let path: Vec<At<'_>> = [&[self.section.into()], path].concat();
        self.problems.push(self.document.problem(&path, message));
    }

    /// Makes the path of a key one from the file's folder, and looks whether a file is there.
    pub fn file(&mut self, key: &str, path: &mut PathBuf) {
        self.at(&[key.into()], path, |found| found.is_file(), "file");
    }

    /// The same for each path of a list.
    pub fn files(&mut self, key: &str, paths: &mut [PathBuf]) {
        for (index, path) in paths.iter_mut().enumerate() {
            self.at(
                &[key.into(), index.into()],
                path,
                |found| found.is_file(),
                "file",
            );
        }
    }

    /// The same for the files of a UEFI firmware.
    pub fn uefi(&mut self, key: &str, firmware: &mut UefiFile) {
        self.file(key, &mut firmware.code);
        if let Some(variables) = &mut firmware.variables {
            self.file(key, variables);
        }
    }

    /// The same for a folder.
    pub fn folder(&mut self, key: &str, path: &mut PathBuf) {
        self.at(&[key.into()], path, |found| found.is_dir(), "folder");
    }

    /// The same for a socket, or whatever else a program listens at.
    pub fn socket(&mut self, key: &str, path: &mut PathBuf) {
        self.at(
            &[key.into()],
            path,
            |found| !found.is_dir() && !found.is_file(),
            "socket",
        );
    }

    fn at(
        &mut self,
        key: &[At<'_>],
        path: &mut PathBuf,
        is_one: impl Fn(&std::fs::Metadata) -> bool,
        wanted: &str,
    ) {
        *path = self.folder.join(&path);
        let name = path.display();
        match std::fs::metadata(&path) {
            Ok(found) if is_one(&found) => {}
            Ok(_) => self.problem_at(key, format!("{name} is no {wanted}")),
            Err(error) => self.problem_at(key, format!("{name} can't be used: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a file, with line and column, in a folder that holds `kernel` and `a.ko`.
    fn problems(text: &str) -> Vec<(Option<(usize, usize)>, String)> {
        match read(text) {
            Ok(guest) => panic!("nothing was wrong: {guest:?}"),
            Err(Problems(all)) => all
                .into_iter()
                .map(|problem| (problem.position(), problem.message))
                .collect(),
        }
    }

    fn read(text: &str) -> Result<GuestFile, Problems> {
        let dir = tempfile::tempdir().unwrap();
        for file in ["kernel", "a.ko"] {
            std::fs::write(dir.path().join(file), "x").unwrap();
        }
        let read = GuestFile::read(&dir.path().join("my.toml"), text);
        read.map_err(|Problems(all)| {
            let folder = format!("{}/", dir.path().display());
            let without = |mut problem: Problem| {
                problem.message = problem.message.replace(&folder, "");
                problem
            };
            Problems(all.into_iter().map(without).collect())
        })
    }

    #[test]
    fn paths_are_those_from_the_files_folder() {
        let text =
            "name = \"mine\"\nkind = \"linux\"\n[linux]\nkernel = \"kernel\"\nmodules = \"a.ko\"\n";
        let guest = read(text).unwrap();
        assert_eq!((guest.name.as_str(), guest.revision), ("mine", None));
        let What::Linux(linux) = guest.what else {
            panic!("{:?}", guest.what);
        };
        assert!(linux.kernel.unwrap().is_absolute());
        assert!(linux.modules[0].ends_with("a.ko"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let linux = "name = \"mine\"\nkind = \"linux\"\n";
        for (text, place, message) in [
            (
                "name = \"mine\"\nkind = \"linus\"\n".to_owned(),
                (2, 8),
                "unknown variant `linus`, expected",
            ),
            (
                format!("{linux}[linux]\nkernal = \"kernel\"\n"),
                (4, 1),
                "unknown key `kernal`",
            ),
            (
                format!("{linux}[linux]\nmodules = [\"a.ko\", \"b.ko\"]\n"),
                (4, 20),
                "b.ko can't be used: No such file",
            ),
            (
                format!("{linux}[linux]\nkernel = \".\"\n"),
                (4, 10),
                "is no file",
            ),
            (
                format!("{linux}[linux]\nimage = \"root.qcow2\"\n"),
                (4, 9),
                "root.qcow2 can't be used: No such file",
            ),
            (
                format!("{linux}[linux]\nimage = \"kernel\"\nbase = \"linux\"\n"),
                (5, 8),
                "an image brings its own modules",
            ),
            (
                format!("{linux}[linux]\nimage = \"kernel\"\nappend = \"quiet\"\n"),
                (5, 10),
                "an image that boots itself brings its own: append needs kernel",
            ),
            (
                format!("{linux}[firmware]\n"),
                (3, 1),
                "`firmware` means nothing to a guest of kind `linux`",
            ),
            (
                "name = \"nt\"\nkind = \"linux\"\n".to_owned(),
                (1, 8),
                "no guest of yours can be called `reference`, `nt`, `linux`, `firmware` or `windows`",
            ),
            (
                "name = \"../x\"\nkind = \"linux\"\n".to_owned(),
                (1, 8),
                "the name must be of letters, digits, `-`, `.`, `_` and `+`",
            ),
        ] {
            let found = problems(&text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(found[0].0, Some(place), "{text}: {found:?}");
            assert!(found[0].1.contains(message), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let Err(Problems(all)) = GuestFile::load(Path::new("no/such.toml")) else {
            panic!("it was read");
        };
        assert!(all[0].message.starts_with("no/such.toml: can't be read"));
    }
}
