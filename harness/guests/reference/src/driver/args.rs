//! A command line of the console: words, then `key=value`.

use alloc::vec::Vec;
use core::ops::Range;

/// A command.
#[derive(Debug, Default)]
pub struct Args<'a> {
    words: Vec<&'a str>,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Args<'a> {
    /// Splits a line.
    pub fn parse(line: &'a str) -> Self {
        let mut args = Self::default();
        for part in line.split_ascii_whitespace() {
            match part.split_once('=') {
                Some(pair) => args.pairs.push(pair),
                None => args.words.push(part),
            }
        }
        args
    }

    /// The `n`th word; empty when there are fewer.
    pub fn word(&self, n: usize) -> &'a str {
        self.words.get(n).copied().unwrap_or("")
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.pairs.iter().find(|p| p.0 == key).map(|p| p.1)
    }

    /// A number: decimal, with `k`, `m` or `g` for powers of 1024.
    ///
    /// # Errors
    /// `usage` when the value is no number.
    pub fn number(&self, key: &str, default: u64) -> Result<u64, &'static str> {
        self.get(key)
            .map_or(Ok(default), |value| number(value).ok_or("usage"))
    }

    /// Which of `used` queues `queues=` names: one, or with `all` or without the key all of them.
    ///
    /// # Errors
    /// `usage` when it is neither.
    pub fn queues(&self, used: usize) -> Result<Range<usize>, &'static str> {
        match self.get("queues") {
            None | Some("all") => Ok(0..used),
            Some(n) => match n.parse::<usize>() {
                Ok(n) if n < used => Ok(n..n + 1),
                _ => Err("usage"),
            },
        }
    }

    /// Whether there is no key but these.
    pub fn only(&self, keys: &[&str]) -> bool {
        self.pairs.iter().all(|(key, _)| keys.contains(key))
    }
}

/// Reads a number as `Args::number` does.
pub fn number(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_words_and_pairs() {
        let args = Args::parse("load read dev=1 size=4k");
        assert_eq!(
            (args.word(0), args.word(1), args.word(2)),
            ("load", "read", "")
        );
        assert_eq!(args.number("size", 512), Ok(4096));
        assert_eq!(args.number("blocks", 7), Ok(7));
        assert!(args.only(&["dev", "size"]) && !args.only(&["dev"]));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "k", "-1", "1x", "18446744073709551615g"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
