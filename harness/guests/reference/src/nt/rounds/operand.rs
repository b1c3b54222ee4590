//! What an instruction reads, as far as waits need it: the address of its operand in memory, or a port.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, "Instruction Format" and the opcode maps.

use crate::hal::idt::Frame;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operand {
    /// Memory, or a register of a device.
    Memory(u64),
    /// A port.
    Port(u16),
}

/// The longest instruction, in bytes.
pub const LONGEST: usize = 15;

/// A register by its number in instructions.
fn register(frame: &Frame, number: u8) -> u64 {
    // rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, as they stand in the frame; r8 to r15 stand in front of them, from the last.
    const FIRST: [usize; 8] = [14, 12, 11, 13, 15, 8, 10, 9];
    match number {
        4 => frame.rsp,
        0..=7 => frame.general[FIRST[usize::from(number)]],
        _ => frame.general[usize::from(15 - number.min(15))],
    }
}

/// Bytes of the constant behind an operand that an instruction reads; `None` for one that reads none, or that is not
/// known.
fn constant(escaped: bool, opcode: u8, extension: u8, narrow: bool) -> Option<u64> {
    let wide = if narrow { 2 } else { 4 };
    let bytes = match (escaped, opcode) {
        (
            true,
            0x40..=0x4f | 0xa3 | 0xaf | 0xb0 | 0xb1 | 0xb6 | 0xb7 | 0xbe | 0xbf | 0xc0 | 0xc1,
        ) => 0,
        (true, 0xba) => 1,
        (false, 0x00..=0x3f) if opcode & 7 < 4 => 0,
        (false, 0x63 | 0x84..=0x87 | 0x8a | 0x8b) => 0,
        (false, 0x6b | 0x80 | 0x83) => 1,
        (false, 0x69 | 0x81) => wide,
        (false, 0xf6) if extension < 2 => 1,
        (false, 0xf7) if extension < 2 => wide,
        (false, 0xf6 | 0xf7) => 0,
        (false, 0xfe | 0xff) if extension < 2 => 0,
        (false, 0xff) if extension == 6 => 0,
        _ => return None,
    };
    Some(bytes)
}

/// What the instruction in `code` reads, which is where the frame says.
pub fn of(code: &[u8; LONGEST], frame: &Frame) -> Option<Operand> {
    let mut at = 0;
    let (mut narrow, mut rex) = (false, 0u8);
    loop {
        match code.get(at)? {
            0x66 => narrow = true,
            0xf0 | 0xf2 | 0xf3 | 0x2e | 0x36 | 0x3e | 0x26 => {}
            byte @ 0x40..=0x4f => {
                rex = *byte;
                at += 1;
                break;
            }
            _ => break,
        }
        at += 1;
    }
    let mut next = || {
        at += 1;
        code.get(at - 1).copied()
    };
    let mut opcode = next()?;
    let escaped = opcode == 0x0f;
    match opcode {
        0xe4 | 0xe5 => return Some(Operand::Port(next()?.into())),
        0xec | 0xed => return Some(Operand::Port(register(frame, 2) as u16)),
        0x0f => opcode = next()?,
        _ => {}
    }
    let modes = next()?;
    let (mode, extension, base) = (modes >> 6, modes >> 3 & 7, modes & 7);
    let behind = constant(escaped, opcode, extension, narrow)?;
    let above = |bit: u8| if rex & bit != 0 { 8 } else { 0 };
    let mut address = match (mode, base) {
        (3, _) => return None,
        (_, 4) => {
            let scale = next()?;
            let index = (scale >> 3 & 7) + above(2);
            let scaled = match index {
                4 => 0,
                index => register(frame, index) << (scale >> 6),
            };
            let base = scale & 7;
            if mode == 0 && base == 5 {
                scaled.wrapping_add(number(&mut next, 4)?)
            } else {
                register(frame, base + above(1)).wrapping_add(scaled)
            }
        }
        (0, 5) => {
            let distance = number(&mut next, 4)?;
            let end = frame.rip + at as u64 + behind;
            return Some(Operand::Memory(end.wrapping_add(distance)));
        }
        _ => register(frame, base + above(1)),
    };
    let bytes = match mode {
        1 => 1,
        2 => 4,
        _ => 0,
    };
    address = address.wrapping_add(number(&mut next, bytes)?);
    Some(Operand::Memory(address))
}

/// A number of so many bytes with its sign.
fn number(next: &mut impl FnMut() -> Option<u8>, bytes: u32) -> Option<u64> {
    let mut value = 0u64;
    for n in 0..bytes {
        value |= u64::from(next()?) << (8 * n);
    }
    Some(match bytes {
        1 => i64::from(value as u8 as i8) as u64,
        4 => i64::from(value as u32 as i32) as u64,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<Operand> {
        let mut code = [0x90; LONGEST];
        code[..bytes.len()].copy_from_slice(bytes);
        let mut general = [0; 15];
        for (n, value) in general.iter_mut().enumerate() {
            *value = 0x1000 * (n as u64 + 1);
        }
        let frame = Frame {
            general,
            vector: 0,
            error: 0,
            rip: 0x50_0000,
            cs: 0,
            rflags: 0,
            rsp: 0x70_0000,
            ss: 0,
        };
        of(&code, &frame)
    }

    #[test]
    fn the_address_of_what_is_read_is_the_sum_of_what_the_instruction_names() {
        let memory = |address| Some(Operand::Memory(address));
        // rax has 0xf000, rcx 0xd000, rdx 0xc000, rbx 0xe000, rbp 0x9000, r8 0x8000, r15 0x1000.
        assert_eq!(read(&[0x8a, 0x00]), memory(0xf000));
        assert_eq!(read(&[0x0f, 0xb6, 0x41, 0x14]), memory(0xd014));
        assert_eq!(read(&[0x66, 0x8b, 0x82, 0x12, 0, 0, 0]), memory(0xc012));
        assert_eq!(read(&[0x41, 0x8b, 0x40, 0xfc]), memory(0x7ffc));
        assert_eq!(read(&[0x43, 0x8b, 0x04, 0x87]), memory(0x1000 + 4 * 0x8000));
        assert_eq!(read(&[0x8b, 0x44, 0x24, 0x08]), memory(0x70_0008));
        assert_eq!(read(&[0x8b, 0x05, 0x10, 0, 0, 0]), memory(0x50_0016));
        assert_eq!(read(&[0x80, 0x3d, 0x10, 0, 0, 0, 1]), memory(0x50_0017));
        assert_eq!(read(&[0xf6, 0x43, 0x02, 0x01]), memory(0xe002));
        assert_eq!(read(&[0x8b, 0x04, 0x25, 0, 0, 0, 1]), memory(0x100_0000));
    }

    #[test]
    fn what_reads_no_memory_has_no_address_and_a_port_is_one() {
        for code in [
            &[0x8b, 0xc1][..],
            &[0x89, 0x01],
            &[0xc6, 0x01, 0],
            &[0xff, 0x11],
            &[0x48, 0x8d, 0x01],
        ] {
            assert_eq!(read(code), None, "{code:x?}");
        }
        assert_eq!(read(&[0xec]), Some(Operand::Port(0xc000)));
        assert_eq!(read(&[0xe4, 0x60]), Some(Operand::Port(0x60)));
    }
}
