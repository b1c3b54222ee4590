//! What the documents say, held against the program.

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
