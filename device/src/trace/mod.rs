//! What happened, in one type: the device's payload, the trace's line, the rules' evidence.

mod effect;
mod event;
mod input;
mod io;
mod render;
mod ring;
mod world;

pub use effect::{Cause, Effect, Effects, Message, QueueSetup, RingWrite, Start};
pub use event::{Event, Fired, Hello, Legality, Part, Step, TableEntry, What};
pub use input::{Access, Host, Input, IrqKind, Op, Space};
pub use io::{ReadTraceError, read_jsonl, write_jsonl};
pub use ring::{
    Altered, AlteredPart, ChainSeen, Descriptor, Dirty, DirtyPart, Flaw, MOST_DESCRIPTORS,
    PackedSample, RingSample,
};
pub use world::{Device, Mode, Queue, World};
