//! Interrupt objects: where `WdfInterruptCreate` may be called, what it returns, which message an
//! object stands for, and when connecting it fails.
//!
//! Sources: the documentation of `WdfInterruptCreate`; the framework's public source for the order
//! of messages and for objects without a resource, which are never connected; the forum thread
//! "Invalid Interrupt Vector?" for the objects of one message and their failure.

use super::resources::{Descriptor, LATCHED, Resources, Share};
use super::status::NtStatus;
use alloc::vec::Vec;

/// Where the driver is when it calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// `EvtDriverDeviceAdd`.
    #[default]
    DeviceAdd,
    /// `EvtDevicePrepareHardware`.
    PrepareHardware,
    /// Later: the device has been started.
    Started,
}

/// The part of `WDF_INTERRUPT_CONFIG` that decides about resources: which descriptor of the raw and
/// of the translated list, or NULL.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// `InterruptRaw`.
    pub raw: Option<usize>,
    /// `InterruptTranslated`.
    pub translated: Option<usize>,
}

/// `WDF_INTERRUPT_INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Message or line.
    pub message_signaled: bool,
    /// Which message: what a device's registers want.
    pub message_number: u32,
    /// The vector at the processor: what a device's registers do not want.
    pub vector: u32,
    /// DIRQL.
    pub irql: u16,
    /// Processors it may go to.
    pub affinity: u64,
    /// Latched (1) or level sensitive (0).
    pub mode: u16,
    /// Exclusive or shared.
    pub share: Share,
}

#[derive(Clone, Debug)]
struct Object {
    created_with: Option<usize>,
    info: Option<Info>,
    connected: bool,
}

/// The interrupt objects of a device.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    place: Place,
    objects: Vec<Object>,
}

impl Objects {
    /// The device moves on. Objects of `EvtDevicePrepareHardware` live until the hardware is
    /// released, those of `EvtDriverDeviceAdd` as long as the device.
    pub fn enter(&mut self, place: Place) {
        self.place = place;
    }

    /// `WdfInterruptCreate`. The result is the object's handle.
    ///
    /// # Errors
    /// `INVALID_DEVICE_STATE` after the start, and in `EvtDevicePrepareHardware` with both
    /// descriptors NULL; `INVALID_PARAMETER` when they do not fit the place or each other.
    pub fn create(&mut self, config: Config, resources: &Resources) -> Result<usize, NtStatus> {
        let (info, created_with) = match (self.place, config.raw, config.translated) {
            (Place::Started, ..) => return Err(NtStatus::INVALID_DEVICE_STATE),
            (Place::PrepareHardware, None, None) => return Err(NtStatus::INVALID_DEVICE_STATE),
            (Place::DeviceAdd, None, None) => (None, None),
            (Place::PrepareHardware, Some(raw), Some(translated)) if raw == translated => {
                (Some(self.next_of(resources, raw)?), Some(raw))
            }
            _ => return Err(NtStatus::INVALID_PARAMETER),
        };
        self.objects.push(Object {
            created_with,
            info,
            connected: false,
        });
        Ok(self.objects.len() - 1)
    }

    /// What the next object of descriptor `n` stands for. One descriptor with a count gives its
    /// messages in turn; a further object finds none left and gets the first again.
    fn next_of(&self, resources: &Resources, n: usize) -> Result<Info, NtStatus> {
        let raw = resources.raw.get(n).ok_or(NtStatus::INVALID_PARAMETER)?;
        let translated = resources
            .translated
            .get(n)
            .ok_or(NtStatus::INVALID_PARAMETER)?;
        let same = |object: &&Object| object.created_with == Some(n);
        let turn = self.objects.iter().filter(same).count() as u32;
        let within = if turn < u32::from(raw.message_count()) {
            turn
        } else {
            0
        };
        Ok(info_of(translated, first_message(resources, n), within))
    }

    /// PnP has assigned resources: objects of `EvtDriverDeviceAdd` get them in order, and those
    /// that are left over get none.
    pub fn assign(&mut self, resources: &Resources) {
        let infos = resources
            .raw
            .iter()
            .zip(&resources.translated)
            .enumerate()
            .flat_map(|(n, (raw, translated))| {
                let count = if raw.is_message() {
                    u32::from(raw.message_count())
                } else {
                    1
                };
                (0..count).map(move |k| info_of(translated, first_message(resources, n), k))
            });
        let added = self.objects.iter_mut().filter(|o| o.created_with.is_none());
        for (object, info) in added.zip(infos) {
            object.info = Some(info);
        }
    }

    /// The hardware is released: what `EvtDevicePrepareHardware` made is deleted, the rest loses
    /// its resources.
    pub fn revoke(&mut self) {
        self.objects.retain(|o| o.created_with.is_none());
        for object in &mut self.objects {
            object.info = None;
            object.connected = false;
        }
    }

    /// `WdfInterruptGetInfo`; `None` for an object that was assigned nothing.
    pub fn info(&self, handle: usize) -> Option<Info> {
        self.objects.get(handle)?.info
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Connects every object that has a resource, by `connect(handle, info)`; after a failure the
    /// ones that were connected are disconnected again.
    ///
    /// # Errors
    /// What `connect` gave, with the object's `Info`.
    pub fn connect(
        &mut self,
        mut connect: impl FnMut(usize, &Info) -> Result<(), NtStatus>,
        disconnect: impl FnMut(usize, &Info),
    ) -> Result<(), (NtStatus, Info)> {
        for handle in 0..self.objects.len() {
            let object = &mut self.objects[handle];
            let Some(info) = object.info else { continue };
            if let Err(status) = connect(handle, &info) {
                self.disconnect(disconnect);
                return Err((status, info));
            }
            object.connected = true;
        }
        Ok(())
    }

    /// Disconnects every object that is connected, by `disconnect(handle, info)`.
    pub fn disconnect(&mut self, mut disconnect: impl FnMut(usize, &Info)) {
        for (handle, object) in self.objects.iter_mut().enumerate() {
            if let (true, Some(info)) = (core::mem::take(&mut object.connected), object.info) {
                disconnect(handle, &info);
            }
        }
    }
}

fn first_message(resources: &Resources, n: usize) -> u32 {
    let before = resources.raw[..n].iter().filter(|d| d.is_message());
    before.map(|d| u32::from(d.message_count())).sum()
}

fn info_of(translated: &Descriptor, first: u32, within: u32) -> Info {
    Info {
        message_signaled: translated.is_message(),
        message_number: if translated.is_message() {
            first + within
        } else {
            0
        },
        vector: translated.vector() + within,
        irql: translated.level(),
        affinity: translated.affinity(),
        mode: translated.flags & LATCHED,
        share: translated.share,
    }
}

/// `IoConnectInterruptEx` on a vector that `others` are connected to: only lines are shared.
///
/// # Errors
/// `INVALID_PARAMETER_1`, as the thread's log shows it.
pub fn may_connect(info: &Info, mut others: impl Iterator<Item = Share>) -> Result<(), NtStatus> {
    let exclusive = others.any(|other| other != Share::Shared || info.share != Share::Shared);
    if exclusive {
        Err(NtStatus::INVALID_PARAMETER_1)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn msi(count: u16) -> Resources {
        Resources {
            raw: vec![Descriptor::raw_message(count, 0x40, 1)],
            translated: vec![Descriptor::translated_message(4, 0, 0x40, 1)],
        }
    }

    fn msix(count: u32) -> Resources {
        Resources {
            raw: (0..count)
                .map(|n| Descriptor::raw_message(1, 0x63 + 16 * n, 1))
                .collect(),
            translated: (0..count)
                .map(|n| Descriptor::translated_message(6, 0, 0x63 + 16 * n, 1))
                .collect(),
        }
    }

    fn prepared() -> Objects {
        let mut objects = Objects::default();
        objects.enter(Place::PrepareHardware);
        objects
    }

    fn both(n: usize) -> Config {
        Config {
            raw: Some(n),
            translated: Some(n),
        }
    }

    fn numbers(objects: &Objects) -> Vec<Option<(u32, u32)>> {
        (0..objects.len())
            .map(|h| objects.info(h).map(|i| (i.message_number, i.vector)))
            .collect()
    }

    #[test]
    fn objects_are_created_with_nothing_in_add_device_and_with_both_in_prepare_hardware() {
        let resources = msi(1);
        let mut objects = Objects::default();
        assert_eq!(
            objects.create(both(0), &resources),
            Err(NtStatus::INVALID_PARAMETER)
        );
        assert_eq!(objects.create(Config::default(), &resources), Ok(0));
        objects.enter(Place::PrepareHardware);
        assert_eq!(
            objects.create(Config::default(), &resources),
            Err(NtStatus::INVALID_DEVICE_STATE)
        );
        let half = Config {
            raw: Some(0),
            translated: None,
        };
        assert_eq!(
            objects.create(half, &resources),
            Err(NtStatus::INVALID_PARAMETER)
        );
        assert_eq!(
            objects.create(both(1), &resources),
            Err(NtStatus::INVALID_PARAMETER)
        );
        assert_eq!(objects.create(both(0), &resources), Ok(1));
        objects.enter(Place::Started);
        assert_eq!(
            objects.create(both(0), &resources),
            Err(NtStatus::INVALID_DEVICE_STATE)
        );
    }

    #[test]
    fn one_descriptor_with_eight_messages_makes_eight_objects_with_consecutive_vectors() {
        let mut objects = prepared();
        for _ in 0..8 {
            objects.create(both(0), &msi(8)).unwrap();
        }
        let expected: Vec<_> = (0..8).map(|n| Some((n, 0x40 + n))).collect();
        assert_eq!(numbers(&objects), expected);
    }

    #[test]
    fn further_objects_of_one_message_are_the_same_message_and_do_not_connect() {
        let mut objects = prepared();
        for _ in 0..4 {
            objects.create(both(0), &msi(1)).unwrap();
        }
        assert_eq!(numbers(&objects), [Some((0, 0x40)); 4]);
        let mut connected: Vec<Share> = vec![];
        let mut disconnected = 0;
        let (status, info) = objects
            .connect(
                |_, info| {
                    may_connect(info, connected.iter().copied())?;
                    connected.push(info.share);
                    Ok(())
                },
                |_, _| disconnected += 1,
            )
            .unwrap_err();
        assert_eq!(
            (status, info.vector, disconnected),
            (NtStatus::INVALID_PARAMETER_1, 0x40, 1)
        );
    }

    #[test]
    fn with_msix_the_message_number_is_the_descriptors_place() {
        let mut objects = prepared();
        for n in 0..3 {
            objects.create(both(n), &msix(3)).unwrap();
        }
        assert_eq!(
            numbers(&objects),
            [Some((0, 0x63)), Some((1, 0x73)), Some((2, 0x83))]
        );
    }

    #[test]
    fn objects_from_add_device_that_get_nothing_are_not_connected() {
        let mut objects = Objects::default();
        for _ in 0..3 {
            objects
                .create(Config::default(), &Resources::default())
                .unwrap();
        }
        objects.assign(&msi(2));
        assert_eq!(numbers(&objects), [Some((0, 0x40)), Some((1, 0x41)), None]);
        let mut connected = 0;
        let connect = |_, _: &Info| {
            connected += 1;
            Ok(())
        };
        objects.connect(connect, |_, _| {}).unwrap();
        assert_eq!(connected, 2);
        objects.revoke();
        assert_eq!(numbers(&objects), [None, None, None]);
    }

    #[test]
    fn a_line_is_shared_with_a_line_and_with_nothing_else() {
        let line = info_of(&Descriptor::line(6, 0x63, 1), 0, 0);
        let message = info_of(&Descriptor::translated_message(6, 0, 0x63, 1), 0, 0);
        let shared = || [Share::Shared].into_iter();
        assert_eq!(may_connect(&line, shared()), Ok(()));
        assert_eq!(
            may_connect(&message, shared()),
            Err(NtStatus::INVALID_PARAMETER_1)
        );
        assert_eq!(may_connect(&message, [].into_iter()), Ok(()));
    }
}
