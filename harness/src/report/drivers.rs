//! What became of each rule with drivers that others wrote: `docs/real-drivers.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;

use crate::rules::{FAMILIES, Rule};

/// A run that was kept: what of its `verdict.json` counts here.
#[derive(Clone, Debug, Deserialize)]
pub struct KeptRun {
    /// The scenario.
    pub name: String,
    /// The guest.
    pub guest: String,
    /// The verdict, as reports have it.
    pub verdict: String,
    /// Every rule.
    pub rules: Vec<KeptRule>,
    /// Why the driver deviates, where it did as it is known to.
    #[serde(default)]
    pub known: Option<String>,
    /// What the lines of the trace say that prove breaches, by sequence number.
    #[serde(skip)]
    pub lines: BTreeMap<u64, String>,
}

/// What became of a rule in a run.
#[derive(Clone, Debug, Deserialize)]
pub struct KeptRule {
    /// Its id.
    pub id: String,
    /// `held`, `broken`, `noted`, `unseen`, `not-applicable` or `inconclusive`.
    pub outcome: String,
    /// The events that prove it.
    pub evidence: Vec<u64>,
    /// In words.
    pub text: String,
}

/// What somebody found who looked at breaches of a rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The rule.
    pub rule: String,
    /// How the names of the scenarios begin that it is about; none: all.
    #[serde(default)]
    pub scenarios: Vec<String>,
    /// What it is, in one sentence.
    pub says: String,
}

/// The file of findings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Findings {
    /// Each of them; the first that is about a breach counts.
    #[serde(default)]
    pub finding: Vec<Finding>,
}

impl Findings {
    fn of(&self, rule: &str, scenario: &str) -> Option<&Finding> {
        let about = |finding: &&Finding| {
            let all = finding.scenarios.is_empty();
            let begins = |begin: &String| scenario.starts_with(begin.as_str());
            finding.rule == rule && (all || finding.scenarios.iter().any(begins))
        };
        self.finding.iter().find(about)
    }
}

/// Events that are shown of each breach.
const SHOWN: usize = 4;

/// The page, in Markdown. A breach that nobody has looked at is counted and not published.
pub fn drivers_page(runs: &[KeptRun], findings: &Findings, date: &str) -> String {
    let mut page = format!(
        "# Real drivers\n\n\
         <!-- Made by ci/real-drivers from runs of {date}; real-drivers.toml has what was found by hand. -->\n\n\
         What the drivers of distributions' kernels did with the scenarios, on {date}. A rule is *held* where a run put it \
         to the test and no run broke it. A sentence says what a breach is taken to be: breaches were sorted by rule and \
         message, the trace and the kernel's log read for some of each, not for all, and the functions of Linux's source \
         that bring them about. They are findings to check, not verdicts about Linux. Most scenarios have a device that misbehaves: what a driver \
         breaks there may be what its authors chose.\n"
    );
    let guests: BTreeSet<&str> = runs.iter().map(|run| run.guest.as_str()).collect();
    summary(&mut page, runs, &guests);
    for guest in guests {
        let runs: Vec<&KeptRun> = runs.iter().filter(|run| run.guest == guest).collect();
        one(&mut page, guest, &runs, findings);
    }
    page
}

fn summary(page: &mut String, runs: &[KeptRun], guests: &BTreeSet<&str>) {
    page.push_str("\n| guest | scenarios run | as expected | known to differ | other |\n|---|---|---|---|---|\n");
    for guest in guests {
        let count = |verdicts: &[&str]| {
            let is =
                |run: &&KeptRun| run.guest == *guest && verdicts.contains(&run.verdict.as_str());
            runs.iter().filter(is).count()
        };
        let all = runs.iter().filter(|run| run.guest == *guest).count();
        let (pass, known) = (count(&["PASS"]), count(&["XFAIL"]));
        let other = all - pass - known;
        let _ = writeln!(page, "| {guest} | {all} | {pass} | {known} | {other} |");
    }
}

fn one(page: &mut String, guest: &str, runs: &[&KeptRun], findings: &Findings) {
    let _ = writeln!(page, "\n## {guest}\n");
    let (mut held, mut never, mut unpublished) = (Vec::new(), Vec::new(), 0);
    let mut broken: Vec<(&Rule, Vec<(&KeptRun, &KeptRule)>)> = Vec::new();
    for rule in FAMILIES.iter().flat_map(|family| family.rules) {
        if rule.unobservable.is_some() {
            continue;
        }
        let of = |outcome: &'static str| {
            runs.iter().flat_map(move |run| {
                let is = move |kept: &&KeptRule| kept.id == rule.id && kept.outcome == outcome;
                run.rules.iter().filter(is).map(move |kept| (*run, kept))
            })
        };
        let breaches: Vec<_> = of("broken").collect();
        if !breaches.is_empty() {
            broken.push((rule, breaches));
        } else if of("held").next().is_some() {
            held.push(rule.id);
        } else if of("unseen").chain(of("inconclusive")).next().is_some() {
            never.push(rule.id);
        }
    }
    let _ = writeln!(
        page,
        "{} rules held, {} broken in at least one scenario, {} never met.",
        held.len(),
        broken.len(),
        never.len()
    );
    for (rule, breaches) in broken {
        let mut by_finding: BTreeMap<&str, Vec<(&KeptRun, &KeptRule)>> = BTreeMap::new();
        for (run, kept) in breaches {
            match findings.of(rule.id, &run.name) {
                Some(finding) => by_finding
                    .entry(&finding.says)
                    .or_default()
                    .push((run, kept)),
                None => unpublished += 1,
            }
        }
        if by_finding.is_empty() {
            continue;
        }
        let _ = writeln!(
            page,
            "\n### {} ({})\n\n{}",
            rule.id,
            rule.level.name(),
            rule.sentence
        );
        for (says, breaches) in by_finding {
            breach(page, says, &breaches);
        }
    }
    differs(page, runs);
    if unpublished > 0 {
        let _ = writeln!(
            page,
            "\nNot looked at yet, and not published: {unpublished} other breaches."
        );
    }
    let _ = writeln!(page, "\nHeld: {}.", held.join(", "));
    let _ = writeln!(page, "\nNever met: {}.", never.join(", "));
}

/// What a driver is known to do otherwise without breaking a rule.
fn differs(page: &mut String, runs: &[&KeptRun]) {
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for run in runs {
        let breaks = run.rules.iter().any(|rule| rule.outcome == "broken");
        if let Some(why) = run.known.as_deref().filter(|_| !breaks) {
            by_reason
                .entry(why)
                .or_default()
                .push(format!("`{}`", run.name));
        }
    }
    if by_reason.is_empty() {
        return;
    }
    page.push_str("\n### No rule broken, and not what a correct driver does\n\n");
    for (why, names) in by_reason {
        let _ = writeln!(page, "* {why} In {}.", names.join(", "));
    }
}

fn breach(page: &mut String, says: &str, breaches: &[(&KeptRun, &KeptRule)]) {
    let names: Vec<String> = breaches
        .iter()
        .map(|(run, _)| format!("`{}`", run.name))
        .collect();
    let _ = writeln!(page, "\n{says} In {}.", names.join(", "));
    let Some((run, kept)) = breaches.first() else {
        return;
    };
    let _ = writeln!(page, "\n```text\n{}: {}", run.name, kept.text);
    for event in kept.evidence.iter().take(SHOWN) {
        if let Some(line) = run.lines.get(event) {
            let _ = writeln!(page, "{line}");
        }
    }
    page.push_str("```\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, outcome: &str) -> KeptRun {
        KeptRun {
            name: name.into(),
            guest: "linux-6.12".into(),
            verdict: "PASS".into(),
            rules: vec![KeptRule {
                id: "VIO-NR-002".into(),
                outcome: outcome.into(),
                evidence: vec![7],
                text: "a request hangs".into(),
            }],
            known: None,
            lines: [(7, "7 rd cc.device_status = 0x4f".to_owned())].into(),
        }
    }

    #[test]
    fn a_breach_is_published_with_what_was_found_and_what_proves_it() {
        let findings: Findings = toml::from_str(
            "[[finding]]\nrule = 'VIO-NR-002'\nscenarios = ['reset/']\nsays = 'It does not reset.'",
        )
        .unwrap();
        let runs = [run("reset/a", "broken"), run("rings/b", "held")];
        let page = drivers_page(&runs, &findings, "2026-11-22");
        assert!(page.contains("It does not reset. In `reset/a`."), "{page}");
        assert!(page.contains("7 rd cc.device_status = 0x4f"), "{page}");
        assert!(page.contains("0 rules held, 1 broken"), "{page}");
    }

    #[test]
    fn what_a_driver_is_known_to_do_otherwise_is_published_with_its_reason() {
        let known = |name: &str, outcome: &str| KeptRun {
            known: Some("It waits without a limit.".into()),
            ..run(name, outcome)
        };
        let runs = [known("rings/b", "held"), known("reset/a", "broken")];
        let page = drivers_page(&runs, &Findings::default(), "now");
        assert!(
            page.contains("* It waits without a limit. In `rings/b`.\n"),
            "{page}"
        );
    }

    #[test]
    fn a_breach_that_nobody_looked_at_is_counted_and_not_published() {
        let page = drivers_page(&[run("reset/a", "broken")], &Findings::default(), "now");
        assert!(!page.contains("a request hangs"), "{page}");
        assert!(page.contains("not published: 1 other"), "{page}");
    }
}
