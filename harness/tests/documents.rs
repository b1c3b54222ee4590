//! What the documents say, held against the program.

use misfire::scenario::schema;

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

#[test]
fn the_example_of_a_variant_is_a_scenario() {
    let text = include_str!("../../docs/scenarios.md");
    let example = text
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let file = format!("title = \"t\"\n[device]\nkind = \"block\"\n{example}");
    let path = std::path::Path::new("a/b.toml");
    let read = misfire::scenario::read(path, "a/b", &file, &misfire::cli::vocabulary()).unwrap();
    assert_eq!(read[1].name, "a/b@no-read-back");
}

#[test]
fn the_example_of_a_matrix_is_one() {
    let text = include_str!("../../docs/scenarios.md");
    let example = text
        .split("```toml\n")
        .find(|part| part.starts_with("[matrix.device]"))
        .and_then(|part| part.split("```").next())
        .unwrap();
    let file = format!("title = \"t\"\n[device]\nkind = \"block\"\n{example}");
    let path = std::path::Path::new("a/b.toml");
    let read = misfire::scenario::read(path, "a/b", &file, &misfire::cli::vocabulary()).unwrap();
    assert_eq!(read.len(), 24);
}
