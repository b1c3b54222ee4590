//! Traces as JSON lines.

use std::io::{self, BufRead, Write};

use super::Event;

/// A trace can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadTraceError {
    /// The file can't be read.
    #[error("the trace can't be read")]
    Io(#[from] io::Error),
    /// A line is not an event.
    #[error("line {line} is not an event of a trace")]
    Line {
        /// Line number, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Writes one event and the line end.
///
/// # Errors
/// Those of `out`.
pub fn write_jsonl(out: &mut impl Write, event: &Event) -> io::Result<()> {
    serde_json::to_writer(&mut *out, event)?;
    out.write_all(b"\n")
}

/// Reads a whole trace; empty lines are passed over.
///
/// # Errors
/// The first line that is not an event, by number.
pub fn read_jsonl(input: impl BufRead) -> Result<Vec<Event>, ReadTraceError> {
    let mut events = Vec::new();
    for (index, line) in input.lines().enumerate() {
        let line = line?;
        if !line.trim().is_empty() {
            events.push(
                serde_json::from_str(&line).map_err(|source| ReadTraceError::Line {
                    line: index + 1,
                    source,
                })?,
            );
        }
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::super::{Access, Effect, Hello, Input, Op, Part, Space, Step, What};
    use super::*;
    use crate::shape::{Kind, Shape};
    use crate::spec::{CommonCfg, Field};

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        let event = Event {
            seq: 7,
            time: 1_250,
            what: What::Step(Step {
                dev: 0,
                part: Part::Function,
                input: Input::Access(Access {
                    op: Op::Read,
                    space: Space::Bar0,
                    off: 0x14,
                    width: 1,
                    val: None,
                    field: Some(Field::Common(CommonCfg::DeviceStatus)),
                    q: None,
                    window: false,
                }),
                heard: None,
                shown: [Effect::Value(0xf)].into_iter().collect(),
                meant: None,
            }),
        };
        let mut line = Vec::new();
        write_jsonl(&mut line, &event).unwrap();
        assert_eq!(
            String::from_utf8(line.clone()).unwrap().trim_end(),
            r#"{"seq":7,"t":1250,"ev":"step","dev":0,"in":{"access":{"op":"rd","space":"bar0","off":20,"width":1,"field":"cc.device_status"}},"out":[{"value":15}]}"#
        );
        assert_eq!(read_jsonl(line.as_slice()).unwrap(), [event]);
    }

    #[test]
    fn a_device_is_introduced_with_all_its_features() {
        let event = Event {
            seq: 1,
            time: 0,
            what: What::Hello(Box::new(Hello {
                dev: 0,
                shape: Shape::new(Kind::Block),
                features: 1 << 127 | 1 << 32,
            })),
        };
        let mut line = Vec::new();
        write_jsonl(&mut line, &event).unwrap();
        assert_eq!(read_jsonl(line.as_slice()).unwrap(), [event]);
    }

    #[test]
    fn a_damaged_line_is_named() {
        let error = read_jsonl("\n{\"seq\":1\n".as_bytes()).unwrap_err();
        assert!(
            matches!(error, ReadTraceError::Line { line: 2, .. }),
            "{error:?}"
        );
    }
}
