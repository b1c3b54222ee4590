//! The image's entry, and what the image tells of itself there.

use super::abi::HwInitializationData;
use crate::dbg_print;
use crate::hal::{Local, vm, watchdog};
use crate::nt::call::call;
use crate::nt::image;
use crate::nt::status::NtStatus;

/// Where the driver keeps its registry path, which is opaque to a miniport.
const PATH: &str = "misfire\0";

/// A crash dump is being written: the dump driver is in the place of the port driver.
static DUMPING: Local<bool> = Local::new(false);

/// Whether a crash dump is being written.
pub(super) fn is_dumping() -> bool {
    DUMPING.with(|dumping| *dumping)
}

/// What the image has told of itself.
static DRIVER: Local<Option<HwInitializationData>> = Local::new(None);

/// What the image has told of itself.
pub(super) fn driver() -> Option<HwInitializationData> {
    DRIVER.with(|driver| *driver)
}

/// `StorPortInitialize` was called with this.
pub(super) fn registered(data: HwInitializationData) {
    DRIVER.with(|driver| *driver = Some(data));
}

/// Loads the image a second time and calls its entry as the dump driver does, with nothing. Whether it
/// registered.
pub(super) fn dump_entry() -> bool {
    DUMPING.with(|dumping| *dumping = true);
    DRIVER.with(|driver| *driver = None);
    if !image::load_again() {
        return false;
    }
    let Some(image) = image::image() else {
        return false;
    };
    let status = NtStatus(call(image.entry(), &[0, 0]) as u32);
    if status != NtStatus::SUCCESS {
        dbg_print!("NT: DriverEntry of {} returned {status}", image.name);
    }
    driver().is_some()
}

/// Loads the image and calls its entry, once; `dumps`: a crash dump will be written with it.
///
/// # Errors
/// `NO_SUCH_DEVICE` without an image; the status that the entry returned; `DRIVER_INTERNAL_ERROR` when it
/// did not register with the port driver.
pub fn driver_entry(dumps: bool) -> Result<(), NtStatus> {
    if driver().is_some() {
        return Ok(());
    }
    if !image::load(dumps) {
        return Err(NtStatus::NO_SUCH_DEVICE);
    }
    let image = image::image().ok_or(NtStatus::NO_SUCH_DEVICE)?;
    watchdog::start();
    let object = vm::allocate(512).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let path = text(PATH).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let status = NtStatus(call(image.entry(), &[object, path]) as u32);
    image::discard();
    if status != NtStatus::SUCCESS {
        dbg_print!("NT: DriverEntry of {} returned {status}", image.name);
        return Err(status);
    }
    if driver().is_none() {
        dbg_print!(
            "NT: DriverEntry of {} did not call StorPortInitialize",
            image.name
        );
        return Err(NtStatus::DRIVER_INTERNAL_ERROR);
    }
    Ok(())
}

/// A copy of a text where a miniport can read it.
pub(super) fn text(text: &str) -> Option<u64> {
    let at = vm::allocate(text.len() as u64)?;
    // SAFETY: the memory was just taken and has this size.
    unsafe { core::ptr::copy_nonoverlapping(text.as_ptr(), at as *mut u8, text.len()) };
    Some(at)
}
