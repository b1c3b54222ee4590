//! Commands of the host that are ordinary events of a correct device.

use crate::shape::{Attach, Kind, Shape};
use crate::spec::{ConfigField, net_status};
use crate::trace::{Host, Input};

/// What `cfg.change` can be given in place of a `field` and its `val`, by kind.
pub const fn config_words(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Block | Kind::Scsi => &["capacity"],
        Kind::Net => &["link", "announce"],
        Kind::Console | Kind::Rng | Kind::PortCard => &[],
    }
}

/// What a command of the host means to a correct device: `cfg.change` with a `field` and its new
/// `val` (or one of [`config_words`] in short) changes the device configuration, `needs-reset` breaks
/// the device, `unplug.surprise` pulls the function out of its slot. `None` for every other command,
/// for arguments that name no field or do not fit it, and for what the device does not have. The size
/// of a SCSI disk is no configuration: its host hears of it by the command itself.
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
                None if shape.kind == Kind::Net => {
                    let status = device.config_named("status")?;
                    (status, net_status_of(host)?.into())
                }
                None => (device.config_named("capacity")?, number("capacity")?),
            };
            config_input(field, value)
        }
        _ => None,
    }
}

/// The `status` of a network device whose `link` is "up" or "down", or that asks for an announcement.
fn net_status_of(host: &Host) -> Option<u16> {
    let announce = host.args.get("announce").and_then(toml::Value::as_bool);
    let up = match host.args.get("link").map(toml::Value::as_str) {
        Some(Some("down")) if announce != Some(true) => return Some(0),
        Some(Some("up")) | None => net_status::LINK_UP,
        _ => return None,
    };
    match (announce, host.args.contains_key("link")) {
        (Some(true), _) => Some(up | net_status::ANNOUNCE),
        (_, true) => Some(up),
        (_, false) => None,
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
    fn a_link_goes_down_and_up_and_an_announcement_is_asked_for() {
        let net = Shape::new(Kind::Net);
        let status = |value: u8| {
            Some(Input::Config {
                offset: 6,
                bytes: vec![value, 0],
            })
        };
        for (args, expected) in [
            ("link = 'down'", status(0)),
            ("link = 'up'", status(1)),
            ("announce = true", status(3)),
            ("link = 'up'\nannounce = true", status(3)),
            ("field = 'status'\nval = 2", status(2)),
            ("link = 'down'\nannounce = true", None),
            ("link = 'sideways'", None),
            ("link = 1", None),
            ("announce = false", None),
            ("capacity = 1", None),
            ("", None),
        ] {
            assert_eq!(device_input(&command(args), &net), expected, "{args}");
        }
    }

    #[test]
    fn the_size_of_a_scsi_disk_is_no_configuration() {
        let scsi = Shape::new(Kind::Scsi);
        assert_eq!(device_input(&command("capacity = 1"), &scsi), None);
        let seg_max = Some(Input::Config {
            offset: 4,
            bytes: vec![9, 0, 0, 0],
        });
        let args = "field = 'seg_max'\nval = 9";
        assert_eq!(device_input(&command(args), &scsi), seg_max);
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
