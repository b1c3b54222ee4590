//! Answer files of every release, firmware and choice, against the schema.

use roxmltree::{Document, Node};

use super::images;
use super::schema::{COMPONENTS, Holds, PASSES, SINCE_8, fits};
use crate::prepare::windows::answer::Answers;
use crate::prepare::windows::key::published;
use crate::prepare::windows::request::is_key;
use crate::prepare::{Firmware, Release};

const UNATTEND: &str = "urn:schemas-microsoft-com:unattend";
const WCM: &str = "http://schemas.microsoft.com/WMIConfig/2002/State";

/// Every answer file that can come out, with what it is for.
fn all() -> Vec<(Release, Firmware, bool, String)> {
    let mut all = Vec::new();
    for (release, image) in images() {
        for firmware in [Firmware::Bios, Firmware::Uefi] {
            for tpm in [false, true] {
                for key in [None, Some("AAAAA-BBBBB-CCCCC-DDDDD-EEEEE")] {
                    let answers = Answers {
                        image: &image,
                        release,
                        firmware,
                        tpm,
                        key,
                    };
                    all.push((release, firmware, tpm, answers.text()));
                }
            }
        }
    }
    all
}

fn elements<'a, 'b>(node: Node<'a, 'b>) -> impl Iterator<Item = Node<'a, 'b>> {
    node.children().filter(Node::is_element)
}

/// What is wrong below `node` of a component.
fn wrong(node: Node<'_, '_>, path: &str, known: &[(&str, Holds)], found: &mut Vec<String>) {
    for element in elements(node) {
        let name = element.tag_name().name();
        let path = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}/{name}")
        };
        if element.tag_name().namespace() != Some(UNATTEND) {
            found.push(format!("{path} is in another namespace"));
        }
        let Some((_, holds)) = known.iter().find(|(known, _)| *known == path) else {
            found.push(format!("{path} is not known"));
            continue;
        };
        let leaf = !matches!(holds, Holds::Elements | Holds::Item);
        let text: String = element
            .children()
            .filter_map(|child| child.text())
            .collect();
        let text = if leaf {
            text
        } else {
            element
                .children()
                .filter(|child| child.is_text())
                .filter_map(|child| child.text())
                .collect()
        };
        // "This string type does not support empty elements."
        let empty = leaf && text.is_empty();
        if empty || !fits(*holds, &text) || leaf && elements(element).next().is_some() {
            found.push(format!("{path} holds `{text}`, and not {holds:?}"));
        }
        let action = element.attribute((WCM, "action"));
        if (*holds == Holds::Item) != (action == Some("add")) {
            found.push(format!("{path} has the action {action:?}"));
        }
        // A value is said once; only items are repeated.
        let twice = elements(node)
            .filter(|other| other.tag_name() == element.tag_name())
            .count();
        if twice > 1 && *holds != Holds::Item {
            found.push(format!("{path} is there {twice} times"));
        }
        wrong(element, &path, known, found);
    }
}

#[test]
fn every_answer_file_is_well_formed_and_follows_the_schema() {
    for (release, firmware, tpm, text) in all() {
        let document = Document::parse(&text).unwrap();
        assert!(!text.contains('@'), "{release}: {text}");
        let root = document.root_element();
        assert_eq!(root.tag_name(), (UNATTEND, "unattend").into());
        let mut found = Vec::new();
        let mut passes = Vec::new();
        for settings in elements(root) {
            assert_eq!(settings.tag_name().name(), "settings");
            let pass = settings.attribute("pass").unwrap();
            passes.push(PASSES.iter().position(|known| *known == pass).unwrap());
            for component in elements(settings) {
                let name = component.attribute("name").unwrap();
                let known = COMPONENTS.iter().find(|known| known.name == name);
                let known = known.unwrap_or_else(|| panic!("{name}"));
                assert!(known.passes.contains(&pass), "{name} has no part in {pass}");
                for (attribute, value) in [
                    ("processorArchitecture", "amd64"),
                    ("publicKeyToken", "31bf3856ad364e35"),
                    ("language", "neutral"),
                    ("versionScope", "nonSxS"),
                ] {
                    assert_eq!(component.attribute(attribute), Some(value), "{name}");
                }
                wrong(component, "", known.elements, &mut found);
            }
        }
        assert!(passes.is_sorted_by(|a, b| a < b), "{passes:?}");
        assert!(
            found.is_empty(),
            "{release}, {firmware:?}, tpm {tpm}: {found:#?}"
        );
    }
}

#[test]
fn the_schema_finds_what_is_wrong() {
    let (.., good) = &all()[0];
    let component = "Microsoft-Windows-Shell-Setup";
    for (from, to, complaint) in [
        (
            "<LogonCount>999999<",
            "<LogonCount>many<",
            "LogonCount holds",
        ),
        (
            "<HideEULAPage>true</HideEULAPage>",
            "<HideEula>true</HideEula>",
            "HideEula is not known",
        ),
        (
            "<SynchronousCommand wcm:action=\"add\">",
            "<SynchronousCommand>",
            "has the action None",
        ),
    ] {
        let text = good.replace(from, to);
        assert_ne!(text, *good, "{from}");
        let document = Document::parse(&text).unwrap();
        let known = COMPONENTS
            .iter()
            .find(|known| known.name == component)
            .unwrap();
        let mut found = Vec::new();
        for node in document
            .descendants()
            .filter(|n| n.attribute("name") == Some(component))
        {
            wrong(node, "", known.elements, &mut found);
        }
        assert!(
            found.iter().any(|said| said.contains(complaint)),
            "{found:?}"
        );
    }
}

#[test]
fn orders_count_from_one_without_a_gap() {
    for (.., text) in all() {
        let document = Document::parse(&text).unwrap();
        for list in document.descendants() {
            let orders: Vec<u32> = elements(list)
                .flat_map(|item| elements(item).find(|e| e.has_tag_name("Order")))
                .map(|order| order.text().unwrap().parse().unwrap())
                .collect();
            assert!(
                orders.iter().copied().eq(1..=orders.len() as u32),
                "{orders:?}"
            );
        }
    }
}

/// The value of the first element of this name.
fn value(text: &str, name: &str) -> Option<String> {
    let document = Document::parse(text).unwrap();
    let node = document
        .descendants()
        .find(|node| node.has_tag_name((UNATTEND, name)))?;
    Some(node.text().unwrap_or_default().to_owned())
}

#[test]
fn the_system_goes_to_the_partition_that_was_made_for_it() {
    for (_, firmware, _, text) in all() {
        let document = Document::parse(&text).unwrap();
        let to = document
            .descendants()
            .find(|node| node.has_tag_name((UNATTEND, "InstallTo")))
            .unwrap();
        let id = elements(to)
            .find(|e| e.has_tag_name((UNATTEND, "PartitionID")))
            .unwrap()
            .text();
        let modified = document
            .descendants()
            .filter(|n| n.has_tag_name((UNATTEND, "ModifyPartition")));
        let ntfs: Vec<_> = modified
            .filter(|n| elements(*n).any(|e| e.text() == Some("NTFS")))
            .filter_map(|n| elements(n).find(|e| e.has_tag_name((UNATTEND, "PartitionID"))))
            .map(|id| id.text())
            .collect();
        assert_eq!(ntfs, [id]);
        assert_eq!(text.contains("<Active>true"), firmware == Firmware::Bios);
        assert_eq!(value(&text, "Value").as_deref(), Some("6"));
    }
}

#[test]
fn only_windows_11_is_told_not_to_look_for_what_the_machine_lacks() {
    for (release, _, tpm, text) in all() {
        let checks = text.matches("LabConfig").count();
        let expected = match (release, tpm) {
            (Release::Eleven, false) => 5,
            (Release::Eleven, true) => 4,
            _ => 0,
        };
        assert_eq!(checks, expected, "{release}, tpm {tpm}");
        assert_eq!(text.contains("BypassTPMCheck"), checks == 5);
    }
}

#[test]
fn each_edition_has_the_key_that_is_published_for_it_and_evaluations_have_none() {
    let key = |name: &str, release: Release| {
        let (_, mut image) = images().into_iter().find(|(of, _)| *of == release).unwrap();
        image.edition = name.into();
        published(release, &image)
    };
    let first = |key: Option<&str>| key.and_then(|key| key.split('-').next()).map(str::to_owned);
    for (edition, release, group) in [
        ("Professional", Release::Eleven, Some("W269N")),
        ("Professional", Release::Ten, Some("W269N")),
        ("ServerStandard", Release::Server2025, Some("TVRH6")),
        ("ServerStandardCore", Release::Server2016, Some("WC2BQ")),
        ("ServerDatacenter", Release::Server2022, Some("WX4NM")),
        ("ServerStandardEval", Release::Server2022, None),
        ("EnterpriseEval", Release::Eleven, None),
        ("Core", Release::Eleven, None),
        ("Professional", Release::Seven, None),
    ] {
        let found = key(edition, release);
        assert_eq!(first(found).as_deref(), group, "{edition}, {release}");
        assert!(found.is_none_or(is_key), "{found:?}");
    }
    for (.., text) in all() {
        assert_eq!(
            text.contains("<Key>AAAAA"),
            text.matches("<Key>").count() == 2,
            "{text}"
        );
    }
}

#[test]
fn windows_7_is_asked_for_nothing_that_it_does_not_know() {
    for (release, .., text) in all() {
        let newer = SINCE_8
            .iter()
            .any(|path| text.contains(path.rsplit('/').next().unwrap()));
        assert_eq!(newer, release != Release::Seven, "{release}");
    }
}

#[test]
fn every_image_has_its_release_and_others_are_refused_with_the_reason() {
    for (release, image) in images() {
        assert_eq!(Release::of(&image).unwrap(), release);
        assert_eq!(release.wants_tpm(), release == Release::Eleven);
    }
    for (kind, build, why) in [
        ("Client", 7600, "without Service Pack 1"),
        ("Client", 9600, "build 9600 is none of"),
        ("Server", 9200, "build 9200 is none of"),
    ] {
        let error = Release::of(&super::image("It", kind, build)).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let mut arm = super::image("It", "Client", 26_100);
    arm.architecture = "arm64";
    assert!(Release::of(&arm).unwrap_err().to_string().contains("ARM64"));
}
