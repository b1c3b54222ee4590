//! A model of what Windows does with interrupts. It is not Windows.
//!
//! `status`, `resources`, `vectors`, `policy` and `interrupt` are pure: PnP's arithmetic and the
//! rules of interrupt objects, tested on the host. `bus`, `dispatch`, `pnp` and `bugcheck` join
//! them to the machine. A driver sees `pnp::Driver`, `pnp::WdfDevice` and `dispatch`, and nothing
//! of what lies below.

pub mod bugcheck;
pub mod bus;
pub mod dispatch;
pub mod interrupt;
pub mod pnp;
pub mod policy;
pub mod resources;
pub mod siblings;
pub mod status;
pub mod vectors;

/// `DbgPrint`: one line of the driver's log.
#[macro_export]
macro_rules! dbg_print {
    ($($text:tt)*) => { $crate::println!($($text)*) };
}
