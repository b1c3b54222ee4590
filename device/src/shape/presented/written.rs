//! How these values are written: a word or a number where one is enough, else a list.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::{Caps, NotifyOrder, Oddity, QueueSizes};

/// One value, or several.
enum OneOrMore<T> {
    Word(String),
    Number(u16),
    List(Vec<T>),
}

struct Reader<T> {
    expected: &'static str,
    of: std::marker::PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
    type Value = OneOrMore<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Self::Value, E> {
        Ok(OneOrMore::Word(word.to_owned()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        u16::try_from(number)
            .map(OneOrMore::Number)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        u16::try_from(number)
            .map(OneOrMore::Number)
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(OneOrMore::List(list))
    }
}

fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
    expected: &'static str,
) -> Result<OneOrMore<T>, D::Error> {
    from.deserialize_any(Reader {
        expected,
        of: std::marker::PhantomData,
    })
}

fn wrong<T, E: de::Error>(expected: &'static str) -> Result<T, E> {
    Err(E::custom(format_args!("expected {expected}")))
}

impl<'de> Deserialize<'de> for QueueSizes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a number from 1 to 32768, or a list of them";
        match read(from, EXPECTED)? {
            OneOrMore::Number(size) => Ok(size.into()),
            OneOrMore::List(sizes) => Ok(Self(sizes)),
            OneOrMore::Word(_) => wrong(EXPECTED),
        }
    }
}

impl Serialize for QueueSizes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.written() {
            [size] => size.serialize(to),
            sizes => sizes.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for NotifyOrder {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "\"identity\", \"reverse\" or a list of numbers";
        match read(from, EXPECTED)? {
            OneOrMore::Word(word) if word == "identity" => Ok(Self::Identity),
            OneOrMore::Word(word) if word == "reverse" => Ok(Self::Reverse),
            OneOrMore::List(offs) => Ok(Self::Each(offs)),
            _ => wrong(EXPECTED),
        }
    }
}

impl Serialize for NotifyOrder {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Identity => "identity".serialize(to),
            Self::Reverse => "reverse".serialize(to),
            Self::Each(offs) => offs.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Oddity {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        let known = Self::ALL.iter().find(|(_, name)| *name == word);
        known.map(|(oddity, _)| *oddity).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(_, name)| *name).collect();
            de::Error::custom(format_args!(
                "unknown caps `{word}`: expected normal, {}",
                names.join(", ")
            ))
        })
    }
}

impl Serialize for Oddity {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let known = Self::ALL.iter().find(|(oddity, _)| oddity == self);
        known.map_or("", |(_, name)| name).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Caps {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "\"normal\", another word, or a list of them";
        match read::<Oddity, D>(from, EXPECTED)? {
            OneOrMore::Word(word) if word == "normal" => Ok(Self::default()),
            OneOrMore::Word(word) => {
                let word = de::value::StringDeserializer::<D::Error>::new(word);
                Ok(Self(vec![Oddity::deserialize(word)?]))
            }
            OneOrMore::List(all) => Ok(Self(all)),
            OneOrMore::Number(_) => wrong(EXPECTED),
        }
    }
}

impl Serialize for Caps {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => "normal".serialize(to),
            [one] => one.serialize(to),
            all => all.serialize(to),
        }
    }
}
