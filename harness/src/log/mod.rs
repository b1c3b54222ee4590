//! What a guest prints: bytes made into lines, and lines for the harness made into values.

mod lines;
mod machine_line;
mod stop;

pub use lines::{LineSplitter, MAX_LINE};
pub use machine_line::{Crash, Done, MachineLine, Started};
pub use stop::{StopCode, stop_name};
