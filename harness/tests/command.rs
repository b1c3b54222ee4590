//! The command as it is typed: what it prints, and its exit status. No machine is started here.

use std::fs;
use std::path::Path;

use assert_cmd::Command;

fn misfire(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("misfire").unwrap();
    command.current_dir(dir).env("NO_COLOR", "1");
    command
}

const GOOD: &str = "title = \"Nothing goes wrong\"\n[device]\nkind = \"block\"\n";

/// A folder with these files under `scenarios/`.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join("scenarios").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// Standard output, standard error, exit status.
fn run(dir: &Path, args: &[&str]) -> (String, String, i32) {
    let output = misfire(dir).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap(),
    )
}

#[test]
fn scenarios_are_listed_with_their_variants_from_a_folder_below() {
    let text = format!("{GOOD}[[variant]]\nname = \"worse\"\ntitle = \"Something does\"\n");
    let dir = folder(&[
        ("a/one.toml", &text),
        ("b/two.toml", GOOD),
        ("guests/x.toml", "?"),
    ]);
    let below = dir.path().join("below");
    fs::create_dir(&below).unwrap();
    let (out, _, status) = run(&below, &["list"]);
    assert_eq!(status, 0);
    let names: Vec<&str> = out.lines().map(|l| l.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["a/one", "a/one@worse", "b/two"]);
}

#[test]
fn names_globs_and_paths_choose() {
    let text = format!("{GOOD}[[variant]]\nname = \"worse\"\n");
    let dir = folder(&[
        ("a/one.toml", &text),
        ("a/two.toml", GOOD),
        ("b/two.toml", GOOD),
    ]);
    for (args, expected) in [
        (&["a/one"][..], &["a/one", "a/one@worse"][..]),
        (&["a/one@worse"], &["a/one@worse"]),
        (&["a/*"], &["a/one", "a/one@worse", "a/two"]),
        (&["*/two"], &["a/two", "b/two"]),
        (&["a"], &["a/one", "a/one@worse", "a/two"]),
        (&["scenarios/b/two.toml"], &["b/two"]),
        (&["--partition", "1/2"], &["a/one", "a/two"]),
        (&["--partition", "2/2"], &["a/one@worse", "b/two"]),
    ] {
        let (out, err, status) = run(dir.path(), &[&["list"], args].concat());
        assert_eq!(status, 0, "{err}");
        let names: Vec<&str> = out.lines().map(|l| l.split(' ').next().unwrap()).collect();
        assert_eq!(names, expected, "{args:?}");
    }
}

#[test]
fn the_cells_of_a_matrix_are_chosen_by_their_values() {
    let text = format!("{GOOD}[matrix.device]\nqueues = [1, 2]\nmsix = [1, 16, 17]\n");
    let dir = folder(&[("a/one.toml", &text), ("a/two.toml", GOOD)]);
    for (pattern, expected) in [
        ("a/one", 6),
        ("one@queues=2", 0),
        ("a/one@queues=2", 3),
        ("a/*@queues=2,msix=1", 1),
        ("a/one@msix=1*", 6),
        ("a/one@msix=1?,queues=1", 2),
        ("a/one@msix=1,queues=1", 1),
        ("a/one@pin=true", 0),
    ] {
        let (out, err, status) = run(dir.path(), &["list", pattern]);
        assert_eq!(status == 0, expected > 0, "{pattern}: {err}");
        assert_eq!(out.lines().count(), expected, "{pattern}: {out}");
    }
    fs::create_dir_all(dir.path().join("scenarios/a/snapshots")).unwrap();
    let table = dir.path().join("scenarios/a/snapshots/one.snap");
    fs::write(table, "---\nsource: x\n---\nmsix=3,queues=1: started\n").unwrap();
    let (_, err, status) = run(dir.path(), &["check"]);
    assert_eq!(status, 2);
    assert!(err.contains("a line without a scenario"), "{err}");
}

#[test]
fn what_is_wrong_ends_with_status_2_and_names_file_and_line() {
    let twice = format!("{GOOD}[[variant]]\nname = \"v\"\n[[variant]]\nname = \"v\"\n");
    for (files, args, words) in [
        (
            &[("a/one.toml", "title = 1\n")][..],
            &["check"][..],
            &["one.toml:1:9", "expected a string"][..],
        ),
        (
            &[("a/one.toml", &twice)],
            &["check"],
            &["one.toml:7:8", "two scenarios are called `a/one@v`"],
        ),
        (
            &[("a/one.toml", GOOD), ("a/snapshots/onne.snap", "")],
            &["list"],
            &[
                "onne.snap",
                "a snapshot without a scenario",
                "the nearest scenario is `a/one`",
            ],
        ),
        (
            &[("a/one.toml", GOOD)],
            &["list", "a/onne"],
            &["no scenario has this name", "did you mean `a/one`?"],
        ),
        (&[("a/one.toml", GOOD)], &["list", "a/["], &["a/["]),
        (
            &[("a/one.toml", GOOD)],
            &["list", "nowhere.toml"],
            &["nowhere.toml", "can't be read"],
        ),
        (
            &[("a/one.toml", GOOD)],
            &["list", "--partition", "3/2"],
            &["is not a partition"],
        ),
        (
            &[("a/note.txt", "")],
            &["list"],
            &["no scenario in this folder"],
        ),
        (
            &[("a/one.toml", GOOD)],
            &["explain", "VIO-RST-0"],
            &[
                "no rule, fault or mistake is called `VIO-RST-0`",
                "VIO-RST-001",
            ],
        ),
        (
            &[("a/one.toml", GOOD)],
            &["replay", "nothing.jsonl"],
            &["nothing.jsonl can't be replayed"],
        ),
        (
            &[("a/one.toml", GOOD)],
            &["lst"],
            &["unrecognized subcommand 'lst'"],
        ),
    ] {
        let dir = folder(files);
        let (_, err, status) = run(dir.path(), args);
        assert_eq!(status, 2, "{args:?}: {err}");
        let flat = err.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(flat.contains(word), "{word:?} in {err}");
        }
    }
}

#[test]
fn two_files_that_give_one_name_are_refused() {
    let dir = folder(&[("a/one.toml", GOOD)]);
    let other = dir.path().join("elsewhere/a");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("one.toml"), GOOD).unwrap();
    let (_, err, status) = run(dir.path(), &["check", "a/one", "elsewhere/a/one.toml"]);
    assert_eq!(status, 2);
    let flat = err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("two scenarios are called `a/one`"), "{err}");
}

#[test]
fn a_file_that_is_given_twice_is_read_once() {
    let dir = folder(&[("a/one.toml", GOOD)]);
    std::os::unix::fs::symlink("one.toml", dir.path().join("scenarios/a/link.toml")).unwrap();
    let file = "scenarios/a/one.toml";
    for args in [
        &[file, file][..],
        &[file, "./scenarios/../scenarios/a/one.toml"],
        &[file, "scenarios/a/link.toml"],
        &["a/one", file],
    ] {
        let (out, err, status) = run(dir.path(), &[&["list"], args].concat());
        assert_eq!(
            (out.lines().count(), status),
            (1, 0),
            "{args:?}: {out}{err}"
        );
    }
}

#[test]
fn a_path_that_can_not_be_read_is_refused_with_the_cause() {
    let dir = folder(&[("a/one.toml", GOOD)]);
    fs::create_dir(dir.path().join("more")).unwrap();
    fs::write(dir.path().join("guest.toml"), "").unwrap();
    let mut said = String::new();
    for args in [
        &["run", "scenarios/"][..],
        &["run", "more"],
        &["run", "./nowhere"],
        &["run", "nowhere.toml"],
        &["run", "--scenarios", "nowhere"],
        &["run", "--guest", "guest.toml"],
    ] {
        let (_, err, status) = run(dir.path(), args);
        assert_eq!(status, 2, "{args:?}: {err}");
        said += &format!("misfire {}\n{err}\n", args.join(" "));
    }
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(said);
    });
}

#[test]
fn without_a_folder_the_command_says_where_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    let (_, err, status) = run(dir.path(), &["list"]);
    assert_eq!(status, 2);
    assert!(err.contains("--scenarios DIR"), "{err}");
}

#[test]
fn rules_are_listed_and_explained() {
    let dir = tempfile::tempdir().unwrap();
    let (out, _, status) = run(dir.path(), &["rules"]);
    assert!(status == 0 && out.contains("VIO-INIT-001"), "{out}");
    assert!(
        out.contains("not judged: a trace does not tell on which processor"),
        "{out}"
    );
    let (out, _, status) = run(dir.path(), &["rules", "--format", "json"]);
    assert_eq!(status, 0);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let rules = document["rules"].as_array().unwrap();
    let of = |id: &str| rules.iter().find(|r| r["id"] == id).unwrap();
    assert_eq!(of("VIO-INIT-001")["observable"], true);
    assert_eq!(of("VIO-SPL-010")["observable"], false);
    assert!(of("VIO-SPL-010")["reason"].is_string());
    assert_eq!(document["summary"]["total"], rules.len());
    let (out, _, status) = run(dir.path(), &["explain", "vio-rst-001"]);
    assert!(
        status == 0 && out.contains("VIO-RST-001 (MUST)") && out.contains("Source: "),
        "{out}"
    );
}

#[test]
fn mistakes_are_listed_and_explained() {
    let dir = folder(&[]);
    let (out, _, status) = run(dir.path(), &["mistakes"]);
    assert_eq!(status, 0);
    let row = out.lines().find(|l| l.contains(" program-once ")).unwrap();
    assert!(row.starts_with("VIO-MSIX-005 "), "{row}");
    let (out, _, status) = run(dir.path(), &["explain", "program-once"]);
    assert_eq!(status, 0);
    assert!(out.contains("Breaks: VIO-MSIX-005\n"), "{out}");
}

#[test]
fn faults_are_listed_and_explained() {
    let dir = tempfile::tempdir().unwrap();
    let (out, _, status) = run(dir.path(), &["faults"]);
    assert!(
        status == 0 && out.contains("vector.reject    legal"),
        "{out}"
    );
    let used = format!(
        "{GOOD}[[fault]]\non = \"live\"\ndo = \"needs_reset\"\n[expect]\nheld = \"VIO-NR-001\"\n"
    );
    let with = folder(&[("a/one.toml", &used)]);
    let list = |what: &str| -> serde_json::Value {
        let (out, err, status) = run(with.path(), &[what, "--format", "json"]);
        assert_eq!(status, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    };
    let entry = |list: &serde_json::Value, of: &str, key: &str, name: &str| {
        let entries = list[of].as_array().unwrap().clone();
        entries.into_iter().find(|e| e[key] == name).unwrap()
    };
    let faults = list("faults");
    assert_eq!(
        entry(&faults, "faults", "name", "needs_reset")["scenarios"][0],
        "a/one"
    );
    assert_eq!(
        entry(&faults, "table", "fault", "irq.drop")["standing"],
        "built"
    );
    let rule = entry(&list("rules"), "rules", "id", "VIO-NR-001");
    assert_eq!(
        (&rule["held"][0], &rule["broken"]),
        (&"a/one".into(), &serde_json::json!([]))
    );
    let (out, _, status) = run(dir.path(), &["explain", "reset.slow"]);
    assert!(
        status == 0 && out.contains("Rests on: ") && out.contains("Argument t: "),
        "{out}"
    );
    let (_, err, status) = run(dir.path(), &["explain", "reset.slo"]);
    assert!(
        status == 2 && err.contains("did you mean `reset.slow`?"),
        "{err}"
    );
}

#[test]
fn the_catalogue_names_the_scenarios_of_a_bug_or_the_reason_for_none() {
    let text = format!("source = \"B56\"\n{GOOD}");
    let dir = folder(&[("a/one.toml", &text)]);
    let (out, err, status) = run(dir.path(), &["catalogue", "--format", "json"]);
    assert_eq!(status, 0, "{err}");
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let bug = |id: &str| {
        let bugs = document["bugs"].as_array().unwrap();
        bugs.iter().find(|b| b["id"] == id).unwrap().clone()
    };
    assert_eq!(bug("B56")["scenarios"][0], "a/one");
    assert_eq!(bug("B56")["status"], "imitated");
    assert_eq!(bug("B80")["status"], "not-reproducible");
    let (out, _, _) = run(dir.path(), &["catalogue"]);
    assert!(
        out.contains("B56  imitated") && out.contains("80 bugs, 1 imitated"),
        "{out}"
    );
    let (out, _, _) = run(dir.path(), &["catalogue", "--format", "markdown"]);
    assert!(out.contains("| B56 |") && out.contains("`a/one`"), "{out}");
}

#[test]
fn the_daemons_commands_are_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.toml"), "[device]\nkind = \"block\"\n").unwrap();
    fs::write(
        dir.path().join("bad.toml"),
        "[device]\nkind = \"block\"\nmsix = 0x801\n",
    )
    .unwrap();
    let (_, err, status) = run(dir.path(), &["device", "check", "good.toml"]);
    assert_eq!(status, 0, "{err}");
    let (_, err, status) = run(dir.path(), &["device", "check", "bad.toml"]);
    assert!(status == 2 && err.contains("bad.toml:3"), "{err}");
}

#[test]
fn the_schema_is_json() {
    let dir = tempfile::tempdir().unwrap();
    let (out, _, status) = run(dir.path(), &["schema"]);
    assert_eq!(status, 0);
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(schema["title"], "Misfire scenario");
}

/// A trace in which the driver sets ACKNOWLEDGE, writes 0 to reset, and waits or doesn't.
fn trace(waits: bool) -> String {
    let write = |seq: u32, value: u8| {
        format!(
            r#"{{"seq":{seq},"t":{seq},"ev":"step","dev":0,"in":{{"access":{{"op":"wr","space":"bar0","off":20,"width":1,"val":{value},"field":"cc.device_status"}}}}}}"#
        )
    };
    let read = |seq: u32, value: u8| {
        format!(
            r#"{{"seq":{seq},"t":{seq},"ev":"step","dev":0,"in":{{"access":{{"op":"rd","space":"bar0","off":20,"width":1,"field":"cc.device_status"}}}},"out":[{{"value":{value}}}]}}"#
        )
    };
    let hello =
        r#"{"seq":1,"t":1,"ev":"hello","dev":0,"shape":{"kind":"block"},"features":"0x100000000"}"#;
    let mut lines = vec![hello.to_owned(), write(2, 0)];
    if waits {
        lines.push(read(3, 0));
    }
    lines.extend([write(4, 1), write(5, 3)]);
    lines.join("\n")
}

#[test]
fn a_recorded_trace_is_judged_again() {
    let dir = tempfile::tempdir().unwrap();
    for (waits, status, outcome) in [(true, 0, "held"), (false, 1, "broken")] {
        fs::write(dir.path().join("trace.jsonl"), trace(waits)).unwrap();
        let (out, err, found) = run(dir.path(), &["replay", "trace.jsonl", "--format", "json"]);
        assert_eq!(found, status, "{out}{err}");
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        let rules = document["rules"].as_array().unwrap();
        let rule = rules.iter().find(|r| r["id"] == "VIO-RST-001").unwrap();
        assert_eq!(rule["outcome"], outcome, "{rule}");
    }
}

#[test]
fn a_damaged_trace_is_refused_by_line() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("trace.jsonl"),
        format!("{}\n{{\"seq\":", trace(true)),
    )
    .unwrap();
    let (_, err, status) = run(dir.path(), &["replay", "trace.jsonl"]);
    assert_eq!(status, 2);
    assert!(err.contains("line 6 is not an event of a trace"), "{err}");
}

#[test]
fn a_trace_about_no_device_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let begin = r#"{"seq":1,"t":1,"ev":"mark","phase":"begin","text":"a/b"}"#;
    for (text, words) in [("", "it is empty"), (begin, "it has no `hello`")] {
        fs::write(dir.path().join("trace.jsonl"), text).unwrap();
        let (out, err, status) = run(dir.path(), &["replay", "trace.jsonl"]);
        assert_eq!((status, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(words), "{err}");
    }
}

#[test]
fn a_trace_that_was_cut_off_is_judged_with_a_plain_warning() {
    let dir = tempfile::tempdir().unwrap();
    let mark =
        |phase: &str| format!(r#"{{"seq":9,"t":9,"ev":"mark","phase":"{phase}","text":"a/b"}}"#);
    let (begin, end, body) = (mark("begin"), mark("end"), trace(true));
    for (text, warned) in [
        (body.clone(), false),
        (format!("{begin}\n{body}"), true),
        (format!("{begin}\n{body}\n{end}"), false),
    ] {
        fs::write(dir.path().join("trace.jsonl"), text).unwrap();
        let output = misfire(dir.path())
            .env_remove("NO_COLOR")
            .args(["replay", "trace.jsonl"])
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{err}");
        assert_eq!(err.contains("no mark of its run's end"), warned, "{err}");
        assert!(!err.contains('\x1b'), "{err:?}");
    }
}

#[test]
fn the_help_tells_every_exit_status() {
    let (out, _, _) = run(Path::new("."), &["--help"]);
    assert!(out.contains("130 stopped by Ctrl-C"), "{out}");
}

#[test]
fn an_inf_is_held_against_the_device_of_a_scenario() {
    let dir = folder(&[("a/one.toml", GOOD)]);
    let inf = |id: &str| {
        let text = format!(
            "[Version]\nSignature = \"$WINDOWS NT$\"\n[Manufacturer]\nUs = Disks, NTamd64\n[Disks.NTamd64]\nDisk = inst, {id}\n[inst]\n[inst.HW]\nAddReg = msi\n[msi]\nHKR, Interrupt Management\\MessageSignaledInterruptProperties, MSISupported, 0x10001, 1\n"
        );
        fs::write(dir.path().join("disk.inf"), text).unwrap();
        run(dir.path(), &["inf", "disk.inf", "--scenario", "a/one"])
    };
    let (out, _, status) = inf("PCI\\VEN_1AF4&DEV_1042");
    assert_eq!(status, 0, "{out}");
    assert!(
        out.contains("taken as PCI\\VEN_1AF4&DEV_1042 (line 6), with up to 2 messages"),
        "{out}"
    );
    let (out, _, status) = inf("PCI\\VEN_1AF4&DEV_1001");
    assert_eq!(status, 1, "{out}");
    assert!(
        out.contains("disk.inf:6: error: a/one is PCI\\VEN_1AF4&DEV_1042&SUBSYS_"),
        "{out}"
    );
    fs::write(dir.path().join("disk.inf"), "nothing\n").unwrap();
    let (_, err, status) = run(dir.path(), &["inf", "disk.inf"]);
    assert_eq!(status, 2);
    assert!(
        err.contains("disk.inf:1:1") && err.contains("in no section"),
        "{err}"
    );
}

#[test]
fn a_kernel_is_listened_to_until_it_is_gone() {
    use std::io::{Read as _, Write as _};
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kd.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let kernel = std::thread::spawn(move || {
        let (mut line, _) = listener.accept().unwrap();
        // The first frame after power-on: "hello" and a line end.
        let mut frame = b"0000\x03\0\x16\0\0\x08\x80\x80\x8c\x02\0\0\x30\x32\0\0\x06\0\0\0\x06\0\0\0\0\0\0\0hello\n".to_vec();
        frame.push(0xaa);
        line.write_all(&frame).unwrap();
        let mut answer = [0; 16];
        line.read_exact(&mut answer).unwrap();
        answer
    });
    let (out, err, status) = run(dir.path(), &["kd", "kd.sock"]);
    assert_eq!((out.as_str(), status), ("kd: booted\nhello\n", 0), "{err}");
    let acknowledged = b"iiii\x04\0\0\0\0\0\x80\x80\0\0\0\0";
    assert_eq!(&kernel.join().unwrap(), acknowledged);
    let (_, err, status) = run(dir.path(), &["kd", "nowhere.sock"]);
    assert_eq!(status, 3);
    assert!(err.contains("nowhere.sock"), "{err}");
}
