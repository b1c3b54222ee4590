//! Commands that start nothing: what there is, and what it means.

use std::fmt::Write as _;

use super::{Failure, say};
use crate::rules::{Explained, FAMILIES, Rule, Sight, explain as look_up};
use crate::scenario::{Library, schema as scenario_schema};

pub(super) fn list(library: &Library) {
    for scenario in &library.scenarios {
        say(format_args!("{:44} {}", scenario.name, scenario.title));
    }
}

pub(super) fn check(library: &Library) {
    let count = library.scenarios.len();
    let plural = if count == 1 { "" } else { "s" };
    say(format_args!("{count} scenario{plural} can be run"));
}

pub(super) fn rules() {
    for family in FAMILIES {
        say(format_args!("{}: {}", family.name, family.title));
        for rule in family.rules {
            say(format_args!(
                "  {:14} {:8} {}",
                rule.id,
                rule.level.name(),
                rule.sentence
            ));
        }
    }
}

pub(super) fn explain(id: &str) -> Result<(), Failure> {
    match look_up(id) {
        Explained::Rule(rule) => say(rule_in_words(rule)),
        Explained::Unjudged { id, why } => say(format_args!("{id} is not judged: {why}.")),
        Explained::Unknown { nearest } => {
            return Err(Failure::Wrong(miette::miette!(
                help = format!(
                    "the nearest are {}; `misfire rules` lists them all",
                    nearest.join(", ")
                ),
                "no rule is called `{id}`"
            )));
        }
    }
    Ok(())
}

fn rule_in_words(rule: &Rule) -> String {
    let mut text = format!(
        "{} ({})\n\n  {}\n",
        rule.id,
        rule.level.name(),
        rule.sentence
    );
    for (what, words) in [
        ("Source", rule.source),
        ("Broken by", rule.breaks),
        ("Told from", rule.proof),
    ] {
        if !words.is_empty() {
            let _ = write!(text, "\n{what}: {words}");
        }
    }
    if !rule.follows.is_empty() {
        let _ = write!(text, "\nFollows from: {}", rule.follows.join(", "));
    }
    if rule.robust {
        text.push_str("\nJudged also where the device itself breaks the specification.");
    }
    if rule.sight == Sight::Registers {
        text.push_str(
            "\nNot judged with attach = \"vhost-user\", where no register access is seen.",
        );
    }
    text
}

pub(super) fn schema() {
    say(format_args!("{:#}", scenario_schema()));
}
