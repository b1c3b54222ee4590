//! An MSI-X table out of the human monitor's dump of memory.

use misfire_device::trace::TableEntry;

/// Words of four bytes in an entry (PCI 3.0, 6.8.2).
pub const ENTRY_WORDS: usize = 4;

/// A dump that is no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// A line that is not `ADDRESS: WORD …`.
    #[error("QEMU printed `{0}` where words of memory were expected")]
    Line(String),
    /// Words are missing.
    #[error("QEMU printed {got} words of {wanted}")]
    Short {
        /// Words that were there.
        got: usize,
        /// Words that were asked for.
        wanted: usize,
    },
}

/// Reads `entries` entries from what `xp /Nxw ADDRESS` prints.
///
/// # Errors
/// When a line is not a line of such a dump, or words are missing.
pub fn parse_table(dump: &str, entries: usize) -> Result<Vec<TableEntry>, BadTable> {
    let wanted = entries * ENTRY_WORDS;
    let mut words = Vec::with_capacity(wanted);
    for line in dump.lines().filter(|line| !line.trim().is_empty()) {
        let bad = || BadTable::Line(line.to_owned());
        let (_, dumped) = line.split_once(": ").ok_or_else(bad)?;
        for word in dumped.split_ascii_whitespace() {
            let digits = word.strip_prefix("0x").ok_or_else(bad)?;
            words.push(u32::from_str_radix(digits, 16).map_err(|_| bad())?);
        }
    }
    if words.len() < wanted {
        return Err(BadTable::Short {
            got: words.len(),
            wanted,
        });
    }
    let entry = |w: &[u32]| TableEntry {
        addr: u64::from(w[1]) << 32 | u64::from(w[0]),
        data: w[2],
        ctrl: w[3],
    };
    Ok(words[..wanted]
        .chunks_exact(ENTRY_WORDS)
        .map(entry)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "\
00000000febf0000: 0xfee01004 0x00000000 0x00000026 0x00000000\r
00000000febf0010: 0xfee00000 0x00000001 0x00000063 0x00000001\r
";

    #[test]
    fn a_dump_is_read_entry_by_entry() {
        assert_eq!(
            parse_table(DUMP, 2).unwrap(),
            [
                TableEntry {
                    addr: 0xfee0_1004,
                    data: 0x26,
                    ctrl: 0
                },
                TableEntry {
                    addr: 0x1_fee0_0000,
                    data: 0x63,
                    ctrl: 1
                },
            ]
        );
    }

    #[test]
    fn a_dump_that_ends_early_is_refused() {
        assert_eq!(
            parse_table(DUMP, 3),
            Err(BadTable::Short { got: 8, wanted: 12 })
        );
    }

    #[test]
    fn an_error_of_the_monitor_is_shown_as_it_is() {
        for text in ["Cannot access memory", "unknown command: 'xp'", "0: 12"] {
            assert_eq!(
                parse_table(text, 1),
                Err(BadTable::Line(text.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn no_entries_need_no_words() {
        assert_eq!(parse_table("", 0), Ok(vec![]));
    }
}
