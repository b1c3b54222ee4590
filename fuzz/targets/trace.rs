//! A trace is read and judged, or refused with the line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use misfire::rules::{Context, judge};
use misfire_device::trace::{read_jsonl, write_jsonl};

fuzz_target!(|bytes: &[u8]| {
    let Ok(events) = read_jsonl(bytes) else {
        return;
    };
    judge(&events, &Context::default());
    let mut out = Vec::new();
    for event in &events {
        write_jsonl(&mut out, event).expect("a vector takes everything");
    }
    let again = read_jsonl(&out[..]).expect("what was written is read");
    assert_eq!(again, events, "nothing is lost");
});
