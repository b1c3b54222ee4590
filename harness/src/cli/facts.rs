//! Commands that start nothing: what there is, and what it means.

use std::fmt::Write as _;
use std::path::PathBuf;

use misfire_device::fault::{CATALOGUE, Verb};
use misfire_device::shape::Attach;
use misfire_device::trace::Legality;

use super::lists::{FaultList, RuleList};
use super::running::json;
use super::{Failure, Format, ListArgs, PageFormat, Selection, say};
use crate::catalogue::{Catalogue, markdown};
use crate::guest::guest_schema;
use crate::rules::{Explained, FAMILIES, Rule, Sight, explain as look_up};
use crate::scenario::{Library, mistakes as all_mistakes, nearest, schema as scenario_schema};

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

pub(super) fn rules(args: &ListArgs) -> Result<(), Failure> {
    if args.format == Format::Json {
        return json(&RuleList::new(&args.scenarios()?));
    }
    for family in FAMILIES {
        say(format_args!("{}: {}", family.name, family.title));
        for rule in family.rules {
            say(format_args!(
                "  {:14} {:8} {}",
                rule.id,
                rule.level.name(),
                rule.sentence
            ));
            if let Some(why) = rule.unobservable {
                say(format_args!("{:26}not judged: {why}", ""));
            }
        }
    }
    Ok(())
}

pub(super) fn faults(args: &ListArgs) -> Result<(), Failure> {
    if args.format == Format::Json {
        return json(&FaultList::new(&args.scenarios()?));
    }
    for verb in CATALOGUE {
        let classes: Vec<String> = verb
            .classes
            .iter()
            .map(|(class, _)| class_word(*class))
            .collect();
        say(format_args!(
            "{:16} {:16} {}",
            verb.name,
            classes.join(", "),
            verb.summary
        ));
    }
    Ok(())
}

pub(super) fn catalogue(format: PageFormat, root: Option<PathBuf>) -> Result<(), Failure> {
    let selection = Selection {
        scenarios: Vec::new(),
        root,
        partition: None,
    };
    let catalogue = Catalogue::new(&selection.open()?.scenarios);
    match format {
        PageFormat::Pretty => say(&catalogue),
        PageFormat::Json => json(&catalogue)?,
        PageFormat::Markdown => say(markdown(&catalogue).trim_end()),
    }
    Ok(())
}

pub(super) fn mistakes() {
    for mistake in all_mistakes() {
        say(format_args!(
            "{:14} {:32} {}",
            mistake.breaks, mistake.name, mistake.text
        ));
    }
}

fn class_word(class: Legality) -> String {
    format!("{class:?}").to_lowercase()
}

pub(super) fn explain(id: &str) -> Result<(), Failure> {
    if let Some(verb) = CATALOGUE.iter().find(|verb| verb.name == id) {
        say(fault_in_words(verb));
        return Ok(());
    }
    if let Some(mistake) = all_mistakes().find(|mistake| mistake.name == id) {
        say(format_args!(
            "{}\n\n  The driver {}.\n\nBreaks: {}\n\n[guest]\nmistake = \"{}\"",
            mistake.name, mistake.text, mistake.breaks, mistake.name
        ));
        return Ok(());
    }
    match look_up(id) {
        Explained::Rule(rule) => say(rule_in_words(rule)),
        Explained::Unknown { nearest: rules } => {
            let faults = CATALOGUE.iter().map(|verb| verb.name);
            let names = faults.chain(all_mistakes().map(|mistake| mistake.name));
            let help = match nearest(id, names) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!(
                    "the nearest rules are {}; `misfire rules`, `misfire faults` and `misfire mistakes` \
                     list everything",
                    rules.join(", ")
                ),
            };
            return Err(Failure::Wrong(miette::miette!(
                help = help,
                "no rule, fault or mistake is called `{id}`"
            )));
        }
    }
    Ok(())
}

fn fault_in_words(verb: &Verb) -> String {
    let mut text = format!("{}\n\n  {}\n", verb.name, verb.summary);
    for (class, when) in verb.classes {
        let class = class_word(*class);
        let _ = write!(
            text,
            "\nClass: {class}{}",
            if when.is_empty() {
                String::new()
            } else {
                format!(" ({when})")
            }
        );
    }
    let _ = write!(
        text,
        "\nRests on: {} (virtio 1.3, {})",
        verb.sentence, verb.section
    );
    let _ = write!(text, "\nTrigger: {}", verb.needs.words());
    for arg in verb.args {
        let default = arg
            .default
            .map_or("has to be given".into(), |d| format!("default {d}"));
        let _ = write!(
            text,
            "\nArgument {}: {}; {} ({default})",
            arg.name, arg.words, arg.kind
        );
    }
    if !verb.attachments.contains(&Attach::VhostUser) {
        text.push_str("\nNot with attach = \"vhost-user\", where QEMU owns the registers.");
    }
    let _ = write!(text, "\n\n{}", verb.example.trim());
    text
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
    let made: Vec<&str> = all_mistakes()
        .filter(|mistake| mistake.breaks == rule.id)
        .map(|mistake| mistake.name)
        .collect();
    if !made.is_empty() {
        let _ = write!(text, "\nMistakes that break it: {}", made.join(", "));
    }
    if let Some(why) = rule.unobservable {
        let _ = write!(text, "\nNot judged: {why}");
        return text;
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

/// `guest`: that of a guest file.
pub(super) fn schema(guest: bool) {
    let schema = if guest {
        guest_schema()
    } else {
        scenario_schema()
    };
    say(format_args!("{schema:#}"));
}
