//! A driver's image, `X.sys`: read, checked, and laid out as the guest of kind `nt` gets it. Pure; all
//! that can be wrong with an image is found here, before anything is started.
//!
//! Source: Microsoft's "PE Format".

mod error;
mod handed;
mod read;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use error::{ImageError, Missing};
pub use handed::{LOAD_ADDRESS, PAGE, handed};
pub use read::{Image, Import, Section, Symbol};

/// What the model of Windows has: the guest's own list.
#[path = "../../guests/reference/src/nt/surface.rs"]
mod surface;

pub use surface::{KERNEL, STORPORT};

impl Image {
    /// Imports that the model does not have.
    pub fn missing(&self) -> Vec<Missing> {
        let has = |import: &Import| {
            surface::DLLS.iter().any(|(dll, routines)| {
                dll.eq_ignore_ascii_case(&import.dll) && routines.contains(&import.name.as_str())
            })
        };
        let lacking = self.imports.iter().filter(|import| !has(import));
        lacking
            .map(|import| Missing {
                dll: import.dll.clone(),
                name: import.name.clone(),
            })
            .collect()
    }
}
