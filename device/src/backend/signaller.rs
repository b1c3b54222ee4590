//! The correct backend as an injector sees it: what it tells the driver, and when.

use super::config::Configuration;
use crate::endpoint::{Endpoint, Nanos};
use crate::trace::{Access, Effect, Effects, Input, Op, Space};

/// Asks for an interrupt when buffers were used, and tells when the configuration changed.
#[derive(Clone, Debug)]
pub struct Signaller {
    configuration: Configuration,
}

impl Signaller {
    /// A backend with this configuration.
    pub fn new(configuration: Configuration) -> Self {
        Self { configuration }
    }

    /// Its configuration now.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }
}

impl Endpoint for Signaller {
    fn step(&mut self, _now: Nanos, input: &Input) -> Effects {
        let effect = match input {
            Input::Used { queue } => Some(Effect::Call { queue: *queue }),
            Input::Config { offset, bytes } => {
                self.configuration.overwrite(*offset, bytes);
                Some(Effect::ConfigChanged)
            }
            Input::Reconfigured { offset, bytes } => {
                self.configuration.overwrite(*offset, bytes);
                None
            }
            _ => None,
        };
        effect.into_iter().collect()
    }

    /// No access of a register reaches a backend; this one is nameless.
    fn name(&self, op: Op, space: Space, off: u64, width: u8, val: Option<u64>) -> Access {
        Access {
            op,
            space,
            off,
            width,
            val,
            field: None,
            q: None,
            window: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Kind, Shape};

    #[test]
    fn used_buffers_call_and_a_new_configuration_is_told() {
        let mut signaller = Signaller::new(Configuration::new(&Shape::new(Kind::Block), 8));
        assert_eq!(
            signaller.step(0, &Input::Used { queue: 3 }).as_slice(),
            [Effect::Call { queue: 3 }]
        );
        let input = Input::Config {
            offset: 0,
            bytes: 9u64.to_le_bytes().to_vec(),
        };
        assert_eq!(
            signaller.step(0, &input).as_slice(),
            [Effect::ConfigChanged]
        );
        assert_eq!(signaller.configuration().sectors(), 9);
        assert!(signaller.step(0, &Input::Kick { queue: 0 }).is_empty());
    }
}
