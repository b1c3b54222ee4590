//! A model of what Windows does with interrupts. It is not Windows.
//!
//! `status`, `resources`, `vectors`, `policy` and `interrupt` are pure: PnP's arithmetic and the rules of interrupt
//! objects, tested on the host. `bus`, `dispatch`, `pnp` and `bugcheck` join them to the machine. Where a driver is an
//! image of Windows (`image`), `kernel` and `storport` are what it calls, `call` is how it is called, `dpc` runs its
//! deferred calls, and `checks`, `lent`, `rounds`, `trap` and `watch` look at what it does. A driver sees
//! `pnp::Driver`, `pnp::WdfDevice` and `dispatch`, and nothing of what lies below.

pub mod bugcheck;
pub mod bus;
pub mod call;
pub mod checks;
pub mod clocks;
pub mod dispatch;
pub mod dpc;
pub mod image;
pub mod interrupt;
pub mod kernel;
pub mod lent;
pub mod pnp;
pub mod policy;
pub mod resources;
pub mod rounds;
pub mod siblings;
pub mod smp;
pub mod status;
pub mod storport;
#[allow(dead_code)] // the list of images is the harness's
pub mod surface;
pub mod thunk;
pub mod trap;
pub mod vectors;
pub mod watch;

/// `DbgPrint`: one line of the driver's log.
#[macro_export]
macro_rules! dbg_print {
    ($($text:tt)*) => { $crate::println!($($text)*) };
}
