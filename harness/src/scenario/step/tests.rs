//! What a step can mean, and what it can't.

use misfire_device::shape::Kind;

use super::*;

fn step(text: &str) -> Result<Step, Wrong> {
    let block = Shape {
        queues: 2,
        ..Shape::new(Kind::Block)
    };
    let card = Shape {
        ports: 2,
        ..Shape::new(Kind::PortCard)
    };
    Step::try_from_file(&toml::from_str(text).unwrap(), &[block, card], &[])
}

#[test]
fn a_load_becomes_the_line_that_the_guest_takes() {
    let read = step("load = \"read\"\nblocks = 64\nsize = 4096\nqueues = 1").unwrap();
    assert_eq!(
        read.command().unwrap(),
        "load read dev=0 blocks=64 size=4096 queues=1"
    );
    let port = step("load = \"port\"\nevents = 3\nports = \"both\"\ndevice = 1").unwrap();
    assert_eq!(
        port.command().unwrap(),
        "load port dev=1 events=3 ports=both"
    );
}

#[test]
fn a_host_command_takes_arguments_in_words_and_in_a_table() {
    let step = step("host = \"cfg.change val=0x7e\"\nargs = { field = \"seg_max\" }").unwrap();
    let Action::Host(host, 0) = step.action else {
        panic!("{step:?}")
    };
    assert_eq!(host.command, "cfg.change");
    assert_eq!(host.args["val"], toml::Value::Integer(126));
    assert_eq!(host.args["field"], toml::Value::String("seg_max".into()));
}

#[test]
fn what_a_step_can_not_mean_is_refused() {
    for (text, key, message) in [
        (
            "timeout = \"1s\"",
            "",
            "a step has exactly one of `wait`, `load`, `host` or `guest`, this one has none",
        ),
        (
            "wait = \"live\"\nload = \"read\"",
            "",
            "a step has exactly one of `wait`, `load`, `host` or `guest`, this one has `wait` and `load`",
        ),
        ("load = \"raed\"", "load", "unknown load `raed`"),
        (
            "host = \"needs-reset\"\nbackground = true",
            "background",
            "`background` means nothing to a `host` step",
        ),
        (
            "wait = \"loaded\"\ndevice = 1",
            "device",
            "`device` means nothing to `wait = \"loaded\"`",
        ),
        (
            "wait = \"live\"\nblocks = 3",
            "blocks",
            "`blocks` means nothing to a `wait` step",
        ),
        (
            "load = \"port\"\nblocks = 3",
            "blocks",
            "`blocks` means nothing to a `load = \"port\"` step",
        ),
        (
            "load = \"read\"\nsize = 100",
            "size",
            "size = 100: expected a multiple of 512 bytes, up to 1048576",
        ),
        (
            "load = \"read\"\nqueues = 3",
            "queues",
            "queues = 3: device 0 has 2, counted from 0",
        ),
        (
            "load = \"read\"\ndevice = 1",
            "load",
            "load = \"read\" is for a disk, and device 1 is a port-card",
        ),
        (
            "load = \"port\"",
            "load",
            "load = \"port\" is for a port-card, and device 0 is a block device",
        ),
        (
            "load = \"port\"\ndevice = 1\nports = 2",
            "ports",
            "ports = 2: device 1 has 2, counted from 0",
        ),
        (
            "load = \"read\"\ndevice = 2",
            "device",
            "device = 2: this scenario has 2, counted from 0",
        ),
        (
            "guest = \"device reboot\"",
            "guest",
            "unknown command to the guest `device reboot`",
        ),
        (
            "wait = \"live\"\ntimeout = \"soon\"",
            "timeout",
            "`soon` is not a time: expected a number and us, ms, s or m, such as \"500ms\"",
        ),
        (
            "host = \"cfg.change now\"",
            "host",
            "`now`: expected key=value",
        ),
    ] {
        let (found, said, _) = step(text).unwrap_err();
        assert_eq!((found, said.as_str()), (key, message), "{text}");
    }
}

#[test]
fn times_are_read_in_four_units() {
    for (text, micros) in [
        ("300us", 300),
        ("20ms", 20_000),
        ("1.5s", 1_500_000),
        ("2m", 120_000_000),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_micros(micros)));
    }
    for text in ["", "10", "ms", "1h", "-1s", "1e300s"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}
