//! A driver's image is read and handed over, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use misfire::image::{Image, handed};

fuzz_target!(|bytes: &[u8]| {
    match Image::read(bytes) {
        Ok(image) => {
            image.missing();
            handed(&image, "driver.sys");
        }
        Err(error) => drop(error.to_string()),
    }
});
