//! What a person sees while scenarios run.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Document, Progress, ScenarioReport};
use crate::verdict::Verdict;

/// Shows progress on a terminal; on anything else, the lines alone.
pub struct Terminal {
    bars: MultiProgress,
    bar: ProgressBar,
    colour: bool,
}

impl Terminal {
    /// Lines go to standard output, the bar to standard error. `quiet` keeps both back.
    pub fn new(quiet: bool, colour: bool) -> Self {
        let bars = MultiProgress::new();
        if quiet {
            bars.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let bar = bars.add(ProgressBar::new(0));
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {pos}/{len} {elapsed} {wide_msg}")
        {
            bar.set_style(style);
        }
        Self { bars, bar, colour }
    }

    /// Shows one piece of progress. Returns what belongs on standard output.
    pub fn show(&self, progress: &Progress) -> Option<String> {
        match progress {
            Progress::Begin(total) => self.bar.set_length(*total as u64),
            Progress::Start(name) => self.bar.set_message(name.clone()),
            Progress::End(report) => {
                self.bar.inc(1);
                return Some(one_scenario(report, self.colour));
            }
        }
        None
    }

    /// How often the bar wants to move.
    pub const TICK: Duration = Duration::from_millis(120);

    /// Moves the bar. There is no thread that does: what prints has to be one with it.
    pub fn tick(&self) {
        self.bar.tick();
    }

    /// Has `print` print without tearing the bar. A terminal that is gone is no obstacle.
    pub fn print(&self, print: impl FnOnce()) {
        let _ = self.bars.clear();
        print();
        self.tick();
    }

    /// Takes the bar away.
    pub fn clear(self) {
        self.bar.finish_and_clear();
    }

    /// Takes the bar away and returns the last line of the run.
    pub fn finish(self, document: &Document<'_>) -> String {
        self.bar.finish_and_clear();
        let s = &document.summary;
        let mut parts = vec![format!("{} pass", s.pass)];
        for (count, word) in [
            (s.fail, "fail"),
            (s.error, "error"),
            (s.skip, "skip"),
            (s.xfail, "xfail"),
            (s.xpass, "xpass"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {word}"));
            }
        }
        let standing = document.standing.map(|text| format!("\n{text}"));
        format!(
            "\n{} scenario{}: {}; median {:.3} s, {:.2} s in total{}",
            s.total,
            if s.total == 1 { "" } else { "s" },
            parts.join(", "),
            s.median_ms / 1000.0,
            s.total_ms / 1000.0,
            standing.unwrap_or_default(),
        )
    }
}

/// One scenario: a line, then why and what else.
pub fn one_scenario(report: &ScenarioReport, colour: bool) -> String {
    let word = report.verdict.word();
    let code = match report.verdict {
        Verdict::Pass => "32",
        Verdict::Xfail | Verdict::Skip => "33",
        Verdict::Fail | Verdict::Error | Verdict::Xpass => "31;1",
    };
    let word = if colour {
        format!("\x1b[{code}m{word:5}\x1b[0m")
    } else {
        format!("{word:5}")
    };
    let outcome = report.outcome.map_or("-", |o| o.word());
    let mut text = format!(
        "{word} {:44} {:>7.3} s  {outcome:9} {}",
        report.name,
        report.duration_ms / 1000.0,
        report.interrupts.as_deref().unwrap_or("-"),
    );
    let fired: Vec<String> = report
        .faults
        .iter()
        .map(|f| format!("{} ×{}", f.name, f.fired))
        .collect();
    if !fired.is_empty() {
        text += &format!("  [{}]", fired.join(", "));
    }
    let mut text = text.trim_end().to_owned();
    for line in report.reasons.iter().chain(&report.notes) {
        for line in line.lines() {
            text += &format!("\n      {line}");
        }
    }
    if !report.reasons.is_empty()
        && let Some(trace) = report.files.get("trace")
    {
        text += &format!("\n      trace: {trace}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::report;
    use super::*;

    #[test]
    fn a_failure_says_why_and_where_its_trace_is() {
        insta::assert_snapshot!(one_scenario(&report("vectors/refused", Verdict::Fail, 151.2), false), @r"
        FAIL  vectors/refused                                0.151 s  degraded  intx  [vector.reject ×2]
              outcome: expected started, found degraded
              trace: out/vectors/refused/trace.jsonl
        ");
    }

    #[test]
    fn of_a_scenario_without_an_outcome_none_is_claimed() {
        let mut error = report("a/b", Verdict::Error, 1.0);
        (error.outcome, error.interrupts) = (None, None);
        error.faults.clear();
        error.reasons = vec!["QEMU was killed by signal 9".into()];
        let text = one_scenario(&error, false);
        let words: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(words, ["ERROR", "a/b", "0.001", "s", "-", "-"]);
    }

    #[test]
    fn the_last_line_counts_verdicts_and_times() {
        let scenarios = [
            report("a/one", Verdict::Pass, 130.5),
            report("b/two", Verdict::Fail, 150.0),
        ];
        let document = Document::new(&scenarios, Duration::from_millis(301));
        let line = Terminal::new(true, false).finish(&document);
        assert_eq!(
            line.trim(),
            "2 scenarios: 1 pass, 1 fail; median 0.140 s, 0.30 s in total"
        );
    }
}
