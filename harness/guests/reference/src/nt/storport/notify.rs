//! `StorPortNotification`: what a miniport tells, and half of what it asks for.

use super::abi::notification as kind;
use super::dump;
use super::entry::is_dumping;
use super::locks::{self, Callback};
use super::names;
use super::port::{Port, of_extension};
use crate::dbg_print;
use crate::hal::time;
use crate::nt::checks::{self, Check};
use crate::nt::clocks::{self, Way};
use crate::nt::dispatch;
use crate::nt::dpc::{self, Call};

/// `STOR_DPC` as the port driver uses it.
#[repr(C)]
struct Dpc {
    mark: u64,
    routine: u64,
    opaque: [u64; 7],
}

/// An object that was initialised has this in it.
const MARK: u64 = 0x6370_645f_726f_7473;

/// `StorPortNotification`. Of the arguments behind the extension there are as many as the type says.
pub(super) extern "win64" fn notification(
    what: u32,
    extension: u64,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
) {
    let Some(port) = of_extension(extension) else {
        checks::broken(
            0,
            Check::Address,
            format_args!(
                "StorPortNotification({what:#x}) with {extension:#x}, which is no device extension"
            ),
        );
        return;
    };
    match what {
        kind::REQUEST_COMPLETE => port.completed(a),
        kind::RESET_DETECTED => dbg_print!("NT: the miniport has detected a reset"),
        kind::REQUEST_TIMER_CALL => port.with(|state| {
            state.timer = (b as u32 != 0).then(|| (time::now() + u64::from(b as u32), a));
        }),
        kind::BUS_CHANGE_DETECTED | kind::STATE_CHANGE_DETECTED => {
            port.with(|state| state.changed = true);
            dispatch::request_round();
        }
        kind::ENABLE_PASSIVE_INITIALIZATION if is_dumping() => answer(b, 0),
        kind::ENABLE_PASSIVE_INITIALIZATION => {
            port.with(|state| state.passive_routine = a);
            answer(b, 1);
        }
        kind::INITIALIZE_DPC => {
            dump::not_now(extension, "a DPC is initialised");
            initialize_dpc(a, b);
        }
        kind::ISSUE_DPC => answer(d, issue_dpc(port, extension, a, [b, c]).into()),
        kind::ACQUIRE_SPIN_LOCK => locks::acquire(extension, a as u32, b, c),
        kind::RELEASE_SPIN_LOCK => locks::release(extension, a),
        other => {
            let name = names::of_notification(other);
            dbg_print!(
                "NT: StorPortNotification({other:#x}), {name}, is not modelled: it does nothing"
            );
        }
    }
}

/// A LONG for the miniport.
fn answer(at: u64, value: u32) {
    if at != 0 {
        // SAFETY: the miniport's pointer, which it vouches for.
        unsafe { (at as *mut u32).write_unaligned(value) };
    }
}

fn initialize_dpc(at: u64, routine: u64) {
    // SAFETY: the miniport's object.
    unsafe {
        (at as *mut Dpc).write(Dpc {
            mark: MARK,
            routine,
            opaque: [0; 7],
        });
    }
}

fn issue_dpc(port: &'static Port, extension: u64, at: u64, arguments: [u64; 2]) -> bool {
    // SAFETY: the miniport's object.
    let object = unsafe { (at as *const Dpc).read() };
    if object.mark != MARK {
        let text = format_args!("a DPC is issued that was not initialised");
        checks::broken(port.number(), Check::Dpc, text);
        return false;
    }
    checks::kept(port.number(), Check::Dpc);
    clocks::hand_on(Way::Dpc(at));
    dpc::queue(Call {
        object: at,
        act: run,
        arguments: [port.number() as u64, extension, arguments[0], arguments[1]],
    })
}

fn run(call: &Call) {
    // SAFETY: the object was initialised when the call was queued.
    let routine = unsafe { (call.object as *const Dpc).read() }.routine;
    let [number, extension, a, b] = call.arguments;
    let port = super::port(number as usize);
    clocks::learn(Way::Dpc(call.object));
    clocks::learn(Way::Device(port.number()));
    port.call_at(
        dispatch::DISPATCH_LEVEL,
        Callback::Dpc,
        routine,
        &[call.object, extension, a, b],
    );
    // The next call of the object comes after this one.
    clocks::hand_on(Way::Dpc(call.object));
}
