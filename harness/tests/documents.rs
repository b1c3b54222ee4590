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
    std::fs::write(dir.path().join("virtio_blk.ko"), "").unwrap();
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
    assert_eq!(names, ["mine", "bios"]);
}
