//! What `misfire explain` says.

use super::registry::{Rule, rule, rules};

/// The answer to `misfire explain ID`.
#[derive(Clone, Debug)]
pub enum Explained {
    /// The rule of that id.
    Rule(&'static Rule),
    /// An id of the catalogue that is not judged, with the reason.
    Unjudged {
        /// The id.
        id: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// There is no such id; these are the nearest.
    Unknown {
        /// At most five ids, nearest first.
        nearest: Vec<&'static str>,
    },
}

/// Ids of the families above that have no rule here, and why.
pub const UNJUDGED: &[(&str, &str)] = &[
    (
        "VIO-ACC-008",
        "it is about the vendor data capability (virtio 1.3, 4.1.4.8), which the device does not have",
    ),
    (
        "VIO-NTF-006b",
        "notifications while suppressed (virtio 1.3, 2.7.10.1) can't be told from a race with the device's own update of the ring",
    ),
];

/// Looks up a rule; letters may be of either case.
pub fn explain(id: &str) -> Explained {
    let id = id.trim().to_ascii_uppercase();
    if let Some(rule) = rule(&id) {
        return Explained::Rule(rule);
    }
    if let Some((id, why)) = UNJUDGED
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(&id))
    {
        return Explained::Unjudged { id, why };
    }
    let mut near: Vec<_> = rules()
        .map(|r| (strsim::damerau_levenshtein(&id, r.id), r.id))
        .collect();
    near.sort();
    Explained::Unknown {
        nearest: near.into_iter().take(5).map(|(_, id)| id).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_whatever_the_case_of_its_letters() {
        assert!(matches!(explain("vio-init-001"), Explained::Rule(r) if r.id == "VIO-INIT-001"));
    }

    #[test]
    fn an_id_that_is_not_there_gives_its_neighbours() {
        let Explained::Unknown { nearest } = explain("VIO-INIT-0O1") else {
            panic!("it is not a rule");
        };
        assert_eq!(nearest.first(), Some(&"VIO-INIT-001"));
        assert_eq!(nearest.len(), 5);
    }

    #[test]
    fn an_id_that_is_not_judged_says_why() {
        assert!(matches!(explain("VIO-ACC-008"), Explained::Unjudged { .. }));
    }
}
