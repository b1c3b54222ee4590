//! The processors of the machine: what each has of its own, and how the others than the first are started.
//!
//! Each has its area behind the segment register GS. Where 64-bit Windows keeps its number and a pointer to
//! the area, it is there too, for code that was compiled inline (`docs/nt-guest.md` has the source).

use super::{apic, boot, cpu, idt, mem};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The most processors of a machine.
pub const MOST: usize = 8;
/// Size of an area in bytes.
const AREA: usize = 4096;
/// Where a pointer to the area itself is in it, and the processor's number: in one byte, and in four.
const SELF: usize = 0x18;
const OLD_NUMBER: usize = 0x52;
const NUMBER: usize = 0x1a4;
/// Where the place is from which a driver's image called the model last.
pub const CALLED_FROM: usize = 0x800;
/// Size of the stack of a processor's main path, in bytes.
const STACK: u64 = 0x1_0000;
/// A processor that was called has this long to come, in microseconds.
const PATIENCE: u64 = 1_000_000;

#[repr(C, align(4096))]
struct Area(UnsafeCell<[u8; AREA]>);
// SAFETY: each is its processor's, and written before it runs.
unsafe impl Sync for Area {}

static AREAS: [Area; MOST] = [const { Area(UnsafeCell::new([0; AREA])) }; MOST];
/// How many run.
static COUNT: AtomicU32 = AtomicU32::new(1);
/// The processor that is being started, and the top of its stack.
#[unsafe(no_mangle)]
static PROCESSOR_STARTED: AtomicU32 = AtomicU32::new(0);
#[unsafe(no_mangle)]
static PROCESSOR_STACK: AtomicU64 = AtomicU64::new(0);
/// The top of each one's stack.
static STACKS: [AtomicU64; MOST] = [const { AtomicU64::new(0) }; MOST];
/// What the others do.
static IDLE: AtomicU64 = AtomicU64::new(0);

/// How many processors run.
pub fn count() -> usize {
    COUNT.load(Ordering::Relaxed) as usize
}

/// The one that a device's message goes to, where nobody says which: the messages go around.
pub fn of_message(message: usize) -> usize {
    message % count()
}

/// Whether there is more than one.
pub fn are_several() -> bool {
    count() > 1
}

/// The number of the processor that runs this, from 0 on.
#[cfg(not(test))]
pub fn number() -> usize {
    cpu::own32(NUMBER) as usize
}

/// On the host there is one.
#[cfg(test)]
pub fn number() -> usize {
    0
}

/// Gives the processor that runs this its area.
///
/// # Safety
/// Once for each processor, by itself, before anything asks for its number.
pub unsafe fn install(n: usize) {
    let area = AREAS[n].0.get().cast::<u8>();
    // SAFETY: the caller's contract; the places lie in the area and are aligned.
    unsafe {
        area.add(SELF).cast::<u64>().write(area as u64);
        area.add(OLD_NUMBER).write(n as u8);
        area.add(NUMBER).cast::<u32>().write(n as u32);
    }
    cpu::set_own_area(area as u64);
}

/// Whether the processor runs on the stack of its main path, and not on one of interrupts or of a driver.
pub fn is_on_main_stack() -> bool {
    let at = cpu::stack_pointer();
    let (top, size) = match number() {
        0 => (boot::STACK_TOP, boot::STACK_SIZE),
        n => (STACKS[n].load(Ordering::Relaxed), STACK),
    };
    (top - size..top).contains(&at)
}

/// Starts processors until there are `wanted`; each runs `idle` with interrupts off, at priority 0. How many
/// there are then: one that does not come, and those behind it, are not there.
pub fn start(wanted: usize, idle: fn() -> !) -> usize {
    IDLE.store(idle as *const () as u64, Ordering::Relaxed);
    boot::install_trampoline();
    for (n, top_of) in STACKS.iter().enumerate().take(wanted).skip(1) {
        let Some(stack) = mem::pages(STACK as usize) else {
            break;
        };
        if !idt::prepare(n) {
            break;
        }
        let top = stack + STACK;
        top_of.store(top, Ordering::Relaxed);
        PROCESSOR_STACK.store(top, Ordering::Relaxed);
        PROCESSOR_STARTED.store(n as u32, Ordering::SeqCst);
        apic::start_processor(n as u32, boot::TRAMPOLINE);
        if !super::time::poll(PATIENCE, || count() > n) {
            break;
        }
    }
    count()
}

/// Where a processor other than the first comes to Rust.
#[unsafe(no_mangle)]
extern "C" fn processor_main(n: usize) -> ! {
    // SAFETY: this is the way of processor `n`, once, and its tables were prepared.
    unsafe {
        install(n);
        idt::load(n);
    }
    apic::install_own();
    COUNT.store(n as u32 + 1, Ordering::SeqCst);
    // SAFETY: `start` stored a function of this type.
    let idle: fn() -> ! = unsafe { core::mem::transmute(IDLE.load(Ordering::Relaxed)) };
    idle()
}

/// A value of each processor's own.
pub struct Own<T>(UnsafeCell<[T; MOST]>);

// SAFETY: a processor reaches its own value alone, with interrupts off; see `with`.
unsafe impl<T> Sync for Own<T> {}

impl<T: Copy> Own<T> {
    /// The same value for each.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new([value; MOST]))
    }

    /// Reaches the value of the processor that runs this, with interrupts off. `act` must not reach it again.
    pub fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        cpu::without_interrupts(|| {
            let all = self.0.get().cast::<T>();
            // SAFETY: nobody else reaches this one, and with interrupts off nothing else runs here.
            act(unsafe { &mut *all.add(number()) })
        })
    }

    /// The value of the processor that runs this.
    pub fn get(&self) -> T {
        self.with(|value| *value)
    }
}
