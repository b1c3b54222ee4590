//! Lines out of the pieces in which a target prints: each processor has its own.

use std::collections::BTreeMap;

/// The most bytes of a line; a longer one is cut.
const MAX_LINE: usize = 16 * 1024;
/// The most processors whose lines are kept apart.
const MAX_CPUS: usize = 2048;

/// Lines that are not whole yet.
#[derive(Debug, Default)]
pub struct Lines {
    open: BTreeMap<u16, Vec<u8>>,
}

impl Lines {
    /// Takes a piece of text; gives the lines that it ends.
    pub fn push(&mut self, cpu: u16, text: &[u8]) -> Vec<(u16, String)> {
        let mut lines = Vec::new();
        if !self.open.contains_key(&cpu) && self.open.len() >= MAX_CPUS {
            lines.extend(self.flush());
        }
        let open = self.open.entry(cpu).or_default();
        for byte in text {
            match byte {
                b'\n' => lines.push((cpu, line(open))),
                0 => {}
                _ => {
                    if open.len() >= MAX_LINE {
                        lines.push((cpu, line(open)));
                    }
                    open.push(*byte);
                }
            }
        }
        lines
    }

    /// What has not ended: nothing more will come.
    pub fn flush(&mut self) -> Vec<(u16, String)> {
        let open = std::mem::take(&mut self.open);
        let rest = open.into_iter().filter(|(_, bytes)| !bytes.is_empty());
        rest.map(|(cpu, mut bytes)| (cpu, line(&mut bytes)))
            .collect()
    }
}

fn line(bytes: &mut Vec<u8>) -> String {
    let text = String::from_utf8_lossy(bytes)
        .trim_end_matches('\r')
        .to_owned();
    bytes.clear();
    text
}
