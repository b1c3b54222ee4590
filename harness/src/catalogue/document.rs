//! The table as `docs/catalogue.md` has it.

use std::fmt::Write as _;

use super::{Catalogue, Entry, Status};

const HEAD: &str = "# Bugs of others, and what shows them here

`misfire catalogue --format markdown` writes this page; a test fails when it is not current. A scenario
names the bugs that it shows under `source`.

*Reproduced*: a scenario has a driver with the bug's cause, beside the correct one. *Imitated*: the bug was
a device's; ours behaves so, and a correct driver copes. *Checked*: something other than a scenario looks
for it. None was observed in the software that is named: what is here is our own driver with the same
mistake, or our own device.
";

/// The page.
pub fn markdown(catalogue: &Catalogue) -> String {
    let mut page = HEAD.to_owned();
    let counts: Vec<String> = Status::ALL
        .iter()
        .map(|status| (catalogue.count(*status), status.word()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let _ = writeln!(
        page,
        "\n{} bugs: {}.\n",
        catalogue.bugs.len(),
        counts.join(", ")
    );
    page.push_str("| Bug | What happened | Source | Status | Scenarios | Rules |\n");
    page.push_str("|---|---|---|---|---|---|\n");
    for bug in &catalogue.bugs {
        page.push_str(&row(bug));
    }
    page
}

fn row(bug: &Entry) -> String {
    let code = |list: &[String]| {
        let each: Vec<String> = list.iter().map(|name| format!("`{name}`")).collect();
        each.join(", ")
    };
    let status = match bug.note {
        Some(note) => format!("{}: {note}", bug.status.word()),
        None => bug.status.word().to_owned(),
    };
    format!(
        "| {} | {} | {} | {} | {} | {} |\n",
        bug.id,
        cell(bug.symptom),
        cell(bug.source),
        cell(&status),
        code(&bug.scenarios),
        bug.rules.join(", ")
    )
}

/// Text that can stand between two bars.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
