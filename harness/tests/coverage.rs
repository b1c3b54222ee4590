//! What the shipped scenarios leave out.

use std::collections::BTreeSet;
use std::path::Path;

use misfire::cli::vocabulary;
use misfire::scenario::Library;
use misfire_device::fault::CATALOGUE;

#[test]
fn every_fault_of_the_catalogue_is_used_by_a_scenario() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let library = Library::open(Some(&root), &[], &vocabulary()).expect("the scenarios are valid");
    let used: BTreeSet<&str> = library
        .scenarios
        .iter()
        .flat_map(|scenario| &scenario.devices)
        .flat_map(|device| &device.faults)
        .map(|fault| fault.name())
        .collect();
    let unused: Vec<&str> = CATALOGUE
        .iter()
        .map(|verb| verb.name)
        .filter(|name| !used.contains(name))
        .collect();
    assert!(unused.is_empty(), "no scenario uses {unused:?}");
}
