//! The table of all misbehaviours: what each verb can do to each object, and what became of it.
//!
//! Every cell that means something is here. What it names is a verb of the [`CATALOGUE`], or it is
//! in [`OTHERWISE`] or in [`IMPOSSIBLE`] with the reason.

use super::CATALOGUE;

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What is done.
    pub verb: &'static str,
    /// What it is done to.
    pub object: &'static str,
    /// The faults that do it, by name.
    pub faults: &'static [&'static str],
}

/// A name of the table that is no verb of the catalogue, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apart {
    /// Its name in the table.
    pub name: &'static str,
    /// What there is in its place, or why there can't be anything.
    pub why: &'static str,
}

/// What became of a name of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is a verb of the catalogue.
    Built,
    /// It is done by something other than a `[[fault]]`, which is named.
    Otherwise(&'static str),
    /// It can't be done, for this reason.
    Impossible(&'static str),
    /// It is not there yet.
    Missing,
}

const fn cell(verb: &'static str, object: &'static str, faults: &'static [&'static str]) -> Cell {
    Cell {
        verb,
        object,
        faults,
    }
}

/// Every cell that means something, by verb.
pub static TABLE: &[Cell] = &[
    cell("override", "register", &["reg.override"]),
    cell("override", "vector", &["vector.lie"]),
    cell("override", "status", &["status.override"]),
    cell("override", "config", &["gen.freeze"]),
    cell("override", "line", &["isr.override"]),
    cell("override", "table", &["msix.lie"]),
    cell("override", "ring", &["used.id", "used.len", "used.flags"]),
    cell("override", "device", &["allones"]),
    cell("refuse", "register", &["reg.ignore_write"]),
    cell("refuse", "vector", &["vector.reject"]),
    cell("refuse", "status", &["status.refuse"]),
    cell("refuse", "table", &["msix.ignore_edit"]),
    cell("drop", "vector", &["vector.clear"]),
    cell("drop", "config", &["cfg.change"]),
    cell("drop", "message", &["irq.drop"]),
    cell("drop", "line", &["intx.drop"]),
    cell("drop", "table", &["msix.pend_lose"]),
    cell("drop", "ring", &["used.skip"]),
    cell("delay", "status", &["reset.slow", "qreset.slow"]),
    cell("delay", "message", &["irq.delay"]),
    cell("delay", "ring", &["queue.stall"]),
    cell("hang", "status", &["reset.hang", "qreset.hang"]),
    cell("hang", "config", &["gen.churn"]),
    cell("hang", "line", &["intx.stuck"]),
    cell("hang", "ring", &["queue.stall"]),
    cell("dup", "message", &["irq.dup"]),
    cell("dup", "ring", &["used.dup"]),
    cell("redirect", "message", &["irq.misroute"]),
    cell("redirect", "line", &["irq.as_intx"]),
    cell("redirect", "table", &["msix.stale_route"]),
    cell("redirect", "ring", &["used.reorder"]),
    cell("inject", "status", &["needs_reset"]),
    cell("inject", "config", &["cfg.change"]),
    cell(
        "inject",
        "message",
        &["irq.spurious", "irq.coalesce", "irq.simul", "irq.early"],
    ),
    cell("inject", "line", &["isr.stale", "isr.add", "intx.peer"]),
    cell("inject", "table", &["msix.send_masked"]),
    cell(
        "inject",
        "ring",
        &["used.jump", "late.completion", "avail_event.lie"],
    ),
    cell("inject", "device", &["decoy.caps", "decoy.features"]),
    cell("lose", "register", &["reg.default"]),
    cell("lose", "status", &["reset.partial"]),
    cell("lose", "line", &["isr.msix"]),
    cell("lose", "table", &["msix_table.clear"]),
    cell("lose", "ring", &["ring.keep"]),
    cell("lose", "device", &["d3.lose_state"]),
    cell(
        "remove",
        "device",
        &["unplug.surprise", "unplug.orderly", "replug", "flr"],
    ),
];

/// What is done by a key of the device or by a command of the host, and not by a `[[fault]]`.
pub static OTHERWISE: &[Apart] = &[Apart {
    name: "decoy.caps",
    why: "the keys `caps` and `vendor-cap` of `[device]`: the capabilities of a function are there from its start on, and the VMM reads the list of them once, before any guest does",
}];

/// What can't be done, with the reason.
pub static IMPOSSIBLE: &[Apart] = &[
    Apart {
        name: "irq.as_intx",
        why: "while MSI-X is on the VMM has taken the line's eventfd back, so that a line that the device asserts reaches nobody: to the driver the interrupt is lost, which is `irq.drop`",
    },
    Apart {
        name: "msix.send_masked",
        why: "the VMM keeps the table and the masks: what the device signals for a masked entry, or under Function Mask, the VMM holds back as pending; nothing else lets the device choose an address and data (a message that comes as another entry's is `irq.misroute`)",
    },
];

/// What became of a name of the [`TABLE`].
pub fn standing(name: &str) -> Standing {
    let apart = |list: &[Apart]| list.iter().find(|a| a.name == name).map(|a| a.why);
    if CATALOGUE.iter().any(|verb| verb.name == name) {
        Standing::Built
    } else if let Some(why) = apart(OTHERWISE) {
        Standing::Otherwise(why)
    } else if let Some(why) = apart(IMPOSSIBLE) {
        Standing::Impossible(why)
    } else {
        Standing::Missing
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names() -> BTreeSet<&'static str> {
        TABLE.iter().flat_map(|c| c.faults).copied().collect()
    }

    #[test]
    fn every_name_of_the_table_is_built_or_has_a_reason() {
        let missing = |name: &&str| standing(name) == Standing::Missing;
        let gap: Vec<&str> = names().into_iter().filter(missing).collect();
        assert!(gap.is_empty(), "neither built nor with a reason: {gap:?}");
    }

    #[test]
    fn every_verb_of_the_catalogue_has_a_cell() {
        for verb in CATALOGUE {
            assert!(names().contains(verb.name), "{verb:?}");
        }
    }

    #[test]
    fn what_is_apart_is_in_the_table_once_and_says_why() {
        let mut seen = BTreeSet::new();
        for apart in OTHERWISE.iter().chain(IMPOSSIBLE) {
            assert!(names().contains(apart.name), "{apart:?}");
            assert!(seen.insert(apart.name), "{apart:?} is there twice");
            assert!(apart.why.len() > 20, "{apart:?}");
        }
    }
}
