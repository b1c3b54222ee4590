//! Words and numbers in lines.

/// What follows `mark` in a line, without blanks around it.
pub(in crate::log) fn after<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.find(mark).map(|at| line[at + mark.len()..].trim())
}

/// A number in decimal, or in hexadecimal after `0x`.
pub(in crate::log) fn number(word: &str) -> Option<u32> {
    match word.strip_prefix("0x").or(word.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

/// The word after `key=`.
pub(in crate::log) fn text<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// The number after `key=`.
pub(in crate::log) fn keyed(line: &str, key: &str) -> Option<u32> {
    number(text(line, key)?)
}

/// The number between `open` and the next closing parenthesis.
pub(in crate::log) fn between(line: &str, open: &str) -> Option<u32> {
    number(line.split_once(open)?.1.split_once(')')?.0)
}
