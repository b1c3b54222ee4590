//! What died while a device was being served.

use std::any::Any;
use std::path::PathBuf;

/// A part of a device, or what stands behind it, ended before its time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Died {
    /// A thread of ours panicked.
    #[error("the thread {name} of the device panicked: {message}")]
    Thread {
        /// Its name.
        name: String,
        /// What it said.
        message: String,
    },
    /// A backend that is not ours closed its connection, or can't be reached any more.
    #[error("the backend at {} is gone: {how}", socket.display())]
    Backend {
        /// Where it listened.
        socket: PathBuf,
        /// How that was noticed.
        how: String,
    },
}

impl Died {
    /// A thread that panicked with this.
    pub(super) fn thread(name: &str, panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Self::Thread {
            name: name.to_owned(),
            message: text.unwrap_or_else(|| "it did not say why".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_the_threads_name_and_its_words() {
        let panic = std::panic::catch_unwind(|| panic!("queue {} is gone", 3)).unwrap_err();
        let died = Died::thread("dev0-vfio", &*panic);
        assert_eq!(
            died.to_string(),
            "the thread dev0-vfio of the device panicked: queue 3 is gone"
        );
        let panic = std::panic::catch_unwind(|| std::panic::panic_any(7)).unwrap_err();
        let text = Died::thread("x", &*panic).to_string();
        assert!(text.ends_with("it did not say why"), "{text}");
    }
}
