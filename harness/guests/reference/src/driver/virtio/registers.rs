//! Where the registers of a structure are: in memory, in ports, or behind the configuration access
//! window.

use super::spec::cap;
use crate::hal::cpu;
use crate::hal::mmio::Mmio;
use crate::hal::pci::Function;

/// The registers of one structure.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    place: Place,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Memory of a BAR.
    Memory(Mmio),
    /// Ports from this one on.
    Ports(u16),
    /// The window at this offset of configuration space, turned to this place of a BAR (4.1.4.9).
    Window {
        function: Function,
        window: u16,
        bar: u8,
        base: u32,
    },
}

/// A field of 8, 16 or 32 bits.
pub trait Word: Copy {
    /// Its width in bytes.
    const BYTES: u32;
    /// From the low bits.
    fn of(bits: u32) -> Self;
    /// As low bits.
    fn bits(self) -> u32;
}

macro_rules! words {
    ($($word:ty)*) => {$(
        impl Word for $word {
            const BYTES: u32 = size_of::<$word>() as u32;
            fn of(bits: u32) -> Self {
                bits as Self
            }
            fn bits(self) -> u32 {
                u32::from(self)
            }
        }
    )*};
}
words!(u8 u16 u32);

impl Registers {
    /// In memory.
    pub fn memory(memory: Mmio) -> Self {
        Self {
            place: Place::Memory(memory),
            length: memory.length(),
        }
    }

    /// In `length` ports from `base` on.
    pub fn ports(base: u16, length: usize) -> Self {
        Self {
            place: Place::Ports(base),
            length,
        }
    }

    /// Behind the window at `window`: `length` bytes of a BAR from `base` on.
    pub fn window(function: Function, window: u16, bar: u8, base: u32, length: usize) -> Self {
        Self {
            place: Place::Window {
                function,
                window,
                bar,
                base,
            },
            length,
        }
    }

    /// Where they are in memory, if they are there.
    pub fn in_memory(self) -> Option<Mmio> {
        match self.place {
            Place::Memory(memory) => Some(memory),
            Place::Ports(_) | Place::Window { .. } => None,
        }
    }

    /// Bytes of the structure.
    pub fn length(self) -> usize {
        self.length
    }

    /// The part from `offset` on, cut to `length` bytes; `None` when it is not inside.
    pub fn part(self, offset: usize, length: usize) -> Option<Self> {
        let rest = self.length.checked_sub(offset)?;
        let length = length.min(rest);
        let place = match self.place {
            Place::Memory(memory) => Place::Memory(memory.part(offset, length)?),
            Place::Ports(base) => Place::Ports(base.checked_add(offset as u16)?),
            Place::Window {
                function,
                window,
                bar,
                base,
            } => Place::Window {
                function,
                window,
                bar,
                base: base.checked_add(offset as u32)?,
            },
        };
        Some(Self { place, length })
    }

    /// Reads one field; `offset` in bytes.
    pub fn read<T: Word>(self, offset: usize) -> T {
        match self.place {
            Place::Memory(memory) => memory.read(offset),
            Place::Ports(base) => {
                let port = self.port::<T>(base, offset);
                T::of(match T::BYTES {
                    1 => cpu::in8(port).into(),
                    2 => cpu::in16(port).into(),
                    _ => cpu::in32(port),
                })
            }
            Place::Window { .. } => {
                T::of(
                    self.turned::<T, _>(offset, |function, data| match T::BYTES {
                        1 => function.read8(data).into(),
                        2 => function.read16(data).into(),
                        _ => function.read32(data),
                    }),
                )
            }
        }
    }

    /// Writes one field; `offset` in bytes.
    pub fn write<T: Word>(self, offset: usize, value: T) {
        match self.place {
            Place::Memory(memory) => memory.write(offset, value),
            Place::Ports(base) => {
                let port = self.port::<T>(base, offset);
                match T::BYTES {
                    1 => cpu::out8(port, value.bits() as u8),
                    2 => cpu::out16(port, value.bits() as u16),
                    _ => cpu::out32(port, value.bits()),
                }
            }
            Place::Window { .. } => self.turned::<T, _>(offset, |function, data| match T::BYTES {
                1 => function.write8(data, value.bits() as u8),
                2 => function.write16(data, value.bits() as u16),
                _ => function.write32(data, value.bits()),
            }),
        }
    }

    fn check<T: Word>(self, offset: usize) {
        assert!(
            offset + T::BYTES as usize <= self.length,
            "access at {offset:#x} of a structure of {:#x} bytes",
            self.length
        );
    }

    /// The port of a field.
    fn port<T: Word>(self, base: u16, offset: usize) -> u16 {
        self.check::<T>(offset);
        base + offset as u16
    }

    /// Turns the window to a field and does something with its data. No interrupt may turn it away.
    fn turned<T: Word, R>(self, offset: usize, act: impl FnOnce(Function, u16) -> R) -> R {
        let Place::Window {
            function,
            window,
            bar,
            base,
        } = self.place
        else {
            unreachable!("only a window is turned");
        };
        self.check::<T>(offset);
        cpu::without_interrupts(|| {
            function.write8(window + cap::BAR, bar);
            function.write32(window + cap::SIZE, T::BYTES);
            function.write32(window + cap::OFFSET, base + offset as u32);
            act(function, window + cap::WINDOW_DATA)
        })
    }
}
