//! A line that is up for a time, whatever the device says.

use crate::endpoint::Nanos;
use crate::fault::act::Act;
use crate::fault::args::Args;
use crate::fault::bench::{Bench, Scene, State};
use crate::fault::error::FaultError;
use crate::fault::trigger::Occasion;
use crate::shape::Shape;
use crate::trace::{Device, Legality};

/// Builds a verb that holds the line up for its argument `for`, or for `default` nanoseconds.
pub fn build(
    verb: &str,
    args: &Args<'_>,
    shape: &Shape,
    default: Nanos,
    class: Legality,
) -> Result<Box<dyn Act>, FaultError> {
    if !shape.pin {
        let message = format!("`{verb}` is impossible on a device without a pin");
        return Err(args.error("for", message));
    }
    let time = args.time("for")?.unwrap_or(default);
    Ok(Box::new(Asserted { time, class }))
}

#[derive(Clone, Debug)]
struct Asserted {
    time: Nanos,
    class: Legality,
}

impl Act for Asserted {
    fn class(&self, _world: &Device) -> Legality {
        self.class
    }

    fn object(&self, _occasion: &Occasion<'_>) -> String {
        "isr".to_owned()
    }

    fn applies(&self, _occasion: &Occasion<'_>, scene: &Scene<'_>) -> bool {
        State::may_assert(scene.world)
    }

    fn fire(&mut self, _occasion: &Occasion<'_>, bench: &mut Bench<'_>) {
        let until = bench.now.saturating_add(self.time);
        let line = &mut bench.state.line;
        line.up_until = line.up_until.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::testing::{MS, Rig};
    use crate::spec::Field;
    use crate::trace::{Effect, Input};

    #[test]
    fn the_line_is_up_for_its_time_and_nothing_takes_it_down() {
        for verb in ["intx.stuck", "intx.peer"] {
            is_up_for_its_time(verb);
        }
    }

    fn is_up_for_its_time(verb: &str) {
        let fault = format!("on = 'host:now'\ndo = '{verb}'\nargs = {{ for = '2ms' }}");
        let mut rig = Rig::block(&[&fault]);
        rig.bring_up_intx();
        assert_eq!(rig.host("now").shown.as_slice(), [Effect::Pin(true)]);
        assert_eq!(
            rig.read_outcome(Field::Isr).shown.as_slice(),
            [Effect::Value(0)]
        );
        let over = rig.now + 2 * MS;
        assert_eq!(rig.injector.deadline(), Some(over));
        let outcome = rig.at(over, Input::Time);
        assert_eq!(outcome.shown.as_slice(), [Effect::Pin(false)]);
    }

    #[test]
    fn with_msix_there_is_no_line() {
        for verb in ["intx.stuck", "intx.peer"] {
            let mut rig = Rig::block(&[&format!("on = 'host:now'\ndo = '{verb}'")]);
            rig.bring_up();
            assert!(rig.host("now").fired.is_empty(), "{verb}");
        }
    }
}
