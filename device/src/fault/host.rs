//! Commands of the host that are ordinary events of a correct device.

use crate::shape::{Attach, Shape};
use crate::spec::ConfigField;
use crate::trace::{Host, Input};

/// What a command of the host means to a correct device: `cfg.change` with a `field` and its new
/// `val` (or `capacity = N` in short) changes the device configuration, `needs-reset` breaks the
/// device, `unplug.surprise` pulls the function out of its slot. `None` for every other command, for
/// arguments that name no field or do not fit it, and for what the device does not have.
pub fn device_input(host: &Host, shape: &Shape) -> Option<Input> {
    if host.command == "unplug.surprise" {
        return (shape.attach == Attach::VfioUser).then_some(Input::Unplugged);
    }
    let device = shape.kind.device_type()?;
    match host.command.as_str() {
        "needs-reset" => Some(Input::Broken),
        "cfg.change" => {
            let number = |key: &str| u64::try_from(host.args.get(key)?.as_integer()?).ok();
            let (field, value) = match host.args.get("field") {
                Some(field) => (device.config_named(field.as_str()?)?, number("val")?),
                None => (device.config_named("capacity")?, number("capacity")?),
            };
            config_input(field, value)
        }
        _ => None,
    }
}

/// The input that gives `field` this value; `None` when the value is too wide for it.
pub(super) fn config_input(field: &ConfigField, value: u64) -> Option<Input> {
    let width = usize::from(field.width);
    let bytes = value.to_le_bytes();
    bytes[width..]
        .iter()
        .all(|b| *b == 0)
        .then(|| Input::Config {
            offset: field.offset,
            bytes: bytes[..width].to_vec(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Kind;

    fn command(text: &str) -> Host {
        let args = text.parse::<toml::Table>().unwrap().into_iter().collect();
        Host {
            command: "cfg.change".into(),
            args,
        }
    }

    fn block() -> Shape {
        Shape::new(Kind::Block)
    }

    #[test]
    fn a_config_change_becomes_the_bytes_of_its_field() {
        let expected = Some(Input::Config {
            offset: 0,
            bytes: vec![0, 0x10, 0, 0, 0, 0, 0, 0],
        });
        assert_eq!(
            device_input(&command("capacity = 0x1000"), &block()),
            expected
        );
        assert_eq!(
            device_input(&command("field = 'capacity'\nval = 4096"), &block()),
            expected
        );
        assert_eq!(
            device_input(&command("field = 'seg_max'\nval = 126"), &block()),
            Some(Input::Config {
                offset: 0x0c,
                bytes: vec![126, 0, 0, 0]
            })
        );
    }

    #[test]
    fn a_value_that_does_not_fit_its_field_is_no_event() {
        for text in [
            "field = 'writeback'\nval = 256",
            "field = 'nothing'\nval = 1",
            "capacity = -1",
            "",
        ] {
            assert_eq!(device_input(&command(text), &block()), None, "{text}");
        }
    }

    #[test]
    fn a_card_that_is_not_virtio_has_no_configuration() {
        assert_eq!(
            device_input(&command("capacity = 1"), &Shape::new(Kind::PortCard)),
            None
        );
    }

    #[test]
    fn needs_reset_breaks_the_device_and_other_commands_do_not_reach_it() {
        let named = |command: &str| Host {
            command: command.into(),
            ..Host::default()
        };
        assert_eq!(
            device_input(&named("needs-reset"), &block()),
            Some(Input::Broken)
        );
        assert_eq!(device_input(&named("now"), &block()), None);
    }
}
