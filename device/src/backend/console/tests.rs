//! What becomes of characters and of messages about ports.

use super::super::one::{Became, give, give_parts};
use super::*;
use crate::shape::Kind;

fn console(queues: u16) -> Console {
    let mut console = Console::new(&Shape {
        queues,
        ..Shape::new(Kind::Console)
    });
    console.accept(u64::MAX);
    console
}

fn message(port: u8, event: u8, value: u8) -> [u8; 8] {
    [port, 0, 0, 0, event, 0, value, 0]
}

fn say(console: &mut Console, bytes: &[u8]) {
    assert_eq!(give(console, 3, bytes, 0), Became::Used(0, vec![]));
}

fn told(console: &mut Console) -> Option<Vec<u8>> {
    match give(console, 2, &[], 64) {
        Became::Used(_, bytes) => Some(bytes),
        Became::Waits => None,
        Became::Broken => panic!("broken"),
    }
}

#[test]
fn what_a_console_is_told_comes_back() {
    let mut console = console(2);
    assert_eq!(give(&mut console, 0, &[], 16), Became::Waits);
    assert_eq!(
        give_parts(&mut console, 1, &[b"hel", b"lo"], &[]),
        Became::Used(0, vec![])
    );
    assert_eq!(console.offer_mut().take_woken(), 1);
    assert_eq!(give(&mut console, 0, &[], 3).bytes(), b"hel");
    assert_eq!(give(&mut console, 0, &[], 16).bytes(), b"lo");
    assert_eq!(give(&mut console, 0, &[], 16), Became::Waits);
    assert_eq!(
        give(&mut console, 2, &[], 16),
        Became::Waits,
        "there is no such queue"
    );
}

#[test]
fn what_nobody_fetches_is_kept_up_to_a_bound_and_forgotten_at_a_reset() {
    let mut console = console(2);
    for _ in 0..40 {
        give(&mut console, 1, &[b'x'; 4000], 0);
    }
    assert_eq!(console.echoes[0].len(), ECHO_BYTES);
    console.accept(u64::MAX);
    assert_eq!(give(&mut console, 0, &[], 16), Became::Waits);
}

#[test]
fn ports_are_announced_named_and_opened_in_order() {
    let mut console = console(6);
    assert_eq!(told(&mut console), None);
    say(&mut console, &message(0, 0, 1));
    assert_eq!(console.offer_mut().take_woken(), 1 << 2);
    assert_eq!(told(&mut console).unwrap(), message(0, 1, 0));
    assert_eq!(told(&mut console).unwrap(), message(1, 1, 0));
    assert_eq!(told(&mut console), None);
    say(&mut console, &message(1, 3, 1));
    let named = [&message(1, 7, 0)[..], b"misfire.01"].concat();
    assert_eq!(told(&mut console).unwrap(), named);
    assert_eq!(told(&mut console).unwrap(), message(1, 6, 1));
    say(&mut console, &message(0, 3, 1));
    assert_eq!(told(&mut console).unwrap(), message(0, 4, 1));
    let size = [&message(0, 5, 0)[..], &[80, 0, 25, 0]].concat();
    assert_eq!(told(&mut console).unwrap(), size);
    assert_eq!(told(&mut console).unwrap(), message(0, 6, 1));
    assert_eq!(told(&mut console), None);
    // The second port has queues of its own.
    console.offer_mut().take_woken();
    give(&mut console, 5, b"two", 0);
    assert_eq!(console.offer_mut().take_woken(), 1 << 4);
    assert_eq!(give(&mut console, 4, &[], 16).bytes(), b"two");
}

#[test]
fn a_driver_that_repeats_itself_is_not_told_again() {
    let mut console = console(4);
    for _ in 0..100 {
        say(&mut console, &message(0, 0, 1));
        say(&mut console, &message(0, 3, 1));
        say(&mut console, &message(77, 3, 1));
        say(&mut console, &message(0, 9, 9));
        say(&mut console, &[1, 2, 3]);
    }
    assert_eq!(told(&mut console).unwrap(), message(0, 1, 0));
    assert_eq!(
        told(&mut console),
        None,
        "the port was not there when it was called ready"
    );
    for _ in 0..100 {
        say(&mut console, &message(0, 0, 1));
        say(&mut console, &message(0, 3, 1));
    }
    let mut messages = 0;
    while told(&mut console).is_some() {
        messages += 1;
    }
    assert_eq!(messages, 3);
}

#[test]
fn a_new_size_is_told_to_a_driver_that_uses_the_port() {
    let mut console = console(4);
    let mut configuration = *console.configuration();
    configuration.put(ConsoleConfig::Cols, 132);
    console.configure(configuration);
    assert_eq!(told(&mut console), None);
    say(&mut console, &message(0, 0, 1));
    told(&mut console);
    say(&mut console, &message(0, 3, 1));
    while told(&mut console).is_some() {}
    configuration.put(ConsoleConfig::Rows, 50);
    console.configure(configuration);
    assert_eq!(console.offer_mut().take_woken(), 1 << 2);
    let size = [&message(0, 5, 0)[..], &[132, 0, 50, 0]].concat();
    assert_eq!(told(&mut console).unwrap(), size);
}
