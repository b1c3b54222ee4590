//! A preparation that is cut off at any stage and started again goes on from there.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use misfire::prepare::{Record, Stage, WindowsError};

use crate::case::Case;
use crate::killed::Killed;

/// Where it was cut off, what makes the stand-in wait there, and where it goes on.
const CUTS: [(Stage, &str, Stage); 7] = [
    (Stage::Setup, "-DSTOP=1", Stage::Media),
    (Stage::Copy, "-DSTOP=2", Stage::Media),
    (Stage::Specialize, "-DSTOP=3", Stage::Specialize),
    (Stage::Logon, "-DSTOP=4", Stage::Logon),
    (Stage::Settings, "-DSTOP=5", Stage::Settings),
    (Stage::Shutdown, "-DSTOP=6", Stage::Shutdown),
    (Stage::Check, "-DSTOP=7", Stage::Check),
];

/// Starts the command and kills it, and nothing else, when it is at this stage.
fn cut_off(case: &Case, at: Stage) {
    let path = |name: &str| case.folder.path().join(name);
    let child = Command::new(cargo_bin("misfire"))
        .args(["prepare", "windows", "--accel", "tcg"])
        .args(["--firmware", "bios", "--memory", "512", "--processors", "1"])
        .args(["--size", "1"])
        .arg("--iso")
        .arg(path("win.iso"))
        .arg("--out")
        .arg(&case.request.out)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let said = BufReader::new(child.stderr.take().unwrap());
    let lines = said.lines().map(Result::unwrap);
    let end = format!("prepare: {}", at.doing());
    let before: Vec<String> = lines.take_while(|line| *line != end).collect();
    assert_eq!(case.stage(), at, "{before:#?}");
    drop(child);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preparation_that_is_killed_at_any_stage_goes_on_from_there_and_is_checked() {
    let cuts = CUTS.map(|(at, stop, from)| {
        tokio::spawn(async move {
            let mut case = Case::new(&[stop]);
            let cut = tokio::task::spawn_blocking(move || {
                cut_off(&case, at);
                case
            });
            case = cut.await.unwrap();
            // On a machine with more it does not wait.
            case.request.memory = Some(640);
            let (made, told) = case.prepare(None).await;
            assert!(made.is_ok(), "{at:?}: {made:?}, {told:#?}");
            assert_eq!(told[0], format!("going on where {}", from.doing()));
            assert_eq!(told.last().unwrap(), "the image is ready", "{told:#?}");
            // What was done before is not done again, and everything after it is, once.
            for stage in Stage::ALL.into_iter().skip(1) {
                let times = told.iter().filter(|line| *line == stage.doing()).count();
                assert_eq!(
                    times,
                    usize::from(stage > from),
                    "{at:?}, {stage:?}: {told:#?}"
                );
            }
            // Nothing is noted twice, whoever heard it.
            let said = Record::of(&case.request.out).unwrap().unwrap().said;
            let agents = said.iter().filter(|line| *line == "agent own").count();
            assert_eq!(agents, 1, "{said:?}");
        })
    });
    for cut in cuts {
        cut.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_there_of_a_preparation_is_used_as_far_as_it_goes() {
    let case = Case::new(&["-DANEW", "-DMUTE"]);
    let at_once = Some((Stage::Setup, Duration::ZERO));
    let (made, _) = case.prepare(at_once).await;
    assert!(matches!(made, Err(WindowsError::Late { .. })), "{made:?}");
    // It was killed while the disk was made.
    let record = Record::beside(&case.request.out);
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace("\"setup\"", "\"media\"")).unwrap();
    std::fs::write(&case.request.out, "half a disk").unwrap();
    assert_eq!(case.stage(), Stage::Media);
    let (made, told) = case.prepare(None).await;
    let guest = made.unwrap_or_else(|error| panic!("{error}: {told:#?}"));
    assert_eq!(told[0], "going on where the disk is made");
    // A firmware that starts the machine anew is no Setup that has come to its end; one that says nothing is seen by
    // what it has written.
    let setup = told.iter().position(|line| line == "Setup starts").unwrap();
    let end = told
        .iter()
        .position(|line| line == Stage::Specialize.doing());
    assert!(setup < end.unwrap(), "{told:#?}");

    std::fs::remove_file(&guest).unwrap();
    let (made, told) = case.prepare(None).await;
    assert_eq!(made.unwrap(), guest);
    assert_eq!(told[0], "going on where the image is checked");
    assert!(guest.is_file());

    std::fs::remove_file(&case.request.out).unwrap();
    let (made, told) = case.prepare(at_once).await;
    assert!(matches!(made, Err(WindowsError::Late { .. })), "{made:?}");
    assert_eq!(told[0], "the image that was begun is gone: it is made anew");
    assert!(told.iter().any(|line| line == "Setup starts"), "{told:#?}");
}
