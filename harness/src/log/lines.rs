//! A stream of bytes, split into lines.

/// The longest line in bytes; a longer one is cut into pieces of this length.
pub const MAX_LINE: usize = 4096;

/// Splits what comes in pieces into lines, losing nothing but the line ends.
///
/// `\n` and `\r\n` end a line. Bytes that are not UTF-8 become U+FFFD; control characters other than
/// the tab are kept as Unicode's pictures of them, so that a line is safe to show in a terminal.
#[derive(Debug, Default)]
pub struct LineSplitter {
    line: Vec<u8>,
}

impl LineSplitter {
    /// A splitter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands each line that they complete to `out`.
    pub fn push(&mut self, mut bytes: &[u8], mut out: impl FnMut(String)) {
        while let Some(first) = bytes.first() {
            if self.line.len() == MAX_LINE && *first != b'\n' {
                out(self.take());
            }
            let window = &bytes[..bytes.len().min(MAX_LINE - self.line.len() + 1)];
            if let Some(end) = window.iter().position(|b| *b == b'\n') {
                self.line.extend_from_slice(&bytes[..end]);
                bytes = &bytes[end + 1..];
                out(self.take());
            } else {
                let (now, later) = bytes.split_at(bytes.len().min(MAX_LINE - self.line.len()));
                self.line.extend_from_slice(now);
                bytes = later;
            }
        }
    }

    /// What came after the last line end, if anything did.
    pub fn finish(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        let bytes = std::mem::take(&mut self.line);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(&bytes);
        harmless(&String::from_utf8_lossy(bytes))
    }
}

/// The same text with control characters other than the tab as Unicode's pictures of them, so that it is
/// safe to show in a terminal.
pub fn harmless(text: &str) -> String {
    text.chars().map(printable).collect()
}

fn printable(c: char) -> char {
    match c {
        '\t' => c,
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(c),
        '\x7f' => '\u{2421}',
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(pieces: &[&[u8]]) -> Vec<String> {
        let mut splitter = LineSplitter::new();
        let mut lines = Vec::new();
        for piece in pieces {
            splitter.push(piece, |line| lines.push(line));
        }
        lines.extend(splitter.finish());
        lines
    }

    #[test]
    fn lines_are_whole_however_their_bytes_arrive() {
        assert_eq!(
            split(&[b"MIS", b"FIRE: re", b"ady\nVIRTIO: ", b"", b"status 0x0f\n"]),
            ["MISFIRE: ready", "VIRTIO: status 0x0f"]
        );
    }

    #[test]
    fn both_line_ends_are_dropped_and_an_empty_line_stays() {
        assert_eq!(split(&[b"a\r", b"\n\nb\n"]), ["a", "", "b"]);
    }

    #[test]
    fn what_follows_the_last_line_end_is_not_lost() {
        assert_eq!(split(&[b"a\n*** STOP"]), ["a", "*** STOP"]);
    }

    #[test]
    fn bytes_that_are_no_text_and_terminal_controls_are_made_harmless() {
        assert_eq!(
            split(&[b"\xffa\x1b[2Jb\tc\n"]),
            ["\u{fffd}a\u{241b}[2Jb\tc"]
        );
    }

    #[test]
    fn a_character_cut_in_two_by_the_arrival_is_whole() {
        assert_eq!(split(&[b"\xc3", b"\xa4\n"]), ["ä"]);
    }

    #[test]
    fn an_endless_line_is_cut_and_nothing_of_it_is_lost() {
        let long = vec![b'x'; 2 * MAX_LINE + 10];
        let lines = split(&[&long, b"\ny\n"]);
        assert_eq!(
            lines.iter().map(String::len).collect::<Vec<_>>(),
            [MAX_LINE, MAX_LINE, 10, 1]
        );
        let exact = vec![b'x'; MAX_LINE];
        assert_eq!(split(&[&exact, b"\ny\n"]).len(), 2);
        assert_eq!(split(&[&exact, b"y\n"]).len(), 2);
    }

    proptest! {
        #[test]
        fn the_arrival_of_the_bytes_does_not_matter(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.sort_unstable();
            cuts.push(text.len());
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&text[from..cut]);
                from = cut;
            }
            prop_assert_eq!(split(&pieces), split(&[&text]));
        }
    }
}
