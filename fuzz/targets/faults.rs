//! Every fault of the catalogue around a function, whatever a guest does under it.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use misfire_device::fault::{CATALOGUE, Fault, FaultFile, Injector, MAX_SHOWN};
use misfire_device::function::Function;
use misfire_device::trace::{Hello, Host};
use misfire_fuzz::{AnyShape, Doing};

#[derive(Debug, Arbitrary)]
struct Case {
    shape: AnyShape,
    features: u128,
    faults: Vec<(u8, Option<u8>)>,
    seed: u64,
    doings: Vec<(Doing, bool)>,
}

/// The example of a fault's description, firing as often as it can when `often` says so.
fn fault(verb: u8, often: Option<u8>, shape: &misfire_device::shape::Shape) -> Option<Fault> {
    let verb = CATALOGUE[usize::from(verb) % CATALOGUE.len()];
    let mut text = verb.example.to_owned();
    if let Some(often) = often {
        text = text
            .lines()
            .filter(|line| !line.starts_with("nth"))
            .flat_map(|line| [line, "\n"])
            .collect();
        text += ["nth = \"1..\"", "nth = \"*/3\"", "nth = \"2..5\""][usize::from(often % 3)];
    }
    let file: Option<FaultFile> = toml::from_str(&text).ok();
    file.and_then(|file| Fault::check(&file, shape).ok())
}

fuzz_target!(|case: Case| {
    let Some(shape) = case.shape.shape() else {
        return;
    };
    let armed: Vec<Fault> = case
        .faults
        .iter()
        .take(4)
        .filter_map(|(verb, often)| fault(*verb, *often, &shape))
        .collect();
    let function = Function::new(&shape, case.features, vec![7; 60]);
    let hello = Hello {
        dev: 0,
        shape,
        features: case.features,
    };
    let mut injector = Injector::new(function, hello, armed, case.seed);
    let mut now = 0;
    for (doing, host) in &case.doings {
        let (passes, mut input) = doing.input(injector.inner());
        now += passes;
        if *host {
            input = misfire_device::trace::Input::Host(Host {
                command: "go".into(),
                ..Host::default()
            });
        }
        let outcome = injector.step(now, &input);
        assert!(
            outcome.shown.len() <= MAX_SHOWN + 8,
            "what is shown has a bound"
        );
        if let Some(deadline) = injector.deadline()
            && passes > 1
        {
            now = now.max(deadline);
            injector.step(now, &misfire_device::trace::Input::Time);
        }
    }
});
