//! From the text of `on` to a trigger.

use super::{On, Source, Trigger};
use crate::endpoint::Nanos;
use crate::fault::error::{FaultError, nearest};
use crate::fault::predicate::Pattern;
use crate::fault::schedule::duration;
use crate::spec::Status;
use crate::trace::Cause;

const FORMS: &str = "expected a register access such as `cc.queue_msix_vector.wr`, `isr.rd`, `dev.0.rd` or `ntf`; \
    `status.+<BIT>`, `status.=0`, `reset.begin`, `reset.end`, `live`, `flr`, `bme.0`, `d3`, `d0`, `unplug`; \
    `irq.due[<src>]`, `irq.sent[<src>]`, `irq.unserved[<src>]`, `avail[<q>]`, `chain[<q>]`, `complete[<q>]`; \
    `at=<time>`, `every=<time>`, `host:<name>` or `fault:<id>`";

/// How long an event may go unserved when nothing is said.
const USUAL_WAIT: Nanos = 2_000_000_000;

const WORDS: [&str; 16] = [
    "status.=0",
    "reset.begin",
    "reset.end",
    "live",
    "flr",
    "bme.0",
    "d3",
    "d0",
    "unplug",
    "irq.due[any]",
    "irq.sent[any]",
    "irq.unserved[any]",
    "avail[any]",
    "chain[any]",
    "complete[any]",
    "ntf",
];

impl Trigger {
    /// Reads `on`.
    ///
    /// # Errors
    /// The nearest form, and which forms there are.
    pub(in crate::fault) fn parse(text: &str) -> Result<Self, FaultError> {
        let text = text.trim();
        if let Some((occasion, delay)) = text.rsplit_once('+')
            && delay.starts_with(|c: char| c.is_ascii_digit())
            && let Some(delay) = duration(delay)
        {
            let on = On::parse(occasion)?;
            if !on.may_wait() {
                return Err(FaultError::new(format!(
                    "`{occasion}` can't be waited upon with a delay"
                ))
                .help("a delay can follow `live`, `reset.begin`, `reset.end`, `flr`, `bme.0`, `d3`, `d0`, `unplug`, `status.…`, `chain[…]`, `complete[…]`, `host:…` and `fault:…`".to_owned()));
            }
            return Ok(Self { on, delay });
        }
        On::parse(text).map(|on| Self { on, delay: 0 })
    }
}

impl On {
    fn parse(text: &str) -> Result<Self, FaultError> {
        let (body, after) = match text.strip_suffix('!') {
            Some(body) => (body, true),
            None => (text, false),
        };
        let unknown = || {
            FaultError::new(format!("`{text}` is not a trigger: {FORMS}"))
                .help(nearest(text, WORDS))
        };
        let time = |value: &str| {
            duration(value.trim_matches(['"', ' '])).ok_or_else(|| {
                FaultError::new(format!(
                    "`{text}`: expected a time with its unit, such as 2s or 10ms"
                ))
            })
        };
        let on = match body {
            "status.=0" => return Ok(Self::StatusZero { after }),
            "reset.begin" => Self::ResetBegin,
            "reset.end" => Self::ResetEnd,
            "live" => Self::Live,
            "flr" => Self::FunctionReset,
            "bme.0" => Self::BusMasterOff,
            "d3" => Self::Sleeps,
            "d0" => Self::Wakes,
            "unplug" => Self::Unplugged,
            _ => {
                if let Some(name) = body.strip_prefix("status.+") {
                    let bit = Status::bit_named(name)
                        .filter(|bit| *bit != Status::NEEDS_RESET)
                        .ok_or_else(|| {
                            let known = ["ACK", "DRIVER", "FEATURES_OK", "DRIVER_OK", "FAILED"];
                            FaultError::new(format!(
                                "`{name}` is not a bit that a driver adds: expected {}",
                                known.join(", ")
                            ))
                            .help(nearest(name, known))
                        })?;
                    return Ok(Self::StatusAdds { bit, after });
                }
                if let Some(value) = body.strip_prefix("at=") {
                    Self::At(time(value)?)
                } else if let Some(value) = body.strip_prefix("every=") {
                    match time(value)? {
                        0 => {
                            return Err(FaultError::new(format!(
                                "`{text}`: expected a time above 0"
                            )));
                        }
                        period => Self::Every(period),
                    }
                } else if let Some(name) = body.strip_prefix("host:") {
                    Self::Host(word(name).ok_or_else(unknown)?)
                } else if let Some(id) = body.strip_prefix("fault:") {
                    Self::Fault(word(id).ok_or_else(unknown)?)
                } else if let Some((source, wait)) = body
                    .strip_prefix("irq.unserved[")
                    .and_then(|rest| rest.split_once("]="))
                {
                    Self::IrqUnserved {
                        source: Source::parse(source)?,
                        time: time(wait)?,
                    }
                } else if let Some((object, source)) = bracketed(body) {
                    match object {
                        "irq.due" => Self::IrqDue(Source::parse(source)?),
                        "irq.sent" => Self::IrqSent(Source::parse(source)?),
                        "irq.unserved" => Self::IrqUnserved {
                            source: Source::parse(source)?,
                            time: USUAL_WAIT,
                        },
                        "avail" => Self::Avail(queue(source)?),
                        "chain" => Self::Chain(queue(source)?),
                        "complete" => Self::Complete(queue(source)?),
                        _ => return Err(unknown()),
                    }
                } else {
                    let is_access = body == "ntf" || body.ends_with(".rd") || body.ends_with(".wr");
                    if !is_access {
                        return Err(unknown());
                    }
                    let pattern = Pattern::parse(body)?;
                    return Ok(Self::Access { pattern, after });
                }
            }
        };
        if after {
            return Err(FaultError::new(format!(
                "`{text}`: `!` (after) is for register accesses and status writes"
            )));
        }
        Ok(on)
    }
}

impl Source {
    /// Reads what stands in the brackets of `irq.due[…]`.
    ///
    /// # Errors
    /// The forms that there are.
    pub(in crate::fault) fn parse(text: &str) -> Result<Self, FaultError> {
        if text == "any" {
            return Ok(Self::Any);
        }
        if let Some(entry) = text.strip_prefix('e').and_then(|n| n.parse().ok()) {
            return Ok(Self::Entry(entry));
        }
        match text.parse::<Cause>() {
            Ok(cause) if cause != Cause::None => Ok(Self::Event(cause)),
            _ => Err(FaultError::new(format!(
                "`{text}` is not a source of interrupts: expected q<n>, cfg, port<n>, e<n> or any"
            ))),
        }
    }
}

fn word(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn bracketed(text: &str) -> Option<(&str, &str)> {
    text.strip_suffix(']')?.split_once('[')
}

fn queue(text: &str) -> Result<Option<u16>, FaultError> {
    if text == "any" {
        return Ok(None);
    }
    text.strip_prefix('q')
        .unwrap_or(text)
        .parse()
        .map(Some)
        .map_err(|_| FaultError::new(format!("`{text}` is not a queue: expected q<n> or any")))
}
