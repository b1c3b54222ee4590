//! The mistakes a driver can be told to make. Each is asked for in exactly one place, and changes
//! nothing but what its name says.

mod list;

use list::MOST;
pub use list::Mistake;

/// A set of mistakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mistakes([Option<&'static str>; MOST]);

impl Mistakes {
    /// Reads `a,b,c`.
    ///
    /// # Errors
    /// The name that is not a mistake, or one too many.
    pub fn parse(names: &str) -> Result<Self, &str> {
        let mut set = Self::default();
        for name in names.split(',') {
            let known = list::mistakes().find(|known| known.name == name);
            let place = set.0.iter_mut().find(|place| place.is_none());
            match (known, place) {
                (Some(known), Some(place)) => *place = Some(known.name),
                _ => return Err(name),
            }
        }
        Ok(set)
    }

    /// Whether the driver makes this mistake.
    pub fn has(self, mistake: Mistake) -> bool {
        self.0.iter().flatten().any(|made| *made == mistake.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_read_by_its_name_and_alone() {
        for mistake in list::mistakes() {
            let set = Mistakes::parse(mistake.name).unwrap();
            let made = list::mistakes().filter(|other| set.has(**other));
            assert!(made.map(|other| other.name).eq([mistake.name]));
        }
    }

    #[test]
    fn an_unknown_mistake_is_named() {
        assert_eq!(Mistakes::parse("no-read-back,nonsense"), Err("nonsense"));
    }

    #[test]
    fn a_driver_makes_so_many_mistakes_at_once_and_no_more() {
        let names = ["no-read-back"; MOST].join(",");
        assert!(Mistakes::parse(&names).is_ok());
        assert!(Mistakes::parse(&(names + ",no-reset-wait")).is_err());
    }
}
