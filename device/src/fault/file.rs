//! `[[fault]]` as it is written, and as it is armed.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::act::Act;
use super::args::Args;
use super::catalogue::{CATALOGUE, Verb};
use super::error::{FaultError, nearest, place};
use super::predicate::Predicate;
use super::schedule::{Nth, Per, Until};
use super::trigger::{On, Trigger};
use crate::shape::{Attach, Kind, Shape};

/// A `[[fault]]` table as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultFile {
    /// Its id, which other faults and reports use. Default: the verb.
    pub id: Option<Spanned<String>>,
    /// The device it is armed on, from 0, the default.
    pub device: Option<Spanned<u8>>,
    /// The trigger.
    pub on: Spanned<String>,
    /// The predicate that has to hold as well.
    #[serde(rename = "where")]
    pub condition: Option<Spanned<String>>,
    /// Which of the matches fire.
    pub nth: Option<Spanned<toml::Value>>,
    /// When their count restarts.
    pub per: Option<Spanned<String>>,
    /// The verb.
    #[serde(rename = "do")]
    pub verb: Spanned<String>,
    /// Its arguments.
    #[serde(default)]
    pub args: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    /// How long it goes on once it has fired.
    pub until: Option<Spanned<String>>,
}

/// A fault that can be armed: every value is valid for the device.
#[derive(Clone, Debug)]
pub struct Fault {
    pub(super) id: String,
    device: u8,
    verb: &'static Verb,
    pub(super) trigger: Trigger,
    pub(super) condition: Option<Predicate>,
    pub(super) nth: Nth,
    pub(super) per: Per,
    pub(super) until: Until,
    pub(super) act: Box<dyn Act>,
    /// The other faults that it speaks of, and where.
    speaks_of: Vec<(String, Range<usize>)>,
}

impl Fault {
    /// Checks a table against the device it is meant for.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place in the file.
    ///
    /// ```
    /// use misfire_device::fault::{Fault, FaultFile};
    /// use misfire_device::shape::{Kind, Shape};
    /// let file: FaultFile = toml::from_str(r#"
    ///     on = "cc.queue_msix_vector.wr"
    ///     where = "q == 1 && val != NO_VECTOR"
    ///     nth = "1.."
    ///     do = "vector.reject"
    /// "#).unwrap();
    /// let fault = Fault::check(&file, &Shape::new(Kind::Block)).unwrap();
    /// assert_eq!(fault.name(), "vector.reject");
    /// ```
    pub fn check(file: &FaultFile, shape: &Shape) -> Result<Self, FaultError> {
        let verb = Self::verb(file, shape)?;
        let trigger = Self::trigger(file, verb, shape)?;
        let condition = Self::condition(file, &trigger, shape)?;
        let read =
            |text: &Option<Spanned<String>>| text.as_ref().map(|t| (t.get_ref().clone(), t.span()));
        let nth = match &file.nth {
            Some(nth) => Nth::parse(nth.get_ref()).map_err(|e| e.within(nth.span()))?,
            None => Nth::default(),
        };
        let per = match read(&file.per) {
            Some((text, span)) => Per::parse(&text).map_err(|e| e.within(span))?,
            None => Per::default(),
        };
        let until = match read(&file.until) {
            Some((text, span)) => Until::parse(&text).map_err(|e| e.within(span))?,
            None => Until::default(),
        };
        let args = Args::new(verb, &file.args, file.verb.span())?;
        let act = (verb.build)(&args, shape)?;

        let mut speaks_of = Vec::new();
        if let Some((condition, text)) = condition.as_ref().zip(file.condition.as_ref()) {
            let places = condition.used().fired.iter().map(|(id, part)| {
                let place = place(&text.span(), text.get_ref().len(), Some(part.clone()));
                (id.clone(), place)
            });
            speaks_of.extend(places);
        }
        if let On::Fault(id) = &trigger.on {
            speaks_of.push((id.clone(), file.on.span()));
        }
        if let (Until::Fault(id), Some(text)) = (&until, &file.until) {
            speaks_of.push((id.clone(), text.span()));
        }
        Ok(Self {
            id: read(&file.id).map_or_else(|| verb.name.to_owned(), |(id, _)| id),
            device: file.device.as_ref().map_or(0, |d| *d.get_ref()),
            verb,
            trigger,
            condition,
            nth,
            per,
            until,
            act,
            speaks_of,
        })
    }

    fn verb(file: &FaultFile, shape: &Shape) -> Result<&'static Verb, FaultError> {
        let name = file.verb.get_ref();
        let verb = Verb::named(name).ok_or_else(|| {
            let known = || CATALOGUE.iter().map(|v| v.name);
            let help = nearest(name, known())
                .unwrap_or_else(|| format!("known: {}", known().collect::<Vec<_>>().join(", ")));
            FaultError::at(file.verb.span(), format!("`{name}` is not a fault")).help(help)
        })?;
        if !verb.attachments.contains(&shape.attach) {
            let able: Vec<_> = CATALOGUE
                .iter()
                .filter(|v| v.attachments.contains(&Attach::VhostUser))
                .map(|v| v.name)
                .collect();
            return Err(FaultError::at(
                file.verb.span(),
                format!(
                    "`{name}` is impossible with attach = \"vhost-user\": QEMU owns the registers there"
                ),
            )
            .help(format!(
                "use attach = \"vfio-user\", or one of {}",
                able.join(", ")
            )));
        }
        if !verb.kinds.contains(&shape.kind) {
            let what = match shape.kind {
                Kind::PortCard => "port-card, which is not virtio",
                kind => kind.word(),
            };
            return Err(FaultError::at(
                file.verb.span(),
                format!("`{name}` is impossible on a {what}"),
            ));
        }
        Ok(verb)
    }

    fn trigger(file: &FaultFile, verb: &Verb, shape: &Shape) -> Result<Trigger, FaultError> {
        let text = file.on.get_ref();
        let span = file.on.span();
        let trigger = Trigger::parse(text).map_err(|e| e.within(span.clone()))?;
        if !verb.needs.met_by(&trigger) {
            return Err(FaultError::at(
                span,
                format!(
                    "`{}` can't act on `{text}`: expected {}",
                    verb.name,
                    verb.needs.words()
                ),
            ));
        }
        trigger.check(text, shape).map_err(|e| e.within(span))?;
        Ok(trigger)
    }

    fn condition(
        file: &FaultFile,
        trigger: &Trigger,
        shape: &Shape,
    ) -> Result<Option<Predicate>, FaultError> {
        let Some(text) = &file.condition else {
            return Ok(None);
        };
        let at = |part| place(&text.span(), text.get_ref().len(), part);
        let predicate = Predicate::parse(text.get_ref()).map_err(|error| FaultError {
            span: Some(at(error.span.clone())),
            ..error
        })?;
        let used = predicate.used();
        if let Some((name, part)) = used.names.iter().find(|(n, _)| !trigger.provides(*n)) {
            return Err(FaultError::at(
                at(Some(part.clone())),
                format!("`{}` has no value at `{}`", name.text(), file.on.get_ref()),
            ));
        }
        if let (Attach::VhostUser, Some(part)) = (shape.attach, &used.transport) {
            return Err(FaultError::at(
                at(Some(part.clone())),
                "`mode`, `live`, `status` and `epoch` are not known with attach = \"vhost-user\": QEMU owns the registers there",
            ));
        }
        Ok(Some(predicate))
    }

    /// Its id in the scenario.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The device it is armed on, from 0.
    pub fn device(&self) -> u8 {
        self.device
    }

    /// Its name in the catalogue, such as `vector.reject`.
    pub fn name(&self) -> &'static str {
        self.verb.name
    }

    /// Whether it changes what is written into used rings.
    pub fn touches_rings(&self) -> bool {
        matches!(
            self.verb.object(),
            "used" | "queue" | "late" | "avail_event" | "ring"
        )
    }

    /// Its entry in the catalogue.
    pub fn entry(&self) -> &'static Verb {
        self.verb
    }
}

/// Checks that the faults which others speak of (`fired(…)`, `fault:…`) are there, on the same device.
///
/// # Errors
/// Each id that is not.
pub fn check_references(faults: &[Fault]) -> Vec<FaultError> {
    faults
        .iter()
        .flat_map(|fault| {
            fault.speaks_of.iter().filter_map(move |(id, span)| {
                let same = || faults.iter().filter(|f| f.device == fault.device);
                (!same().any(|f| f.id == *id)).then(|| {
                    FaultError::at(
                        span.clone(),
                        format!("there is no fault `{id}` on device {}", fault.device),
                    )
                    .help(nearest(
                        id,
                        same().map(|f| f.id.as_str()).collect::<Vec<_>>(),
                    ))
                })
            })
        })
        .collect()
}
