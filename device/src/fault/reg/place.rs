//! Where a register lies in what an access reads.

use crate::shape::Shape;
use crate::spec::{CommonCfg, Field, LegacyCfg};
use crate::trace::{Access, Cause};

/// Bytes of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The register.
    pub field: Field,
    /// How many bytes it has.
    pub width: u8,
}

impl Place {
    /// The bytes of a register of a device of this shape. Device configuration has the width of the
    /// field that begins there, where it is known, or four bytes.
    pub fn of(field: Field, shape: &Shape) -> Self {
        let field = field.as_modern();
        let width = match field {
            Field::Device(off) => shape
                .kind
                .device_type()
                .and_then(|device| device.config_at(off))
                .filter(|f| f.offset == off)
                .map_or(4, |f| f.width),
            Field::Pba | Field::Msi => 8,
            field => field.width().unwrap_or(4),
        };
        Self { field, width }
    }

    /// The largest value that fits.
    pub fn most(self) -> u64 {
        u64::MAX >> (64 - 8 * u32::from(self.width))
    }

    /// For each byte of the access, which byte of the register it is.
    fn bytes(self, access: &Access) -> impl Iterator<Item = Option<u8>> {
        let begins = offset_of(self.field);
        let at = access.register().and_then(|field| {
            let block = std::mem::discriminant(&field) == std::mem::discriminant(&self.field);
            let same = match field {
                // There its neighbours are others.
                field if access.legacy().is_some() => field == self.field,
                Field::Common(_) | Field::Device(_) | Field::Pci(_) => block,
                field => field == self.field,
            };
            same.then(|| offset_at(field, access.off))
        });
        (0..u64::from(access.width.min(8))).map(move |i| {
            let byte = (at? + i).checked_sub(begins)?;
            (byte < u64::from(self.width)).then_some(byte as u8)
        })
    }

    /// Whether an access touches it.
    pub fn is_touched_by(self, access: &Access) -> bool {
        self.bytes(access).any(|byte| byte.is_some())
    }

    /// Its bytes in what an access reads; 0 where the access does not reach.
    pub fn get(self, access: &Access, value: u64) -> u64 {
        (0..)
            .zip(self.bytes(access))
            .fold(0, |got, (i, byte)| match byte {
                Some(byte) => got | (value >> (8 * i) & 0xff) << (8 * byte),
                None => got,
            })
    }

    /// Puts its bytes into what an access reads.
    pub fn put(self, access: &Access, val: u64, value: &mut u64) {
        for (i, byte) in (0..).zip(self.bytes(access)) {
            if let Some(byte) = byte {
                *value = (*value & !(0xff << (8 * i))) | (val >> (8 * byte) & 0xff) << (8 * i);
            }
        }
    }

    /// What a fault of this register touches, as rules name it.
    pub fn object(self, q: Option<u16>) -> String {
        use CommonCfg as C;
        let name = match self.field {
            Field::Legacy(LegacyCfg::QueueAddress) => {
                return q.map_or_else(|| "device".to_owned(), |q| Cause::Queue(q).to_string());
            }
            Field::Common(r) if r.scope() == crate::spec::Scope::queue => {
                return q.map_or_else(|| "device".to_owned(), |q| Cause::Queue(q).to_string());
            }
            Field::Common(
                C::DeviceStatus
                | C::DeviceFeature
                | C::DeviceFeatureSelect
                | C::DriverFeature
                | C::DriverFeatureSelect,
            ) => "status",
            Field::Common(C::ConfigMsixVector | C::ConfigGeneration) | Field::Device(_) => "cfg",
            Field::Isr => "isr",
            _ => "device",
        };
        name.to_owned()
    }
}

/// Where a register begins in its block; what is in no block begins where its capability's double word does.
fn offset_of(field: Field) -> u64 {
    match field {
        Field::Common(r) => r.offset(),
        Field::Device(off) => off.into(),
        Field::Pci(r) => r.offset(),
        Field::MsixControl | Field::MsiControl => 2,
        _ => 0,
    }
}

/// Where an access begins, in the same count.
fn offset_at(field: Field, off: u64) -> u64 {
    match field {
        Field::Common(r) => r.offset() + off % u64::from(r.width()),
        Field::Legacy(r) => off % u64::from(r.width()),
        Field::Device(first) => first.into(),
        Field::Pci(_) => off,
        Field::MsixControl | Field::MsiControl | Field::PowerControl | Field::DeviceControl => {
            off % 4
        }
        Field::Pba | Field::Msi => off % 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Kind;
    use crate::trace::{Op, Space};

    fn read(field: Field, off: u64, width: u8) -> Access {
        Access {
            op: Op::Read,
            space: Space::Bar0,
            off,
            width,
            val: None,
            field: Some(field),
            q: None,
            window: false,
        }
    }

    fn place(field: Field) -> Place {
        Place::of(field, &Shape::new(Kind::Block))
    }

    #[test]
    fn a_register_is_found_in_a_wider_access_and_in_a_part_of_itself() {
        let generation = place(Field::Common(CommonCfg::ConfigGeneration));
        let wide = read(Field::Common(CommonCfg::DeviceStatus), 0x14, 4);
        let mut value = 0x1122_3344;
        assert_eq!(generation.get(&wide, value), 0x33);
        generation.put(&wide, 0xaa, &mut value);
        assert_eq!(value, 0x1122_aa44);
        let size = place(Field::Common(CommonCfg::QueueSize));
        let high = read(Field::Common(CommonCfg::QueueSize), 0x19, 1);
        let mut value = 0x55;
        size.put(&high, 0x1234, &mut value);
        assert_eq!(value, 0x12);
    }

    #[test]
    fn a_field_of_64_bits_is_put_into_each_of_its_halves() {
        let capacity = place(Field::Device(0));
        assert_eq!(capacity.width, 8);
        for (off, expected) in [(0, 0x5566_7788), (4, 0x1122_3344)] {
            let half = read(Field::Device(off), 0x2000 + u64::from(off), 4);
            let mut value = 0;
            capacity.put(&half, 0x1122_3344_5566_7788, &mut value);
            assert_eq!(value, expected);
        }
        let other = read(Field::Device(8), 0x2008, 4);
        assert!(!capacity.is_touched_by(&other));
    }

    #[test]
    fn message_control_is_found_at_its_place_in_the_capability() {
        let control = place(Field::MsixControl);
        let mut value = 0;
        control.put(&read(Field::MsixControl, 0x70, 4), 0x8002, &mut value);
        assert_eq!(value, 0x8002_0000);
        control.put(&read(Field::MsixControl, 0x72, 2), 0x8002, &mut value);
        assert_eq!(value & 0xffff, 0x8002);
    }
}
