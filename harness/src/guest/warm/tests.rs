use super::*;
use std::time::Duration;

const KIND: Kind = Kind {
    memory: "state",
    beside: "pipes",
    most: 2,
};
const OTHER: Kind = Kind {
    memory: "memory",
    beside: "qcow2",
    most: 2,
};

fn read(beside: &Path) -> Option<String> {
    fs::read_to_string(beside)
        .ok()
        .filter(|text| text != "damaged")
}

/// Makes a state as a machine would.
fn make(making: &Making<String>) {
    fs::write(&making.beside, "beside").unwrap();
    fs::write(&making.memory, "memory").unwrap();
}

/// The state, and whether it was there.
async fn get(kind: Kind, folder: &Path, stem: &str) -> (Kept<String>, bool) {
    match kind.find(folder, stem, read).await.unwrap() {
        Found::Kept(kept) => (kept, true),
        Found::Missing(making) => {
            // Others have their turn.
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            make(&making);
            (making.kept().await.unwrap(), false)
        }
    }
}

async fn state(kind: Kind, folder: &Path, stem: &str) -> Kept<String> {
    get(kind, folder, stem).await.0
}

async fn found(kind: Kind, folder: &Path, stem: &str) -> bool {
    let (kept, found) = get(kind, folder, stem).await;
    assert_eq!(fs::read_to_string(&kept.memory).unwrap(), "memory");
    assert_eq!(kept.beside, "beside");
    found
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Has it that a state was used so long ago.
fn aged(folder: &Path, stem: &str, seconds: u64) {
    let memory = File::open(folder.join(format!("{stem}.state"))).unwrap();
    let then = SystemTime::now() - Duration::from_secs(seconds);
    memory.set_modified(then).unwrap();
}

#[tokio::test]
async fn a_state_is_made_once_and_found_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("states");
    assert!(!found(KIND, &folder, "a-6.12").await);
    assert!(found(KIND, &folder, "a-6.12").await);
    assert_eq!(
        names(&folder),
        ["a-6.12.lock", "a-6.12.pipes", "a-6.12.state"]
    );
}

#[tokio::test]
async fn one_that_lacks_a_file_or_has_a_damaged_one_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    for end in ["state", "pipes"] {
        state(KIND, dir.path(), "a").await;
        fs::remove_file(dir.path().join(format!("a.{end}"))).unwrap();
        assert!(!found(KIND, dir.path(), "a").await, "{end}");
    }
    fs::write(dir.path().join("a.pipes"), "damaged").unwrap();
    assert!(!found(KIND, dir.path(), "a").await);
}

#[tokio::test]
async fn of_one_that_cannot_be_made_nothing_stays_but_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let Found::Missing(making) = KIND.find(dir.path(), "a", read).await.unwrap() else {
        panic!("it is not there");
    };
    make(&making);
    assert_eq!(names(dir.path()).len(), 3);
    drop(making);
    assert_eq!(names(dir.path()), ["a.lock"]);
    // Whoever tidies removes that too.
    state(KIND, dir.path(), "b").await;
    assert_eq!(names(dir.path()), ["b.lock", "b.pipes", "b.state"]);
}

#[tokio::test]
async fn whoever_wants_the_same_one_waits_until_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = tokio::join!(get(KIND, dir.path(), "a"), get(KIND, dir.path(), "a"));
    assert_eq!(one.0.memory, other.0.memory);
    assert_ne!(one.1, other.1);
}

#[tokio::test]
async fn those_that_were_not_used_for_the_longest_time_are_removed_unless_somebody_uses_them() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let in_use = state(KIND, folder, "a").await;
    aged(folder, "a", 300);
    drop(state(KIND, folder, "b").await);
    aged(folder, "b", 200);
    drop(state(KIND, folder, "c").await);
    aged(folder, "c", 100);
    // The oldest is used, and the next one is not surplus.
    assert!(in_use.memory.exists());
    assert!(found(KIND, folder, "b").await);
    drop(in_use);
    aged(folder, "a", 300);
    aged(folder, "c", 250);
    drop(state(KIND, folder, "d").await);
    let left = names(folder);
    let stems: Vec<&str> = left
        .iter()
        .filter_map(|name| name.strip_suffix(".state"))
        .collect();
    assert_eq!(stems, ["b", "d"]);
    assert_eq!(left.len(), 6, "{left:?}");
}

#[tokio::test]
async fn what_killed_processes_left_is_removed_and_what_is_being_made_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let write = |name: &str| fs::write(folder.join(name), "x").unwrap();
    for name in [
        "gone.partial-1",
        "gone.lock",
        "half.qcow2",
        "half.partial-7",
        "lost.memory",
        "alone.lock",
        "making.qcow2",
        "making.partial-9",
        "making.lock",
        "theirs.pipes",
        "no_state",
    ] {
        write(name);
    }
    let makes = File::open(folder.join("making.lock")).unwrap();
    flock(&makes, FlockOperation::LockExclusive).unwrap();
    drop(state(OTHER, folder, "new").await);
    assert_eq!(
        names(folder),
        [
            "making.lock",
            "making.partial-9",
            "making.qcow2",
            "new.lock",
            "new.memory",
            "new.qcow2",
            "no_state",
            // Of another kind, which knows whether it is of use.
            "theirs.pipes",
        ]
    );
}

#[tokio::test]
async fn kinds_that_share_a_folder_leave_each_other_alone() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..3 {
        drop(state(KIND, dir.path(), &format!("linux-{number}")).await);
        drop(state(OTHER, dir.path(), &format!("windows-{number}")).await);
    }
    let count = |end: &str| {
        let names = names(dir.path());
        names.iter().filter(|name| name.ends_with(end)).count()
    };
    assert_eq!((count("state"), count("memory"), count("lock")), (2, 2, 4));
}

#[tokio::test]
async fn a_lock_that_was_removed_while_it_was_waited_for_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.lock");
    let removed = open_lock(&path).unwrap();
    flock(&removed, FlockOperation::LockExclusive).unwrap();
    let waits = tokio::spawn(lock(path.clone(), Use::Alone));
    tokio::task::yield_now().await;
    fs::remove_file(&path).unwrap();
    drop(removed);
    let held = waits.await.unwrap().unwrap();
    assert!(is_at(&held, &path));
}
