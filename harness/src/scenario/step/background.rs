//! Loads in the background, and what may follow until their end.

use super::{Action, Step, Wait, Wrong};

/// Refuses steps that can't be done in this order: the index of the first, and what is wrong with it. The
/// guest answers one command at a time, so while a load runs in the background nothing can be asked of it.
pub fn order(steps: &[Step]) -> Result<(), (usize, Wrong)> {
    let mut running = None;
    for (index, step) in steps.iter().enumerate() {
        let refuse = |message: String, help: Option<String>| {
            Err((index, (verb(&step.action), message, help)))
        };
        match (&step.action, running) {
            (Action::Wait(Wait::Loaded, _), None) => {
                return refuse(
                    "no load runs in the background: there is nothing to wait for".into(),
                    Some("a load does with `background = true`".into()),
                );
            }
            (Action::Wait(Wait::Loaded, _), Some(_)) => running = None,
            (Action::Host(..) | Action::Wait(Wait::Live | Wait::Until(_), _), Some(_)) => {}
            (_, Some(_)) => {
                return refuse(
                    format!(
                        "`{}` can't be done while a load runs in the background: until its end a step waits for `live` or a predicate, or is a command of the host that leaves the device in its slot",
                        step.text
                    ),
                    Some("`wait = \"loaded\"` before it waits for the end of the load".into()),
                );
            }
            (Action::Load(..), None) if step.background => running = Some(index),
            (_, None) => {}
        }
    }
    match running {
        Some(index) => Err((
            index,
            (
                "background",
                "no step waits for the end of this load".into(),
                Some("a later step can: `wait = \"loaded\"`".into()),
            ),
        )),
        None => Ok(()),
    }
}

fn verb(action: &Action) -> &'static str {
    match action {
        Action::Wait(..) => "wait",
        Action::Load(..) => "load",
        Action::Host(..) | Action::Plug(..) => "host",
        Action::Guest(_) => "guest",
    }
}

#[cfg(test)]
mod tests {
    use misfire_device::shape::{Kind, Shape};

    use super::*;

    const LOAD: &str = "load = \"read\"\nbackground = true";
    const LOADED: &str = "wait = \"loaded\"";

    fn steps(texts: &[&str]) -> Vec<Step> {
        let shapes = [Shape::new(Kind::Block)];
        let read = |text: &&str| {
            let file = toml::from_str(text).unwrap();
            Step::try_from_file(&file, &shapes, &[]).unwrap()
        };
        texts.iter().map(read).collect()
    }

    #[test]
    fn until_its_end_the_host_acts_and_the_trace_is_waited_for() {
        for between in [
            "wait = \"live\"",
            "wait = \"fired(hold) && inflight >= 1\"",
            "host = \"cfg.change capacity=4096\"",
        ] {
            let steps = steps(&[LOAD, between, LOADED, LOAD, LOADED, "load = \"read\""]);
            assert_eq!(order(&steps), Ok(()), "{between}");
            assert!(steps[0].background && !steps[5].background);
        }
    }

    #[test]
    fn nothing_is_asked_of_a_guest_with_a_load_in_the_background() {
        for (between, key) in [
            ("load = \"read\"", "load"),
            (LOAD, "load"),
            ("guest = \"state\"", "guest"),
            ("host = \"unplug\"", "host"),
            ("host = \"unplug surprise\"", "host"),
            ("wait = \"ready\"", "wait"),
            ("wait = \"started\"", "wait"),
            ("wait = \"removed\"", "wait"),
        ] {
            let (index, (found, message, _)) = order(&steps(&[LOAD, between, LOADED])).unwrap_err();
            assert_eq!((index, found), (1, key), "{between}");
            let said = "can't be done while a load runs in the background";
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn a_load_in_the_background_and_the_wait_for_its_end_belong_together() {
        for (texts, at) in [
            (&[LOADED][..], (0, "wait")),
            (&["load = \"read\"", LOADED], (1, "wait")),
            (&[LOAD, LOADED, LOADED], (2, "wait")),
            (&[LOAD, "wait = \"live\""], (0, "background")),
        ] {
            let (index, (key, ..)) = order(&steps(texts)).unwrap_err();
            assert_eq!((index, key), at, "{texts:?}");
        }
    }
}
