//! What happened, in one type: the device's payload, the trace's line, the rules' evidence.

mod event;
mod io;
mod render;
mod world;

pub use event::{
    Access, Cause, Effect, Effects, Event, Fired, Hello, Host, Input, IrqKind, Legality, Message,
    Op, Part, QueueSetup, RingSample, Space, Start, Step, TableEntry, What,
};
pub use io::{ReadTraceError, read_jsonl, write_jsonl};
pub use world::{Device, Mode, Queue, World};
