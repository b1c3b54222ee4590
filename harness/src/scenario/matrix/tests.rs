//! What a matrix expands to, and what is refused.

use std::path::Path;

use crate::scenario::{Scenario, Vocabulary, read};

fn file(rest: &str) -> Result<Vec<Scenario>, String> {
    let text = format!("title = \"t\"\n[device]\nkind = \"block\"\n{rest}");
    let read = read(Path::new("a/b.toml"), "a/b", &text, &Vocabulary::default());
    read.map_err(|problems| problems[0].message.clone())
}

fn names(rest: &str) -> Vec<String> {
    let scenarios = file(rest).unwrap();
    scenarios.iter().map(|s| s.name.clone()).collect()
}

#[test]
fn there_is_a_scenario_for_each_combination_and_none_twice() {
    let names = names("[matrix.device]\nqueues = [1, 2]\nmsix = [2, \"queues+1\", \"queues\"]\n");
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        [
            "a/b@msix=1,queues=1",
            "a/b@msix=2,queues=1",
            "a/b@msix=2,queues=2",
            "a/b@msix=3,queues=2",
        ],
        "{names:?}"
    );
}

#[test]
fn the_values_are_those_of_the_device_and_of_the_guest() {
    let read = file(
        "[matrix]\ndevice.pin = [false]\ndevice.queues = [4]\nguest.os = [\"win7\", \"win8\"]\n",
    );
    let read = read.unwrap();
    assert_eq!(read[1].name, "a/b@guest.os=win8,pin=false,queues=4");
    assert_eq!(read[1].cell(), Some("guest.os=win8,pin=false,queues=4"));
    let shape = &read[1].devices[0].shape;
    assert_eq!((shape.queues, shape.pin), (4, false));
    assert_eq!(read[1].guest.command_line(), "os=win8");
    assert!(read[1].snapshot().ends_with("snapshots/b.snap"));
}

#[test]
fn cases_are_laid_over_the_cells_that_they_are_about_in_their_order() {
    let read = file(
        "[matrix.device]\nqueues = [2]\nmsix = [0, 1, 2, 3]\npin = [true, false]\n\
         [expect]\noutcome = \"started\"\n\
         [[case]]\nwhen = { msix = \"..queues\" }\nexpect = { outcome = \"wedged\" }\n",
    );
    assert!(read.unwrap_err().contains("is no end of a range"));
    let read = file(
        "[matrix.device]\nqueues = [2]\nmsix = [0, 1, 2, 3]\npin = [true, false]\n\
         [expect]\noutcome = \"started\"\n\
         [[case]]\nwhen = { msix = \"0..queues\" }\nexpect = { outcome = \"degraded\" }\n\
         [[case]]\nwhen = { msix = [0, 7], pin = false }\nexpect = { outcome = \"refused\" }\n\
         [[case]]\nwhen = { msix = \"queues+1..\" }\nguest = { os = \"win7\" }\n",
    )
    .unwrap();
    let of = |cell: &str| {
        let found = read.iter().find(|s| s.cell() == Some(cell)).unwrap();
        let outcome = found.expect.of("reference").outcome.unwrap().to_string();
        (outcome, found.guest.command_line())
    };
    assert_eq!(of("msix=0,pin=true,queues=2").0, "degraded");
    assert_eq!(of("msix=0,pin=false,queues=2").0, "refused");
    assert_eq!(of("msix=2,pin=false,queues=2").0, "degraded");
    assert_eq!(
        of("msix=3,pin=true,queues=2"),
        ("started".into(), "os=win7".into())
    );
}

#[test]
fn what_can_not_be_is_refused() {
    for (rest, words) in [
        (
            "[matrix]\ndevice.queues = 2\n",
            "`device.queues`: expected a list of values",
        ),
        ("[matrix]\n", "the matrix has no list of values"),
        ("matrix = 1\n", "unknown key `matrix`"),
        (
            "[matrix.device]\nqueues = []\n",
            "expected a list of values",
        ),
        (
            "[matrix.device]\nqueues = [1.5]\n",
            "expected a number, a word",
        ),
        (
            "[matrix.device]\nkind = [\"a/b\"]\n",
            "expected a word of letters",
        ),
        (
            "[matrix.device]\nqueues = [\"queues+1\"]\n",
            "`queues` is not an axis",
        ),
        (
            "[matrix.device]\nqueues = [99999]\n",
            "(in the cell queues=99999)",
        ),
        ("[matrix.device]\nquues = [1]\n", "unknown key `quues`"),
        (
            "[[case]]\nwhen = { msix = 1 }\n",
            "a [[case]] is about cells of a [matrix]",
        ),
        (
            "[matrix.device]\nqueues = [1]\n[[case]]\nwhen = { msix = 1 }\n",
            "the matrix has no axis `msix`",
        ),
        (
            "[matrix.device]\nqueues = [1]\n[[case]]\nwhen = { queues = 2 }\n",
            "no cell of the matrix is like this",
        ),
        (
            "[matrix.device]\nqueues = [1]\n[[case]]\n",
            "a [[case]] needs a `when`",
        ),
        (
            "[matrix.device]\nqueues = [1]\n[[variant]]\nname = \"a\"\n",
            "variants or a matrix, not both",
        ),
    ] {
        let message = file(rest).unwrap_err();
        assert!(message.contains(words), "{rest}: {message}");
    }
}

#[test]
fn a_matrix_has_no_more_than_so_many_cells() {
    let list: Vec<String> = (1..=33).map(|n| n.to_string()).collect();
    let list = list.join(", ");
    let text = format!("[matrix.device]\nqueues = [{list}]\nmsix = [{list}]\n");
    assert!(file(&text).unwrap_err().contains("more than 1024 cells"));
}
