//! The ids of every rule that was found worth having, judged or not, held against the registry.

use std::collections::BTreeSet;

use super::rules;

/// Family and numbers.
const ALL: &[(&str, &str)] = &[
    (
        "VIO-INIT",
        "001 002 003 004 005 006 007 008 009 010 011 012",
    ),
    ("VIO-FEAT", "001 002 003 004 005 006 007 008"),
    ("VIO-RST", "001 002 003 004 005 006 007"),
    ("VIO-QRST", "001 002 003 004"),
    ("VIO-ACC", "001 002 003 004 005 006 007 008 009"),
    ("VIO-CAP", "001 002 003 004 005 006 007 008 009"),
    ("VIO-PCI", "001 002 003 004 005"),
    ("VIO-Q", "001 002 003 004 005 006 007"),
    ("VIO-ADM", "001 002"),
    (
        "VIO-MSIX",
        "001 002 003 004 005 006 007 008 009 010 011 012 013 014",
    ),
    ("VIO-ISR", "001 002 003 004 005 006 007"),
    ("VIO-NTF", "001 002 003 004 005 006 006b 007 008"),
    ("VIO-CFG", "001 002 003 004 005 006 007"),
    ("VIO-NR", "001 002 003 004 005"),
    (
        "VIO-SPL",
        "001 002 003 004 005 006 007 008 009 010 011 012 013 014",
    ),
    ("VIO-PKD", "001 002 003 004 005 006 007"),
    ("VIO-LEG", "001 002 003 004 005"),
    ("VIO-SUS", "001 002 003"),
    (
        "WIN-MSI",
        "001 002 003 004 005 006 007 008 009 010 011 012 013 014 016 015",
    ),
    ("WIN-PNP", "001 002"),
    ("WIN-DUMP", "001"),
    ("WIN-NDIS", "001"),
    ("WIN-SPT", "001 002 003 004 005 006 007 008 009 020 021"),
    ("WIN-STOR", "001"),
    ("WIN-SYS", "001"),
    (
        "ROB",
        "001 002 003 004 005 006 007 008 009 010 011 012 013 014",
    ),
];

fn all() -> BTreeSet<String> {
    let each = ALL.iter().flat_map(|(family, numbers)| {
        numbers
            .split(' ')
            .map(move |number| format!("{family}-{number}"))
    });
    each.collect()
}

#[test]
fn every_rule_of_the_list_is_in_the_registry() {
    let there: BTreeSet<String> = rules().map(|r| r.id.to_owned()).collect();
    let all = all();
    let lost: Vec<&String> = all.difference(&there).collect();
    assert!(lost.is_empty(), "gone from the registry: {lost:?}");
}

#[test]
fn the_list_has_every_id_once() {
    let count: usize = ALL.iter().map(|(_, n)| n.split(' ').count()).sum();
    assert_eq!(all().len(), count);
    assert_eq!(count, 181);
}
