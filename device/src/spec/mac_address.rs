//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The address of one station, as `52:54:00:4d:46:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

/// The text is not the address of one station.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the address of a station: expected six bytes such as \"52:54:00:4d:46:00\", the first of them even"
)]
pub struct NotAnAddress(pub String);

impl MacAddress {
    /// Whether it is the address of several stations (IEEE 802, 8.2.2).
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let wrong = || NotAnAddress(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let digits = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
            let part = parts.next().filter(digits).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        let address = Self(bytes);
        let ends = parts.next().is_none();
        (ends && !address.is_group() && bytes != [0; 6])
            .then_some(address)
            .ok_or_else(wrong)
    }
}

impl Serialize for MacAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddress {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_and_others_are_refused() {
        let text = "52:54:00:4d:46:0f";
        assert_eq!(text.parse::<MacAddress>().unwrap().to_string(), text);
        for wrong in [
            "",
            "52:54:00:4d:46",
            "52:54:00:4d:46:00:00",
            "53:54:00:4d:46:00",
            "52-54-00-4d-46-00",
            "52:54:00:4d:46:0",
            "52:54:00:4d:46:+1",
            "00:00:00:00:00:00",
        ] {
            assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
        }
    }
}
