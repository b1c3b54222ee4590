//! What `misfire explain` says.

use super::registry::{Rule, rules};

/// The answer to `misfire explain ID`.
#[derive(Clone, Debug)]
pub enum Explained {
    /// The rule of that id.
    Rule(&'static Rule),
    /// There is no such id; these are the nearest.
    Unknown {
        /// At most five ids, nearest first.
        nearest: Vec<&'static str>,
    },
}

/// Looks up a rule; letters may be of either case.
pub fn explain(id: &str) -> Explained {
    let id = id.trim().to_ascii_uppercase();
    if let Some(rule) = rules().find(|r| r.id.eq_ignore_ascii_case(&id)) {
        return Explained::Rule(rule);
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
    fn a_rule_that_is_not_judged_is_found_and_says_why() {
        for id in ["VIO-PCI-003", "vio-spl-010"] {
            let Explained::Rule(rule) = explain(id) else {
                panic!("{id} is a rule");
            };
            assert!(rule.unobservable.is_some(), "{id}");
        }
    }
}
