//! Two runs of one scenario beside each other, and where they part.

use std::fmt::{self, Write as _};

use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use super::ScenarioReport;
use crate::rules::Outcome;
use crate::verdict::ruling;

/// Two runs of the same scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Sides {
    /// What each is called.
    pub names: [String; 2],
    /// What came of each.
    pub reports: [ScenarioReport; 2],
    /// Rules that do not come out the same, of those that both sides put to the test or one breaks.
    pub rules: Vec<OtherRule>,
    /// How many rules only one side put to the test.
    pub judged_once: usize,
    /// The transcripts, line by line.
    pub rows: Vec<Row>,
}

/// A rule that does not come out the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherRule {
    /// Its id.
    pub id: &'static str,
    /// What became of it on each side.
    pub outcomes: [&'static str; 2],
}

/// A line of one side or of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `None`: this side has no such line.
    pub lines: [Option<String>; 2],
}

impl Row {
    /// Whether both sides have it.
    pub fn is_common(&self) -> bool {
        self.lines[0] == self.lines[1]
    }

    /// `|`: both have a line there, and not the same; `<`, `>`: only that side has it.
    fn mark(&self) -> char {
        match &self.lines {
            [Some(_), None] => '<',
            [None, _] => '>',
            _ if self.is_common() => ' ',
            _ => '|',
        }
    }
}

impl Sides {
    /// Puts two runs beside each other: their names, what came of them, their transcripts.
    pub fn new(names: [String; 2], reports: [ScenarioReport; 2], transcripts: [&str; 2]) -> Self {
        let [left, right] = &reports;
        let (mut rules, mut judged_once) = (Vec::new(), 0);
        for one in &left.rules {
            let Some(other) = right.rules.iter().find(|other| other.id == one.id) else {
                continue;
            };
            let both = [one, other];
            let outcomes = both.map(ruling);
            let is_judged = both.map(|j| matches!(j.outcome, Outcome::Held | Outcome::Broken));
            let is_broken = both.iter().any(|j| j.outcome == Outcome::Broken);
            match is_judged {
                _ if outcomes[0] == outcomes[1] => {}
                [false, false] => {}
                [true, true] => rules.push(OtherRule {
                    id: one.id,
                    outcomes,
                }),
                _ if is_broken => rules.push(OtherRule {
                    id: one.id,
                    outcomes,
                }),
                _ => judged_once += 1,
            }
        }
        Self {
            rules,
            judged_once,
            rows: rows(transcripts),
            names,
            reports,
        }
    }

    /// Whether the guests did the same, and every rule came out the same.
    pub fn are_equal(&self) -> bool {
        let [left, right] = &self.reports;
        let ended = |report: &ScenarioReport| (report.outcome, report.interrupts.clone());
        self.rules.is_empty() && self.rows.iter().all(Row::is_common) && ended(left) == ended(right)
    }

    /// As text, in lines of `width` characters.
    pub fn text(&self, width: usize) -> String {
        /// Between the columns: a mark with a space on either side.
        const GAP: usize = 3;
        const NARROWEST: usize = 20;
        let column = (width.saturating_sub(GAP) / 2).max(NARROWEST);
        let mut text = String::new();
        let mut row = |left: &str, mark: char, right: &str| {
            let (left, right) = (cut(left, column), cut(right, column));
            let line = format!("{left:<column$} {mark} {right}");
            // Writing to a string can't fail.
            let _ = writeln!(text, "{}", line.trim_end());
        };
        row(&self.names[0], ' ', &self.names[1]);
        let [left, right] = self.reports.each_ref().map(ended);
        row(&left, if left == right { ' ' } else { '|' }, &right);
        for rule in &self.rules {
            let [left, right] = rule
                .outcomes
                .map(|outcome| format!("{}: {outcome}", rule.id));
            row(&left, '|', &right);
        }
        if self.judged_once > 0 {
            row(
                &format!(
                    "{} rules are put to the test on one side only",
                    self.judged_once
                ),
                ' ',
                "",
            );
        }
        row("", ' ', "");
        for part in parts(&self.rows) {
            match part {
                Part::Shown(rows) => {
                    for one in rows {
                        let side = |n: usize| one.lines[n].as_deref().unwrap_or_default();
                        row(side(0), one.mark(), side(1));
                    }
                }
                Part::Folded(count) => row(&format!("… {count} lines are the same"), ' ', ""),
            }
        }
        text
    }
}

/// `started  msix`, or why it could not be run. What a scenario expects is not asked here.
fn ended(report: &ScenarioReport) -> String {
    match (report.outcome, report.interrupts.as_deref()) {
        (Some(outcome), Some(interrupts)) => format!("{outcome}  {interrupts}"),
        (Some(outcome), None) => format!("{}  {outcome}", report.verdict),
        (None, _) => format!("{}  {}", report.verdict, report.reasons.join("; ")),
    }
}

/// At most `width` characters of a line.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let begin: String = line.chars().take(width.saturating_sub(1)).collect();
    begin + "…"
}

/// The lines of both sides; a line that took another's place stands beside it.
fn rows(transcripts: [&str; 2]) -> Vec<Row> {
    let diff = TextDiff::from_lines(transcripts[0], transcripts[1]);
    let mut rows: Vec<Row> = Vec::new();
    // The first line that was taken away and has nothing beside it yet.
    let mut open = 0;
    for change in diff.iter_all_changes() {
        let line = Some(change.value().trim_end().to_owned());
        match change.tag() {
            ChangeTag::Equal => {
                rows.push(Row {
                    lines: [line.clone(), line],
                });
                open = rows.len();
            }
            ChangeTag::Delete => rows.push(Row {
                lines: [line, None],
            }),
            ChangeTag::Insert => match rows.get_mut(open) {
                Some(row) => {
                    row.lines[1] = line;
                    open += 1;
                }
                None => {
                    rows.push(Row {
                        lines: [None, line],
                    });
                    open = rows.len();
                }
            },
        }
    }
    rows
}

enum Part<'a> {
    Shown(&'a [Row]),
    Folded(usize),
}

/// Leaves out what is far from any difference.
fn parts(rows: &[Row]) -> Vec<Part<'_>> {
    /// Lines that are shown around a difference.
    const CONTEXT: usize = 3;
    let near = |at: usize| {
        let (from, to) = (
            at.saturating_sub(CONTEXT),
            (at + CONTEXT + 1).min(rows.len()),
        );
        // The heading of a section says what the lines below it are about.
        let is_heading = rows[at].lines[0]
            .as_deref()
            .is_some_and(|line| line.starts_with("## "));
        is_heading || rows[from..to].iter().any(|row| !row.is_common())
    };
    let mut parts = Vec::new();
    let mut at = 0;
    while at < rows.len() {
        let shown = near(at);
        let end = (at..rows.len())
            .find(|n| near(*n) != shown)
            .unwrap_or(rows.len());
        // A line takes no more room than the words that it was left out.
        parts.push(if shown || end - at == 1 {
            Part::Shown(&rows[at..end])
        } else {
            Part::Folded(end - at)
        });
        at = end;
    }
    parts
}

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(160))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::tests::report;
    use crate::verdict::Verdict;

    fn sides(left: &str, right: &str) -> Sides {
        let one = || report("a/b", Verdict::Pass, 1.0);
        let names = ["reference".to_owned(), "linux-6.1".to_owned()];
        Sides::new(names, [one(), one()], [left, right])
    }

    #[test]
    fn a_line_that_took_anothers_place_stands_beside_it() {
        let sides = sides("a\nb\nc\nd\n", "a\nx\nd\ne\n");
        let marks: String = sides.rows.iter().map(Row::mark).collect();
        assert_eq!(marks, " |< >");
        assert!(!sides.are_equal());
        let shown = sides.text(43);
        let lines: Vec<&str> = shown.lines().skip(3).collect();
        assert_eq!(
            lines,
            [
                "a                      a",
                "b                    | x",
                "c                    <",
                "d                      d",
                "                     > e",
            ]
        );
    }

    #[test]
    fn what_is_the_same_is_left_out_but_for_headings_and_neighbours() {
        let same: String = (0..20).map(|n| format!("line {n}\n")).collect();
        let left = format!("## device 0\n{same}one\n");
        let sides = sides(&left, &left.replace("one", "two"));
        let text = sides.text(80);
        assert!(text.contains("## device 0"), "{text}");
        assert!(text.contains("… 17 lines are the same"), "{text}");
        assert!(text.contains("line 17"), "{text}");
    }

    #[test]
    fn runs_that_are_the_same_are_equal() {
        assert!(sides("a\nb\n", "a\nb\n").are_equal());
        assert!(!sides("a\nb\n", "a\n").are_equal());
    }

    #[test]
    fn long_lines_are_cut_to_their_column() {
        let text = sides(&"x".repeat(100), "y").text(60);
        assert!(
            text.lines().all(|line| line.chars().count() <= 60),
            "{text}"
        );
    }
}
