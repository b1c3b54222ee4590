//! The PCI function, whatever a guest does to it.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use misfire_device::endpoint::Endpoint;
use misfire_device::function::Function;
use misfire_device::trace::{Effect, Input, Op};
use misfire_fuzz::{AnyShape, Doing};

#[derive(Debug, Arbitrary)]
struct Case {
    shape: AnyShape,
    features: u128,
    config: Vec<u8>,
    doings: Vec<Doing>,
}

fuzz_target!(|case: Case| {
    let Some(shape) = case.shape.shape() else {
        return;
    };
    let mut function = Function::new(&shape, case.features, case.config);
    let (mut now, mut pin) = (0, false);
    for doing in &case.doings {
        let (passes, input) = doing.input(&function);
        now += passes;
        let effects = function.step(now, &input);
        let read = matches!(&input, Input::Access(access) if access.op == Op::Read);
        let values = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Value(_)))
            .count();
        assert!(!read || values == 1, "a read has one answer: {input:?}");
        for effect in effects {
            if let Effect::Pin(level) = effect {
                assert_ne!(level, pin, "the line changes when it is told to");
                pin = level;
            }
        }
    }
});
