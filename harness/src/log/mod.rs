//! What a guest prints: bytes made into lines, and lines made into values; and what its kernel tells a
//! debugger.

pub mod driver;
pub mod kd;
mod kernel;
mod lines;
mod machine_line;
mod said;
mod speech;
mod stop;

pub use kernel::KernelTrouble;
pub use lines::{LineSplitter, MAX_LINE, harmless};
pub use machine_line::{Crash, Done, MachineLine, Started};
pub use said::{Said, Selftest};
pub use speech::Speech;
pub use stop::{StopCode, stop_name};
