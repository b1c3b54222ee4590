//! The bytes of the agent's port, as lines.

/// Both sides begin anew after this byte, which no JSON has.
pub(super) const BEGIN: u8 = 0xff;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Without its end. It is never empty.
    pub bytes: Vec<u8>,
    /// It stands directly after [`BEGIN`].
    pub begun: bool,
}

/// A line was longer than any may be, and is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Takes bytes, gives lines, which end with `\n` or `\r\n`. What stands before a [`BEGIN`] in its line is left out. Each byte is looked at
/// once, and no more is held than the longest line and what was pushed last.
#[derive(Debug)]
pub(super) struct Lines {
    longest: usize,
    held: Vec<u8>,
    /// Where the line begins that has not ended.
    from: usize,
    /// Up to here no end was found.
    seen: usize,
    begun: bool,
    /// The rest of this line is left out.
    skips: bool,
}

impl Lines {
    /// Lines of at most `longest` bytes.
    pub fn new(longest: usize) -> Self {
        Self {
            longest,
            held: Vec::new(),
            from: 0,
            seen: 0,
            begun: false,
            skips: false,
        }
    }

    /// The next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..self.from);
        self.seen -= self.from;
        self.from = 0;
        self.held.extend_from_slice(bytes);
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The next line that has ended. Empty ones are left out.
    pub fn take(&mut self) -> Option<Result<Line, TooLong>> {
        loop {
            let is_end = |byte: &u8| *byte == b'\n' || *byte == BEGIN;
            let Some(length) = self.held[self.seen..].iter().position(is_end) else {
                self.seen = self.held.len();
                if self.seen - self.from <= self.longest {
                    return None;
                }
                (self.held, self.from, self.seen) = (Vec::new(), 0, 0);
                if std::mem::replace(&mut self.skips, true) {
                    return None;
                }
                return Some(Err(TooLong));
            };
            let end = self.seen + length;
            let bytes = self.from..end;
            (self.from, self.seen) = (end + 1, end + 1);
            let skips = std::mem::take(&mut self.skips);
            let begun = std::mem::replace(&mut self.begun, self.held[end] == BEGIN);
            if self.begun || skips {
                continue;
            }
            if bytes.len() > self.longest {
                return Some(Err(TooLong));
            }
            let bytes = &self.held[bytes];
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes).to_vec();
            if bytes.is_empty() {
                continue;
            }
            return Some(Ok(Line { bytes, begun }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(lines: &mut Lines) -> Vec<Result<Line, TooLong>> {
        std::iter::from_fn(|| lines.take()).collect()
    }

    fn line(text: &str, begun: bool) -> Result<Line, TooLong> {
        let bytes = text.as_bytes().to_vec();
        Ok(Line { bytes, begun })
    }

    #[test]
    fn what_stands_before_the_mark_is_left_out_and_what_stands_after_it_is_told() {
        let mut lines = Lines::new(100);
        lines.push(b"one\n\r\nhalf \xff\xfftwo\r\nthree\n\xff\nfour");
        let expected = [line("one", false), line("two", true), line("three", false)];
        assert_eq!(all(&mut lines), expected);
        lines.push(b"!\n");
        assert_eq!(all(&mut lines), [line("four!", false)]);
    }

    #[test]
    fn a_line_that_does_not_end_is_told_once_and_not_kept() {
        let mut lines = Lines::new(1000);
        let mut told = Vec::new();
        for _ in 0..1000 {
            lines.push(&[b'x'; 64]);
            told.extend(all(&mut lines));
            assert!(lines.held() <= 1000 + 64);
        }
        lines.push(b"\nnext\n");
        told.extend(all(&mut lines));
        assert_eq!(told, [Err(TooLong), line("next", false)]);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_bytes_are_cut(
            bytes in prop::collection::vec(prop::sample::select(b"ab\n\xff".as_slice()), 0..200),
            cuts in prop::collection::vec(1_usize..9, 1..40),
        ) {
            let mut whole = Lines::new(6);
            let mut single = Lines::new(6);
            let mut cut = Lines::new(6);
            whole.push(&bytes);
            let expected = all(&mut whole);
            let mut got = Vec::new();
            let mut each = Vec::new();
            for byte in &bytes {
                single.push(&[*byte]);
                each.extend(all(&mut single));
            }
            let mut rest = bytes.as_slice();
            for cut_at in cuts.iter().cycle() {
                let (now, later) = rest.split_at(rest.len().min(*cut_at));
                cut.push(now);
                got.extend(all(&mut cut));
                prop_assert!(cut.held() <= 6 + 9);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            // A long line before a mark is nobody's: whether it was told depends on when it was seen.
            let lines = |all: &[Result<Line, TooLong>]| -> Vec<Line> {
                all.iter().filter_map(|one| one.clone().ok()).collect()
            };
            prop_assert_eq!(lines(&got), lines(&expected));
            prop_assert_eq!(lines(&each), lines(&expected));
        }
    }
}
