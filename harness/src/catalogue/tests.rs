//! The catalogue against the shipped scenarios.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::cli::vocabulary;
use crate::rules;
use crate::scenario::{Library, read};

fn shipped() -> Catalogue {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    match Library::open(Some(&root), &[], &vocabulary()) {
        Ok(library) => Catalogue::new(&library.scenarios),
        Err(problems) => panic!("{:?}", miette::Report::new(problems)),
    }
}

#[test]
fn every_bug_has_a_scenario_or_a_reason() {
    let open: Vec<&str> = shipped()
        .bugs
        .iter()
        .filter(|bug| bug.status == Status::Open)
        .map(|bug| bug.id)
        .collect();
    assert!(open.is_empty(), "without a scenario or a reason: {open:?}");
}

#[test]
fn the_bugs_are_numbered_without_a_gap_and_say_everything() {
    for (n, bug) in BUGS.iter().enumerate() {
        assert_eq!(bug.id, format!("B{:02}", n + 1));
        assert!(!bug.source.is_empty() && bug.symptom.len() > 20, "{bug:?}");
        assert!(!bug.symptom.ends_with('.'), "{bug:?}");
    }
    assert_eq!(BUGS.len(), 80);
}

#[test]
fn every_bug_that_a_rule_or_a_scenario_names_is_in_the_catalogue() {
    let known: BTreeSet<&str> = BUGS.iter().map(|bug| bug.id).collect();
    let is_bug = |word: &str| {
        word.len() == 3 && word.starts_with('B') && word[1..].bytes().all(|b| b.is_ascii_digit())
    };
    for rule in rules::rules() {
        for word in rule.source.split(|c: char| !c.is_ascii_alphanumeric()) {
            assert!(!is_bug(word) || known.contains(word), "{}: {word}", rule.id);
        }
    }
}

#[test]
fn a_scenario_is_found_by_the_bugs_that_it_names_with_its_rules() {
    let text = "title = \"t\"\nsource = [\"virtio 1.3 2.4\", \"B11, B53\"]\n[device]\nkind = \"block\"\n\
                [expect]\nheld = \"VIO-CFG-004\"\n\
                [[variant]]\nname = \"bad\"\nguest.mistake = \"no-read-back\"\n\
                [[variant]]\nname = \"good\"\nsource = \"B12\"\n";
    let read = read(Path::new("a/b.toml"), "a/b", text, &vocabulary()).unwrap();
    let catalogue = Catalogue::new(&read);
    let of = |id: &str| catalogue.bugs.iter().find(|b| b.id == id).unwrap();
    assert_eq!(of("B11").scenarios, ["a/b", "a/b@bad"]);
    assert_eq!(of("B11").rules, ["VIO-CFG-004"]);
    assert_eq!(of("B11").status, Status::Reproduced);
    assert_eq!(of("B53").status, Status::Imitated);
    assert_eq!(of("B01").status, Status::Open);
    // A correct driver alone reproduces no mistake.
    assert_eq!(of("B12").scenarios, ["a/b@good"]);
    assert_eq!(of("B12").status, Status::Open);
    assert_eq!(of("B78").status, Status::NotReproducible);
}

#[test]
fn the_page_of_the_documentation_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/catalogue.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == markdown(&shipped()),
        "`misfire catalogue --format markdown > docs/catalogue.md` writes it anew"
    );
}
