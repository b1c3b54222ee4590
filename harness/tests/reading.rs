//! What a scenario file says when something is wrong with it: each message as a person sees it.

use std::path::Path;

use misfire::scenario::{Vocabulary, read};

/// What is printed for `text` as the file `vectors/refused.toml`.
fn refused(text: &str) -> String {
    let words = Vocabulary {
        rules: ["VIO-MSIX-001", "VIO-MSIX-002", "VIO-ISR-001"]
            .map(Into::into)
            .into(),
    };
    let problems = read(
        Path::new("vectors/refused.toml"),
        "vectors/refused",
        text,
        &words,
    )
    .expect_err("this file must be refused");
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
    let mut out = String::new();
    for problem in problems {
        handler.render_report(&mut out, &problem).unwrap();
    }
    out
}

/// A scenario with `device` lines and whatever else.
fn with(device: &str, rest: &str) -> String {
    format!("title = \"t\"\n[device]\nkind = \"block\"\n{device}\n{rest}\n")
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $text:expr;)+) => {
        $($(#[$doc])* #[test] fn $name() {
            // Lists of known keys grow.
            let filters = vec![(r"unknown key `(\w+)`, expected one of `.*(\n *\| `.*)*", "unknown key `$1`, expected one of …")];
            insta::with_settings!({ omit_expression => true, filters => filters }, {
                insta::assert_snapshot!(stringify!($name), refused(&$text));
            });
        })+
    };
}

refusals! {
    an_unknown_key_is_refused_with_the_nearest_known_name: with("quues = 2", "");
    an_unknown_table_is_refused: with("", "[expct]\noutcome = \"started\"");
    an_unknown_key_of_a_step_is_refused: with("", "[[step]]\nload = \"read\"\nblock = 3");
    a_wrong_type_is_refused: with("queues = \"two\"", "");
    broken_toml_is_refused: with("queues = ", "");
    a_title_is_needed: "[device]\nkind = \"block\"\n";
    a_device_is_needed: "title = \"t\"\n";
    an_unknown_kind_is_refused: "title = \"t\"\n[device]\nkind = \"blok\"\n";
    a_table_of_0x801_entries_is_refused: with("msix = 0x801", "");
    a_port_card_behind_qemus_transport_is_refused: "title = \"t\"\n[[device]]\nkind = \"block\"\n[[device]]\nkind = \"port-card\"\nattach = \"vhost-user\"\n";
    an_unknown_rule_is_refused: with("", "[expect]\nbroken = [\"VIO-MSIX-001\", \"VIO-MSX-002\"]");
    an_unknown_outcome_is_refused: with("", "[expect]\noutcome = \"works\"");
    an_unknown_mistake_is_refused: with("", "[guest]\nmistake = \"no-readback\"");
    an_unknown_step_is_refused: with("", "[[step]]\nload = \"raed\"");
    a_step_with_two_verbs_is_refused: with("", "[[step]]\nwait = \"live\"\nload = \"read\"");
    two_variants_of_one_name_are_refused: with("", "[[variant]]\nname = \"a\"\n[[variant]]\nname = \"a\"");
    a_variant_needs_a_name: with("", "[[variant]]\ntitle = \"x\"");
    a_variants_own_error_points_into_the_variant: with("", "[[variant]]\nname = \"big\"\n[variant.device]\nmsix = 4096");
    a_bad_regular_expression_is_refused: with("", "[expect]\nlog = \"(\"");
    an_expectation_inside_another_is_refused: with("", "[expect.linux.windows]\noutcome = \"started\"");
    more_queues_than_vectors_allow_are_refused: with("queues = 4\nmsix = 3", "[expect]\ninterrupts = \"msix\"");
    a_load_on_more_queues_than_there_are_is_refused: with("queues = 2", "[[step]]\nload = \"read\"\nqueues = 3");
    an_unknown_fault_is_refused: with("", "[[fault]]\non = \"live\"\ndo = \"vector.rejct\"");
    an_unknown_name_in_a_predicate_is_refused: with("", "[[fault]]\non = \"cc.queue_msix_vector.wr\"\nwhere = \"vall != 0xFFFF\"\ndo = \"vector.reject\"");
    an_unknown_argument_of_a_fault_is_refused: with("", "[[fault]]\non = \"reset.begin\"\ndo = \"reset.slow\"\nargs = { tt = \"2s\" }");
    an_unknown_trigger_is_refused: with("", "[[fault]]\non = \"cc.queue_vector.wr\"\ndo = \"vector.reject\"");
    a_fault_that_this_attachment_can_not_do_is_refused: with(
        "attach = \"vhost-user\"",
        "[[fault]]\non = \"reset.begin\"\ndo = \"reset.slow\"\nargs = { t = \"20ms\" }"
    );
    a_predicate_that_does_not_type_check_is_refused: with(
        "",
        "[[fault]]\non = \"cc.queue_msix_vector.wr\"\nwhere = \"val == mode\"\ndo = \"vector.reject\""
    );
    a_fault_on_a_device_that_is_not_there_is_refused: with("", "[[fault]]\ndevice = 1\non = \"live\"\ndo = \"needs_reset\"");
    a_fault_that_speaks_of_another_that_is_not_there_is_refused: with("", "[[fault]]\non = \"fault:frist\"\ndo = \"needs_reset\"");
    two_faults_of_one_id_are_refused: with(
        "",
        "[[fault]]\nid = \"a\"\non = \"live\"\ndo = \"needs_reset\"\n[[fault]]\nid = \"a\"\non = \"live\"\ndo = \"needs_reset\""
    );
    a_wait_for_what_can_not_be_is_refused: with("", "[[step]]\nwait = \"alive\"");
    a_wait_for_what_only_a_trigger_knows_is_refused: with("", "[[step]]\nwait = \"val == 3\"");
    an_unknown_command_of_the_host_is_refused: with("", "[[fault]]\non = \"host:stale+20ms\"\ndo = \"isr.stale\"\n[[step]]\nhost = \"stael\"");
    a_command_of_the_host_to_the_wrong_device_is_refused: "title = \"t\"\n[[device]]\nkind = \"block\"\n[[device]]\nkind = \"block\"\n[[fault]]\ndevice = 1\non = \"host:stale\"\ndo = \"isr.stale\"\n[[step]]\nhost = \"stale\"\n";
    an_unknown_argument_of_a_configuration_change_is_refused: with("", "[[step]]\nhost = \"cfg.change capcity=4096\"");
    a_capacity_that_is_no_number_is_refused: with("", "[[step]]\nhost = \"cfg.change capacity=big\"");
    a_value_that_does_not_fit_its_field_is_refused: with("", "[[step]]\nhost = \"cfg.change field=writeback\"\nargs = { val = 256 }");
    a_configuration_change_without_a_value_is_refused: with("", "[[step]]\nhost = \"cfg.change\"");
    an_argument_of_a_command_that_has_none_is_refused: with("", "[[step]]\nhost = \"needs-reset now=true\"");
    a_fault_that_waits_for_a_command_that_no_step_sends_is_refused: with("", "[[fault]]\non = \"host:lose\"\ndo = \"isr.stale\"");
    a_fault_that_holds_until_a_command_that_no_step_sends_is_refused: with("", "[[fault]]\non = \"irq.due[q0]\"\ndo = \"irq.delay\"\nargs = { host = \"relase\" }\n[[step]]\nhost = \"needs-reset\"");
    a_command_to_a_guest_with_a_load_in_the_background_is_refused: with("", "[[step]]\nload = \"read\"\nbackground = true\n[[step]]\nguest = \"idle 20ms\"\n[[step]]\nwait = \"loaded\"");
    a_load_in_the_background_that_nothing_waits_for_is_refused: with("", "[[step]]\nload = \"read\"\nbackground = true");
    a_wait_for_live_behind_qemus_transport_is_refused: with("attach = \"vhost-user\"", "[[step]]\nwait = \"live\"");
    a_wait_for_an_epoch_behind_qemus_transport_is_refused: with("attach = \"vhost-user\"", "[[step]]\nwait = \"inflight == 0 && epoch >= 2\"");
    more_queues_and_requests_than_the_guest_takes_are_refused: with("", "[guest]\nqueues = 17\n[[guest.device]]\ndepth = 65");
    a_time_limit_that_the_guest_does_not_take_is_refused: with("", "[guest]\ntimeout-ms = 600001");
    a_load_behind_the_end_of_the_disk_is_refused: with("capacity = 64", "[[step]]\nload = \"read\"\nlba = 57\nsize = 4096");
    a_request_larger_than_the_disk_is_refused: with("capacity = 4", "[[step]]\nload = \"read\"\nsize = 4096");
    a_disk_file_that_is_not_there_is_refused: with("file = \"nowhere.img\"", "");
    ports_of_a_disk_are_refused: with("ports = 4", "");
    keys_of_a_disk_are_refused_for_a_port_card: "title = \"t\"\n[device]\nkind = \"port-card\"\nqueues = 2\ncapacity = 2048\nfile = \"x\"\n";
    more_siblings_than_there_are_slots_are_refused: with("siblings = { n = 9, msix = 1 }", "");
    a_known_deviation_names_driver_and_revision: with("", "[expect.known.viostor]\noutcome = \"refused\"\nwhy = \"it does not ask\"");
    a_known_deviation_has_a_reason: with("", "[expect.known.\"viostor@1\"]\noutcome = \"refused\"\nwhy = \" \"\n[expect.known.\"viostor@2\"]\noutcome = \"refused\"");
    a_reason_of_what_is_no_known_deviation_is_refused: with("", "[expect.linux]\noutcome = \"refused\"\nwhy = \"it does not ask\"");
}

#[test]
fn a_load_may_go_around_the_disk_and_behind_what_it_was() {
    for (device, steps) in [
        (
            "capacity = 64",
            "[[step]]\nload = \"read\"\nlba = 56\nsize = 4096\nblocks = 100",
        ),
        (
            "capacity = 64",
            "[[step]]\nhost = \"cfg.change capacity=128\"\n[[step]]\nload = \"read\"\nlba = 127",
        ),
        ("msix = 0\nmsi = 4", ""),
    ] {
        let text = with(device, steps);
        let read = read(Path::new("v/x.toml"), "v/x", &text, &Vocabulary::default());
        assert!(read.is_ok(), "{read:?}");
    }
}

#[test]
fn a_variant_changes_what_it_names_and_keeps_the_rest() {
    let text = with(
        "queues = 2",
        "[guest]\nos = \"win7\"\n[expect]\noutcome = \"started\"\nheld = \"VIO-MSIX-002\"\n\
         [[variant]]\nname = \"mistaken\"\nguest.mistake = \"no-read-back\"\n\
         expect = { held = [], broken = \"VIO-MSIX-002\" }\ndevice.msix = 5\n",
    );
    let words = Vocabulary {
        rules: vec!["VIO-MSIX-002".into()],
    };
    let read = read(Path::new("v/x.toml"), "v/x", &text, &words).unwrap();
    let [base, variant] = read.as_slice() else {
        panic!("{read:?}")
    };
    assert_eq!(
        (base.name.as_str(), variant.name.as_str()),
        ("v/x", "v/x@mistaken")
    );
    assert_eq!(variant.devices[0].shape.queues, 2);
    assert_eq!(variant.devices[0].shape.msix, Some(5));
    assert_eq!(base.devices[0].shape.msix, None);
    assert_eq!(variant.guest.command_line(), "os=win7 mistake=no-read-back");
    assert_eq!(base.guest.command_line(), "os=win7");
    let expect = variant.expect.of("reference");
    assert_eq!(expect.broken, ["VIO-MSIX-002"]);
    assert!(expect.held.is_empty());
    assert_eq!(expect.outcome, base.expect.of("reference").outcome);
}

#[test]
fn what_is_predicted_of_a_driver_stands_over_what_is_expected_of_the_guest_that_it_runs_on() {
    let text = with(
        "queues = 2\nmsix = 3",
        "[expect]\noutcome = \"started\"\nheld = [\"VIO-ISR-001\"]\n\
         [expect.windows]\nio = \"failed\"\n\
         [expect.known.\"viostor@1\"]\nbroken = [\"VIO-MSIX-001\"]\nwhy = \"it takes none\"",
    );
    let words = Vocabulary {
        rules: ["VIO-MSIX-001", "VIO-ISR-001"].map(Into::into).into(),
    };
    let scenarios = read(Path::new("a/b.toml"), "a/b", &text, &words).unwrap();
    let expect = &scenarios[0].expect;
    let known = |guest| expect.known("viostor@1", guest).unwrap();
    let windows = known("windows");
    assert_eq!(windows.outcome, expect.base.outcome);
    assert_eq!(windows.io, expect.of("windows").io);
    assert_eq!(windows.broken, ["VIO-MSIX-001"]);
    // That a rule is tried is said of the reference driver alone.
    assert!(windows.held.is_empty() && !expect.base.held.is_empty());
    assert_eq!(known("nt").io, None);
    assert_eq!(expect.known("viostor@2", "windows"), None);
}
