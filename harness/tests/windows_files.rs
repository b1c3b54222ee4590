//! Every file that the Windows side would run, checked with what there is on Linux: the C header for drivers, and
//! scripts. Answer files, and more of the batch files, are checked beside what writes them.

mod tools;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use misfire::log::Said;
use tools::private;
use tree_sitter::{Language, Parser};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// As C++ mingw-w64's headers have two routines twice: these say that the second ones are there already.
const TWICE: [&str; 2] = [
    "-D__INTRINSIC_DEFINED_InterlockedBitTestAndSet",
    "-D__INTRINSIC_DEFINED_InterlockedBitTestAndReset",
];

fn here(path: &str) -> PathBuf {
    Path::new(HERE).join(path)
}

/// The beginning of the names of a mingw-w64's programs.
fn prefix() -> String {
    const NAME: &str = "x86_64-w64-mingw32-";
    let bin = private("mingw/x86_64-w64-mingw32/include/ddk").and(private("mingw/bin"));
    let private = bin.map(|bin| bin.join(NAME).display().to_string());
    private.unwrap_or_else(|| NAME.into())
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} (ci/setup sees to it): {error}"))
}

/// The folder with the kernel's headers, among those that the compiler searches, or below one of them.
fn ddk(gcc: &str) -> String {
    let said = run(gcc, &["-E", "-v", "-x", "c", "/dev/null"]);
    String::from_utf8_lossy(&said.stderr)
        .lines()
        .map(|line| Path::new(line.trim()).join("ddk"))
        .find(|folder| folder.join("wdm.h").is_file())
        .unwrap_or_else(|| panic!("{gcc} has no ddk/wdm.h (ci/setup sees to it)"))
        .display()
        .to_string()
}

#[test]
fn the_header_for_drivers_compiles_without_a_warning_as_c_and_as_cpp_for_wdm_and_kmdf() {
    let gcc = format!("{}gcc", prefix());
    let ddk = ddk(&gcc);
    let header = here("guests/windows");
    let programs = here("tests/programs/misfire_log");
    let groups = "-DNT_PROCESSOR_GROUPS";
    for (source, language, standard, flavour) in [
        ("wdm.c", "-xc", "-std=c99", groups),
        (
            "wdm.c",
            "-xc++",
            "-std=c++11",
            "-DMISFIRE_LOG_MESSAGES=2048",
        ),
        ("kmdf.c", "-xc", "-std=gnu17", "-DMISFIRE_LOG_OFF"),
        ("kmdf.c", "-xc", "-std=c99", "-DDBG=0"),
        ("kmdf.c", "-xc++", "-std=c++17", groups),
        ("kmdf.c", "-xc++", "-std=c++11", "-DMISFIRE_LOG_OFF"),
    ] {
        let source = programs.join(source).display().to_string();
        let mut arguments = vec![language, standard, flavour, "-Wall", "-Wextra", "-Werror"];
        arguments.extend(TWICE);
        arguments.extend(["-fsyntax-only", "-isystem", &ddk]);
        arguments.extend(["-I", header.to_str().unwrap(), &source]);
        let output = run(&gcc, &arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// What the header prints when every function of it is called.
fn printed() -> String {
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("misfire_log");
    let source = here("tests/programs/misfire_log/host.c");
    let compiled = run(
        "cc",
        &[
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-I",
            here("guests/windows").to_str().unwrap(),
            "-o",
            program.to_str().unwrap(),
            source.to_str().unwrap(),
        ],
    );
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let output = run(program.to_str().unwrap(), &[]);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_the_header_prints_is_what_the_harness_reads() {
    let printed = printed();
    let said: Vec<Said> = printed.lines().filter_map(Said::of).collect();
    assert_eq!(
        said,
        [
            Said::Resource { messages: Some(16) },
            Said::Resource { messages: None },
            Said::Interrupt {
                message: true,
                number: 2,
                vector: 0x93
            },
            Said::ConnectFailed {
                vector: 0x63,
                status: "0xc00000ef".into()
            },
            Said::ConfigWritten {
                wrote: 0,
                read: Some(0)
            },
            Said::QueueWritten {
                queue: 1,
                wrote: 2,
                read: Some(0xffff)
            },
            Said::NeedsReset,
            Said::TimedOut { queue: 0 },
            Said::Lost { queue: 3 },
            Said::LineCount {
                dev: None,
                unclaimed: 1
            },
        ]
    );
}

#[test]
fn the_lines_of_the_header_for_people_are_whole_and_short() {
    let printed = printed();
    for line in [
        "MISFIRE-LOG blk init version=1",
        "MISFIRE-LOG blk resource index=0 kind=memory start=0x00000008fe000000 length=0x4000",
        "MISFIRE-LOG blk resource index=1 kind=message translated level=6 vector=0x63 affinity=0xffffffff0000000f flags=0x3",
        "MISFIRE-LOG blk resource index=2 kind=line translated level=11 vector=0xb1 affinity=0x0000000000000000 flags=0x0",
        "MISFIRE-LOG blk count message=1 isr=2 dpc=1 last=4000",
        "MISFIRE-LOG blk count from=64 isr=1 dpc=0 last=4000",
    ] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "{line}\n{printed}"
        );
    }
    // A kernel takes 512 bytes at a time.
    assert!(printed.lines().all(|line| line.len() < 200));
}

/// Every file that a Windows guest would run whose name ends so.
fn files(end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![here("guests/windows")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == end) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{end}");
    found
}

/// What a grammar of tree-sitter can't read in a script, by line.
fn errors(text: &str, language: impl Into<Language>) -> Vec<String> {
    let mut parser = Parser::new();
    parser.set_language(&language.into()).unwrap();
    let tree = parser.parse(text, None).unwrap();
    let mut errors = Vec::new();
    let mut nodes = vec![tree.root_node()];
    while let Some(node) = nodes.pop() {
        if node.is_error() || node.is_missing() {
            let line = node.start_position().row;
            let text = text.lines().nth(line).unwrap_or_default();
            errors.push(format!("{}: {text}", line + 1));
        }
        let mut cursor = node.walk();
        nodes.extend(node.children(&mut cursor));
    }
    errors
}

/// Those of a script, as Windows has its lines.
fn batch_errors(text: &str) -> Vec<String> {
    errors(&text.replace('\n', "\r\n"), tree_sitter_batch::LANGUAGE)
}

fn powershell_errors(text: &str) -> Vec<String> {
    errors(text, tree_sitter_powershell::LANGUAGE)
}

#[test]
fn every_script_is_one() {
    let kinds = [
        ("ps1", powershell_errors as fn(&str) -> Vec<String>),
        ("cmd", batch_errors),
    ];
    for (end, errors) in kinds {
        for file in files(end) {
            let text = std::fs::read_to_string(&file).unwrap();
            assert_eq!(errors(&text), Vec::<String>::new(), "{}", file.display());
            // Windows reads a file without a mark in the system's own encoding.
            assert!(text.is_ascii(), "{}", file.display());
        }
    }
}

#[test]
fn what_the_document_has_a_person_put_into_an_image_is_powershell() {
    let document = include_str!("../../docs/windows.md");
    let scripts: Vec<&str> = document
        .split("```powershell\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(scripts.len(), 1);
    assert_eq!(powershell_errors(scripts[0]), Vec::<String>::new());
}

#[test]
fn the_parsers_find_what_is_wrong() {
    assert!(powershell_errors("if ($a) { Write-Host 'x' }\n").is_empty());
    for wrong in [
        "if ($a) { Write-Host 'x'\n",
        "$x = @{ a = 1 ]\n",
        "foreach ($a on $b) { }\n",
    ] {
        assert!(!powershell_errors(wrong).is_empty(), "{wrong}");
    }
    assert!(batch_errors("if exist a (\necho x\n) else (\necho y\n)\n").is_empty());
    for wrong in ["if exist a (\necho x\n", "for %%a in (b c do echo %%a\n"] {
        assert!(!batch_errors(wrong).is_empty(), "{wrong}");
    }
}
