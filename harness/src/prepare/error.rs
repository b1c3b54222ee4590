//! What can't be prepared, and why.

use std::io;
use std::path::PathBuf;

/// A guest can't be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// There is no folder to keep it in.
    #[error("there is no folder to keep guests in: neither XDG_CACHE_HOME nor HOME is set")]
    NoFolder,
    /// A program that unpacks or fetches packages is not here.
    #[error("packages are fetched and unpacked with `{0}`, which is not in PATH")]
    NoTool(&'static str),
    /// A program failed.
    #[error("`{command}` failed: {said}")]
    Tool {
        /// What was called.
        command: String,
        /// The end of what it said.
        said: String,
    },
    /// The package sources do not have it.
    #[error("the package sources of this machine have no {wanted}{}", also(offers))]
    NotOffered {
        /// What was looked for.
        wanted: String,
        /// What there is of its kind.
        offers: Vec<String>,
    },
    /// A package or a folder does not hold what it should.
    #[error("{holder} has no {wanted}")]
    Missing {
        /// The package, the folder or the file.
        holder: String,
        /// What should be there.
        wanted: String,
    },
    /// A module is damaged, or packed in a way that is not known here.
    #[error("the module {} can't be read: {why}", path.display())]
    Module {
        /// Where it is.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The operating system refused a file.
    #[error("{} can't be {doing}", path.display())]
    Os {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No guest of that name was prepared.
    #[error("no guest `{name}` is prepared{}", also(there))]
    NotPrepared {
        /// What was asked for.
        name: String,
        /// What there is.
        there: Vec<String>,
    },
}

impl PrepareError {
    /// What to do about it, if that is known.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoFolder => "Set XDG_CACHE_HOME to a folder that can be written.".into(),
            Self::NoTool(_) => {
                "A Linux guest is made from Debian packages: prepare it on a Debian \
                                system, or give a kernel of your own in a guest file."
                    .into()
            }
            Self::Tool { .. } => {
                "The packages come from the mirrors that apt uses on this machine: \
                                  `apt-get update` says whether they can be reached."
                    .into()
            }
            Self::NotOffered { .. } => {
                "`--kernel` takes a version such as 6.12, a package, or the file of one.".into()
            }
            Self::NotPrepared { name, .. } => {
                let version = name.strip_prefix("linux-").unwrap_or_default();
                let kernel = match version {
                    "" => String::new(),
                    version => format!(" --kernel {version}"),
                };
                format!("`misfire prepare linux{kernel}` makes one.")
            }
            _ => return None,
        })
    }

    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Os {
            path,
            doing: "read",
            source,
        }
    }

    pub(crate) fn written(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Os {
            path,
            doing: "written",
            source,
        }
    }
}

fn also(there: &[String]) -> String {
    match there {
        [] => String::new(),
        there => format!("; there is {}", there.join(", ")),
    }
}
