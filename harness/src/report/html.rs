//! One page of HTML that needs nothing else.

use std::fmt::Write as _;

use super::{Document, ScenarioReport};
use crate::rules::Outcome;
use crate::verdict::ruling;

const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
summary { cursor: pointer; padding: .3rem 0 }
summary b { display: inline-block; width: 4rem }
summary time { float: right; opacity: .7 }
.pass b { color: #2a8a3e } .fail b, .error b, .xpass b { color: #d1242f } .skip b, .xfail b { color: #b07c00 }
table { border-collapse: collapse; margin: .5rem 0 1rem 4rem } td, th { text-align: left; padding: .1rem .8rem .1rem 0; vertical-align: top }
pre { white-space: pre-wrap; margin: .3rem 0 .3rem 4rem } .dim { opacity: .6 }
";

/// The run as one page.
pub fn html(document: &Document<'_>) -> String {
    let s = &document.summary;
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Misfire</title>\
         <style>{STYLE}</style></head><body>\n<h1>Misfire</h1>\n\
         <p>{} scenarios: {} pass, {} fail, {} error, {} skip, {} xfail, {} xpass. \
         Median {:.3} s, {:.2} s in total.</p>\n",
        s.total,
        s.pass,
        s.fail,
        s.error,
        s.skip,
        s.xfail,
        s.xpass,
        s.median_ms / 1000.0,
        s.total_ms / 1000.0,
    );
    if let Some(standing) = document.standing {
        let _ = writeln!(page, "<p>{}</p>", escape(standing));
    }
    for scenario in &document.scenarios {
        one(&mut page, scenario);
    }
    page.push_str("</body></html>\n");
    page
}

fn one(page: &mut String, scenario: &ScenarioReport) {
    let word = scenario.verdict.word();
    let outcome = scenario.outcome.map_or("-", |o| o.word());
    let open = if scenario.reasons.is_empty() {
        ""
    } else {
        " open"
    };
    let _ = writeln!(
        page,
        "<details class=\"{}\"{open}><summary><b>{word}</b> {} <span class=\"dim\">{} {} {}</span>\
         <time>{:.3} s</time></summary>",
        word.to_lowercase(),
        escape(&scenario.name),
        escape(&scenario.guest),
        escape(outcome),
        escape(scenario.interrupts.as_deref().unwrap_or("-")),
        scenario.duration_ms / 1000.0,
    );
    for line in scenario.reasons.iter().chain(&scenario.notes) {
        let _ = writeln!(page, "<pre>{}</pre>", escape(line));
    }
    page.push_str(
        "<table><tr><th>rule</th><th>level</th><th>outcome</th><th>evidence</th><th></th></tr>\n",
    );
    let told = scenario
        .rules
        .iter()
        .filter(|r| !matches!(r.outcome, Outcome::Unseen | Outcome::NotApplicable));
    for rule in told {
        let evidence: Vec<String> = rule.evidence.iter().take(8).map(u64::to_string).collect();
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            rule.id,
            rule.level.name(),
            ruling(rule),
            evidence.join(", "),
            escape(&rule.text),
        );
    }
    for fault in &scenario.faults {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>fault</td><td colspan=\"3\">{} fired {} times</td></tr>",
            escape(&fault.id),
            escape(&fault.name),
            fault.fired,
        );
    }
    page.push_str("</table>\n");
    for (what, path) in &scenario.files {
        let _ = writeln!(page, "<pre class=\"dim\">{what}: {}</pre>", escape(path));
    }
    page.push_str("</details>\n");
}

/// Text as HTML shows it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::report;
    use super::*;
    use crate::verdict::Verdict;

    #[test]
    fn the_page_stands_alone_and_escapes_what_it_shows() {
        let mut failed = report("a/<b>", Verdict::Fail, 1.0);
        failed.reasons = vec!["1 < 2 & \"so\"".into()];
        let page = html(&Document::new([&failed], std::time::Duration::ZERO));
        assert!(
            page.contains("a/&lt;b&gt;") && page.contains("1 &lt; 2 &amp; &quot;so&quot;"),
            "{page}"
        );
        for reference in ["http://", "https://", "src=", "href="] {
            assert!(!page.contains(reference), "{reference}");
        }
    }
}
