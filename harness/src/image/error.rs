//! What can be wrong with an image.

/// Why an image can't be used. It says nothing of the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// It does not begin as images do.
    #[error("this is not a PE image: {0}")]
    NotPe(&'static str),
    /// It is for another processor.
    #[error("the image is for {0}, and a driver for 64-bit x86 is needed")]
    Machine(String),
    /// The optional header is not that of a 64-bit image.
    #[error(
        "the image is not PE32+: the magic number of its optional header is {0:#x}, and 0x20b is needed"
    )]
    NotPe32Plus(u16),
    /// It is no driver.
    #[error("the image is not a native one, as drivers are: its subsystem is {0}")]
    Subsystem(u16),
    /// The file ends before what it says it has.
    #[error("the file is cut off: {what} ends at {end:#x}, and the file has {length:#x} bytes")]
    Truncated {
        /// What goes further than the file.
        what: String,
        /// Where that ends.
        end: u64,
        /// Size of the file in bytes.
        length: u64,
    },
    /// It is larger than the guest has room for.
    #[error("the image takes {size:#x} bytes of memory, and {most:#x} is the most")]
    TooLarge {
        /// What it takes.
        size: u64,
        /// What there is.
        most: u64,
    },
    /// A section does not lie where it can.
    #[error("section {name} lies wrong: {what}")]
    Section {
        /// Its name.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It can only lie at its own address.
    #[error("the image can't be moved: it has no relocations")]
    NotRelocatable,
    /// A relocation is wrong.
    #[error("a relocation is wrong: {0}")]
    Relocation(String),
    /// An import is wrong.
    #[error("the imports are wrong: {0}")]
    Import(String),
    /// A directory lies outside of the image.
    #[error("{what} at {at:#x} is not in the image")]
    Outside {
        /// What it is.
        what: &'static str,
        /// Its place, relative to the image's beginning.
        at: u64,
    },
    /// The entry is not in code.
    #[error("the entry at {0:#x} is in none of the image's sections of code")]
    Entry(u32),
}

/// An import that the model does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} of {dll}")]
pub struct Missing {
    /// The DLL, as the image names it.
    pub dll: String,
    /// The routine.
    pub name: String,
}
