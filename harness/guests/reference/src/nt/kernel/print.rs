//! The formats of `DbgPrint`, as far as integers, characters and strings go.

use alloc::string::String;
use core::fmt::Write as _;

/// Longest string that is followed.
const LONGEST: usize = 512;

/// The text of a format with its arguments.
///
/// # Safety
/// `format` and what its `%s` stand for are strings that end.
pub unsafe fn format(format: u64, arguments: &[u64]) -> String {
    // SAFETY: the caller's contract.
    let format = unsafe { text(format) };
    // SAFETY: the same.
    expand(&format, arguments, |at| unsafe { text(at) })
}

/// # Safety
/// `at` is 0 or a string that ends.
unsafe fn text(at: u64) -> String {
    let mut text = String::new();
    if at == 0 {
        return "(null)".into();
    }
    for n in 0..LONGEST {
        // SAFETY: the caller's contract.
        let byte = unsafe { (at as *const u8).add(n).read() };
        if byte == 0 {
            break;
        }
        text.push(if byte.is_ascii() {
            char::from(byte)
        } else {
            '?'
        });
    }
    text
}

fn expand(format: &str, arguments: &[u64], text: impl Fn(u64) -> String) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter().copied();
    let mut rest = format.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut zero = false;
        let mut width = 0;
        let mut wide = false;
        loop {
            let Some(c) = rest.next() else { return out };
            match c {
                '%' => out.push('%'),
                '0' if width == 0 => {
                    zero = true;
                    continue;
                }
                '0'..='9' => {
                    width = (width * 10 + c as usize - '0' as usize).min(64);
                    continue;
                }
                '-' | '#' | '+' | '.' | 'h' => continue,
                // %I64x and %llx are wide, %lx is not; %z and %p are.
                'I' => {
                    wide = true;
                    while rest.next_if(char::is_ascii_digit).is_some() {}
                    continue;
                }
                'z' => {
                    wide = true;
                    continue;
                }
                'l' => {
                    wide = rest.peek() == Some(&'l') || wide;
                    continue;
                }
                _ => {
                    let value = arguments.next().unwrap_or(0);
                    let short = if wide || c == 'p' {
                        value
                    } else {
                        value & 0xffff_ffff
                    };
                    let signed = if wide {
                        value as i64
                    } else {
                        i64::from(value as i32)
                    };
                    let piece = match c {
                        'd' | 'i' => alloc::format!("{signed}"),
                        'u' => alloc::format!("{short}"),
                        'x' => alloc::format!("{short:x}"),
                        'X' => alloc::format!("{short:X}"),
                        'p' => alloc::format!("{short:016X}"),
                        'c' => String::from(char::from(value as u8)),
                        's' => text(value),
                        other => alloc::format!("%{other}"),
                    };
                    let fill = if zero { '0' } else { ' ' };
                    for _ in piece.len()..width {
                        out.push(fill);
                    }
                    let _ = out.write_str(&piece);
                }
            }
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_strings_and_widths_are_printed() {
        let text = |_| String::from("text");
        let shown = |format: &str, arguments: &[u64]| expand(format, arguments, text);
        assert_eq!(shown("%d of %u%%", &[u64::MAX, 7]), "-1 of 7%");
        assert_eq!(shown("%08x|%4d|%s", &[0xab, 5, 1]), "000000ab|   5|text");
        assert_eq!(
            shown("%lx %llx %I64x", &[u64::MAX, 1 << 32, 1 << 40]),
            "ffffffff 100000000 10000000000"
        );
        assert_eq!(shown("%", &[]), "");
    }
}
