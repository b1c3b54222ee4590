//! What the documents say, held against the program.

use misfire::guest::{GuestFile, guest_schema};
use misfire::scenario::{Scenario, read, schema};

#[test]
fn every_key_of_a_scenario_is_described() {
    let text = include_str!("../../docs/scenarios.md");
    let schema = schema();
    for table in [
        "/properties",
        "/properties/device/anyOf/0/properties",
        "/$defs/GuestFile/properties",
        "/$defs/StepFile/properties",
        "/$defs/ExpectFile/properties",
    ] {
        let keys = schema.pointer(table).unwrap().as_object().unwrap().keys();
        for key in keys {
            assert!(text.contains(key.as_str()), "`{key}` of {table}");
        }
    }
}

/// What the example that begins so means, for a disk.
fn example(beginning: &str) -> Vec<Scenario> {
    let text = include_str!("../../docs/scenarios.md");
    let example = text
        .split("```toml\n")
        .find(|part| part.starts_with(beginning))
        .and_then(|part| part.split("```").next())
        .unwrap();
    let file = format!("title = \"t\"\n[device]\nkind = \"block\"\n{example}");
    let path = std::path::Path::new("a/b.toml");
    read(path, "a/b", &file, &misfire::cli::vocabulary()).unwrap()
}

#[test]
fn the_example_of_a_variant_is_a_scenario() {
    assert_eq!(example("[[variant]]")[1].name, "a/b@no-read-back");
}

#[test]
fn the_example_of_a_matrix_is_one() {
    assert_eq!(example("[matrix.device]").len(), 24);
}

#[test]
fn the_example_of_a_load_in_the_background_is_a_scenario() {
    assert!(example("[[fault]]")[0].steps[0].background);
}

#[test]
fn every_key_of_a_guest_file_is_described() {
    let text = include_str!("../../docs/guests.md");
    let schema = guest_schema();
    let sections = schema["$defs"].as_object().unwrap().values();
    let tables = sections.chain([&schema]);
    for keys in tables.filter_map(|table| table["properties"].as_object()) {
        for key in keys.keys() {
            let is_described =
                text.contains(&format!("| `{key}` |")) || text.contains(&format!("### `[{key}]`"));
            assert!(is_described, "`{key}`");
        }
    }
}

#[test]
fn the_examples_of_guest_files_are_guests() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["virtio_blk.ko", "root.qcow2"] {
        std::fs::write(dir.path().join(file), "").unwrap();
    }
    let text = include_str!("../../docs/guests.md");
    let examples = text.split("```toml\n").skip(1);
    let names: Vec<String> = examples
        .map(|rest| rest.split("```").next().unwrap())
        .map(|example| {
            GuestFile::read(&dir.path().join("my.toml"), example)
                .unwrap()
                .name
        })
        .collect();
    assert_eq!(names, ["mine", "disk", "bios"]);
}

/// The predictions of docs/windows.md: number, driver, scenario, and what comes out of it there.
fn predictions() -> Vec<[String; 4]> {
    let text = include_str!("../../docs/windows.md");
    let is_row = |line: &&str| {
        let number = line.strip_prefix("| P");
        number.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let rows = text.lines().filter(is_row);
    rows.map(|row| {
        let cells: Vec<String> = row
            .split('|')
            .map(|cell| cell.replace('`', "").trim().to_owned())
            .collect();
        [1, 2, 4, 5].map(|n| cells[n].clone())
    })
    .collect()
}

/// How what is predicted of a driver differs from what a correct one does.
fn deviation(scenario: &Scenario, driver: &str) -> Option<String> {
    const GUEST: &str = "windows";
    let expect = &scenario.expect;
    let (base, known) = (expect.of(GUEST), expect.known(driver, GUEST)?);
    let mut words = Vec::new();
    words.extend(
        known
            .outcome
            .filter(|_| known.outcome != base.outcome)
            .map(|o| o.to_string()),
    );
    if known.interrupts != base.interrupts {
        words.push(format!(
            "interrupts {}",
            misfire::verdict::joined(&known.interrupts)
        ));
    }
    words.extend(
        known
            .io
            .filter(|_| known.io != base.io)
            .map(|io| format!("io {io}")),
    );
    for (what, rules) in [("breaks", &known.broken), ("noted", &known.warn)] {
        if !rules.is_empty() {
            words.push(format!("{what} {}", rules.join(", ")));
        }
    }
    Some(words.join("; "))
}

#[test]
fn every_prediction_for_virtio_win_stands_in_the_scenario_that_the_document_names() {
    const REVISION: &str = "fbcc19d7";
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let library =
        misfire::scenario::Library::open(Some(&root), &[], &misfire::cli::vocabulary()).unwrap();
    let predictions = predictions();
    let mut numbers: Vec<usize> = predictions
        .iter()
        .map(|row| row[0][1..].parse().unwrap())
        .collect();
    assert!(numbers.is_sorted());
    numbers.dedup();
    assert_eq!(numbers, (1..=22).collect::<Vec<_>>());
    let mut named = std::collections::BTreeSet::new();
    for [number, driver, scenario, comes_out] in &predictions {
        if scenario == "–" {
            assert!(!comes_out.is_empty(), "{number} has no reason");
            continue;
        }
        let found = library.scenarios.iter().find(|s| s.name == *scenario);
        let found = found.unwrap_or_else(|| panic!("{number}: there is no scenario {scenario}"));
        let predicted = deviation(found, &format!("{driver}@{REVISION}"));
        assert_eq!(
            predicted.as_deref(),
            Some(comes_out.as_str()),
            "{number}, {driver}, {scenario}"
        );
        named.insert((driver.clone(), scenario.clone()));
    }
    for scenario in &library.scenarios {
        for known in &scenario.expect.known {
            let Some((driver, REVISION)) = known.driver.split_once('@') else {
                continue;
            };
            let here = (driver.to_owned(), scenario.name.clone());
            assert!(named.contains(&here), "{here:?} is not in the table");
        }
    }
}

#[test]
fn every_command_and_flag_that_the_document_on_windows_names_is_there() {
    let text = include_str!("../../docs/windows.md");
    let help = |args: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("misfire").unwrap();
        let output = command.args(args).arg("--help").output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let commands = [
        &["prepare", "windows"][..],
        &["doctor"],
        &["run"],
        &["kd"],
        &["schema"],
        &["inf"],
    ];
    let all: String = commands.iter().map(|args| help(args)).collect();
    let is_letter = |c: char| c.is_ascii_lowercase() || c == '-';
    for (at, _) in text.match_indices(" --").chain(text.match_indices("`--")) {
        let flag = &text[at + 1..];
        let flag = &flag[..flag.find(|c| !is_letter(c)).unwrap_or(flag.len())];
        assert!(all.contains(flag), "{flag}");
    }
    for (at, _) in text.match_indices("misfire ") {
        let verb = text[at + 8..].split([' ', '`']).next().unwrap_or_default();
        let known = |args: &&[&str]| args[0] == verb;
        let is_command = text[..at].ends_with(['`', ' ']) && !verb.starts_with(char::is_uppercase);
        assert!(!is_command || commands.iter().any(known), "misfire {verb}");
    }
    // Patterns mean what the document says that they mean.
    for meaning in misfire::log::driver::MEANINGS {
        assert!(
            text.contains(&format!("`{}`", meaning.word)),
            "{}",
            meaning.word
        );
    }
}
