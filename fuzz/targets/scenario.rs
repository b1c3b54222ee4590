//! A scenario file is read or refused, and every complaint has a place in it.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use misfire::scenario::{Vocabulary, read};

fuzz_target!(|text: &str| {
    let words = Vocabulary {
        rules: vec!["VIO-MSIX-001".into()],
    };
    if let Err(problems) = read(Path::new("f/n.toml"), "f/n", text, &words) {
        assert!(!problems.is_empty());
        for problem in problems {
            let _ = (problem.position(), problem.to_string());
        }
    }
});
