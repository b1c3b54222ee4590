//! The batch files that the guest runs: mistakes that a parser does not find. That they can be parsed is asked in
//! `harness/tests/windows_files.rs`, and of PowerShell too.

use std::collections::BTreeSet;

use crate::prepare::windows::stick::SCRIPTS;

fn batch_files() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCRIPTS
        .iter()
        .copied()
        .filter(|(name, _)| name.ends_with(".cmd"))
}

/// A line without the command's `call`, `if …` and `for …` before a jump.
fn jumps(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    words
        .windows(2)
        .filter(|pair| {
            pair[0].eq_ignore_ascii_case("goto")
                || (pair[0].eq_ignore_ascii_case("call") && pair[1].starts_with(':'))
        })
        .map(|pair| pair[1].trim_start_matches(':').to_lowercase())
        .collect()
}

#[test]
fn every_jump_has_its_label_and_every_label_a_jump() {
    for (name, text) in batch_files() {
        let code = || {
            text.lines()
                .filter(|line| !line.trim_start().to_lowercase().starts_with("rem"))
        };
        let labels: Vec<String> = code()
            .filter_map(|line| line.trim().strip_prefix(':'))
            .map(|label| label.trim().to_lowercase())
            .collect();
        let jumped: BTreeSet<String> = code().flat_map(jumps).collect();
        assert_eq!(
            labels.iter().cloned().collect::<BTreeSet<_>>(),
            jumped,
            "{name}"
        );
        assert_eq!(labels.len(), jumped.len(), "{name} has a label twice");
        // A label counts up to its eighth character on old systems.
        let short: BTreeSet<String> = labels.iter().map(|l| l.chars().take(8).collect()).collect();
        assert_eq!(short.len(), labels.len(), "{name}");
    }
}

#[test]
fn nothing_in_a_batch_file_is_half_open() {
    for (name, text) in batch_files() {
        assert!(text.is_ascii() && !text.contains('\t'), "{name}");
        assert!(text.starts_with("@echo off\n"), "{name}");
        let mut depth = 0;
        for line in text.lines() {
            if line.trim_start().to_lowercase().starts_with("rem") {
                continue;
            }
            assert!(line.matches('"').count() % 2 == 0, "{name}: {line}");
            let mut quoted = false;
            for c in line.chars() {
                match c {
                    '"' => quoted = !quoted,
                    '(' if !quoted => depth += 1,
                    ')' if !quoted => depth -= 1,
                    _ => {}
                }
            }
            assert!(depth >= 0, "{name}: {line}");
        }
        assert_eq!(depth, 0, "{name}");
        // Only the end of a file may be run into.
        let end = text.trim_end().lines().last().unwrap();
        assert!(end.starts_with("exit /b"), "{name}: {end}");
    }
}

#[test]
fn a_subroutine_is_not_run_into() {
    for (name, text) in batch_files() {
        let called: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.split_once("call :"))
            .filter_map(|(_, rest)| rest.split_whitespace().next())
            .map(str::to_lowercase)
            .collect();
        let mut before = "";
        for line in text.lines() {
            if let Some(label) = line.strip_prefix(':')
                && called.contains(&label.to_lowercase())
            {
                assert!(
                    before.starts_with("exit /b"),
                    "{name}: {line} after {before}"
                );
            }
            if !line.trim().is_empty() {
                before = line;
            }
        }
    }
}

#[test]
fn every_line_for_the_host_is_one_that_it_reads() {
    let mut read = 0;
    for (name, text) in SCRIPTS {
        for line in text
            .lines()
            .filter(|line| line.contains("MISFIRE-PREPARE "))
        {
            let said = line.split_once("echo ").map_or(line, |(_, said)| said);
            let said = said.strip_suffix(">COM2").unwrap_or(said);
            // What variables hold when it runs.
            let said = said
                .replace("%STEP% %STATUS%", "debug 0")
                .replace("%errorlevel%", "1")
                .replace("%AGENT%", "own")
                .replace("%FAILED%", "debug 5")
                .replace("%%v", "Microsoft Windows [Version 10.0.1]");
            assert!(
                crate::prepare::Marker::of(&said).is_some(),
                "{name}: {said}"
            );
            read += 1;
        }
    }
    assert!(read >= 6, "{read}");
}
