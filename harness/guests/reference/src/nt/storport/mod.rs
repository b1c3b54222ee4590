//! `storport.sys`: the port driver above a miniport that is an image.
//!
//! Source of order, IRQL and locks: the pages of the callbacks in Microsoft's driver documentation
//! (`HW_FIND_ADAPTER`, `HW_INITIALIZE`, `HW_PASSIVE_INITIALIZE_ROUTINE`, `HW_BUILDIO`, `HW_STARTIO`,
//! `HW_INTERRUPT`, `HW_MESSAGE_SIGNALED_INTERRUPT_ROUTINE`, `HW_RESET_BUS`, `HW_ADAPTER_CONTROL`, `HW_UNIT_CONTROL`) and
//! the table of `StorPortAcquireSpinLock`. What rests on less is listed in `docs/nt-guest.md`.

mod abi;
mod begin;
mod control;
mod data;
mod dump;
mod entry;
mod extended;
mod interrupt;
mod layout;
mod locks;
mod memory;
mod names;
mod notice;
mod notify;
mod order;
mod packet;
mod performance;
mod port;
mod processors;
pub mod registry;
mod routines;
mod spin;
mod srb;

pub use entry::driver_entry;
pub use locks::{current_device, current_routine};
pub use notice::Leaving;
pub use order::Bits;
pub use port::{MOST_UNITS, Port, port};
pub(super) use processors::Number as ProcessorNumber;
pub use routines::routine;
pub use spin::bits as held_locks;
pub use srb::{About, Address, EXECUTE, Ended, RESET_DEVICE, RESET_LOGICAL_UNIT, Request};
