//! The values of the driver's service under `Parameters\Device` and `Parameters\Device(d)`: what the INF
//! writes there, and what the miniport has written since.
//!
//! Source: `StorPortRegistryRead`, `StorPortRegistryWrite`, `StorPortAllocateRegistryBuffer`: at
//! `PASSIVE_LEVEL`; one buffer an adapter; a buffer that is too small gets the length that it takes, any other
//! failure a length of 0.

use super::dump;
use super::entry::is_dumping;
use super::port::{Port, of_extension};
use crate::dbg_print;
use crate::hal::{Local, vm};
use crate::nt::dispatch::{self, MOST_DEVICES};
use alloc::string::String;
use alloc::vec::Vec;

/// Most values, those that the miniport writes among them.
const MOST_VALUES: usize = 64;
/// Longest name and longest value, in bytes.
const LONGEST_NAME: usize = 64;
const LONGEST_DATA: usize = 1024;
/// The largest buffer.
const LARGEST: u32 = 64 << 10;

/// Types of values. Texts are ASCII with their NUL, as a miniport gets them.
mod kind {
    pub const SZ: u32 = 1;
    pub const BINARY: u32 = 3;
    pub const DWORD: u32 = 4;
    pub const EXPAND_SZ: u32 = 2;
    pub const MULTI_SZ: u32 = 7;
    pub const QWORD: u32 = 11;
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Whose: none for all adapters.
    adapter: Option<usize>,
    name: String,
    kind: u32,
    data: Vec<u8>,
}

impl Value {
    /// Reads `ADAPTER:TYPE:NAME:DATA`, as the harness writes it: `all` or a number, a number, bytes in
    /// hexadecimal.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let adapter = match parts.next()? {
            "all" => None,
            number => Some(number.parse().ok().filter(|n| *n < MOST_DEVICES)?),
        };
        let kind = parts.next()?.parse().ok()?;
        let name = String::from_utf8(bytes(parts.next()?)?).ok()?;
        let data = bytes(parts.next()?)?;
        let is_whole = parts.next().is_none();
        Some(Self {
            adapter,
            name,
            kind,
            data,
        })
        .filter(|value| is_whole && value.is_one())
    }

    fn is_one(&self) -> bool {
        let length = self.data.len();
        let is_sized = match self.kind {
            kind::SZ | kind::EXPAND_SZ => self.data.is_ascii() && self.data.last() == Some(&0),
            kind::MULTI_SZ => {
                let ends = self.data.ends_with(&[0, 0]) || self.data == [0];
                self.data.is_ascii() && ends
            }
            kind::QWORD => length == 8,
            kind::BINARY => true,
            kind::DWORD => length == 4,
            _ => false,
        };
        is_sized && length <= LONGEST_DATA && (1..=LONGEST_NAME).contains(&self.name.len())
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let byte = |n: usize| u8::from_str_radix(hex.get(n..n + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// What is there, in no order.
struct Values(Vec<Value>);

impl Values {
    fn find(&self, adapter: Option<usize>, name: &str) -> Option<&Value> {
        let is = |value: &&Value| value.adapter == adapter && value.name.eq_ignore_ascii_case(name);
        self.0.iter().find(is)
    }

    /// A value's bytes.
    ///
    /// # Errors
    /// How many bytes it takes, where there is room for fewer; 0 for a value that is not there, or is of
    /// another type.
    fn read(
        &self,
        adapter: Option<usize>,
        name: &str,
        kind: u32,
        room: usize,
    ) -> Result<Vec<u8>, usize> {
        let value = self
            .find(adapter, name)
            .filter(|value| value.kind == kind)
            .ok_or(0usize)?;
        if value.data.len() > room {
            return Err(value.data.len());
        }
        Ok(value.data.clone())
    }

    /// Puts a value in the place of the one of its name. Whether it is one, and there is room for it.
    fn write(&mut self, value: Value) -> bool {
        if !value.is_one() {
            return false;
        }
        let same = |old: &Value| {
            old.adapter == value.adapter && old.name.eq_ignore_ascii_case(&value.name)
        };
        match self.0.iter().position(same) {
            Some(n) => self.0[n] = value,
            None if self.0.len() < MOST_VALUES => self.0.push(value),
            None => return false,
        }
        true
    }
}

static VALUES: Local<Values> = Local::new(Values(Vec::new()));

/// What the INF has written. Whether there is room for all of it.
pub fn install(values: &[Value]) -> bool {
    VALUES.with(|all| values.iter().all(|value| all.write(value.clone())))
}

/// The adapter that may use the registry now.
fn user(extension: u64, what: &str) -> Option<&'static Port> {
    dump::not_now(extension, what);
    let port = of_extension(extension)?;
    if is_dumping() {
        return None;
    }
    if dispatch::irql() != 0 {
        dbg_print!("NT: {what} above PASSIVE_LEVEL, and that fails");
        return None;
    }
    Some(port)
}

/// `StorPortAllocateRegistryBuffer`: one at a time.
pub(super) extern "win64" fn allocate(extension: u64, length: u64) -> u64 {
    let Some(port) = user(extension, "a buffer for the registry is taken") else {
        return 0;
    };
    // SAFETY: the miniport's pointer, which it vouches for.
    let bytes = unsafe { (length as *const u32).read_unaligned() };
    let is_taken = port.with(|state| state.registry_buffer.0 != 0);
    if is_taken || !(1..=LARGEST).contains(&bytes) {
        return 0;
    }
    let memory = vm::allocate(bytes.into()).unwrap_or(0);
    port.with(|state| state.registry_buffer = (memory, bytes));
    memory
}

/// `StorPortFreeRegistryBuffer`: the memory stays away, as that of every buffer.
pub(super) extern "win64" fn free(extension: u64, buffer: u64) {
    if let Some(port) = of_extension(extension) {
        port.with(|state| {
            if state.registry_buffer.0 == buffer {
                state.registry_buffer = (0, 0);
            }
        });
    }
}

/// `StorPortRegistryRead`.
pub(super) extern "win64" fn read(
    extension: u64,
    name: u64,
    global: u32,
    kind: u32,
    buffer: u64,
    length: u64,
) -> u8 {
    // SAFETY: the miniport's pointer, which it vouches for.
    let room = unsafe { (length as *const u32).read_unaligned() };
    let found = user(extension, "the registry is read")
        .ok_or(0)
        .and_then(|port| {
            let name = text(name).ok_or(0usize)?;
            if !is_buffer(port, buffer, room) {
                return Err(0);
            }
            VALUES.with(|all| all.read(key(port, global), &name, kind, room as usize))
        });
    let (size, is_read) = match &found {
        Ok(data) => (data.len(), 1),
        Err(size) => (*size, 0),
    };
    // SAFETY: as above, and the buffer is the port driver's own.
    unsafe {
        (length as *mut u32).write_unaligned(size as u32);
        if let Ok(data) = found {
            core::ptr::copy_nonoverlapping(data.as_ptr(), buffer as *mut u8, data.len());
        }
    }
    is_read
}

/// `StorPortRegistryWrite`: what is written is there until the end of the run.
pub(super) extern "win64" fn write(
    extension: u64,
    name: u64,
    global: u32,
    kind: u32,
    buffer: u64,
    length: u32,
) -> u8 {
    let written = user(extension, "the registry is written").and_then(|port| {
        let name = text(name)?;
        if !is_buffer(port, buffer, length) || length as usize > LONGEST_DATA {
            return None;
        }
        // SAFETY: the buffer is the port driver's own, and this long.
        let data =
            unsafe { core::slice::from_raw_parts(buffer as *const u8, length as usize) }.to_vec();
        let value = Value {
            adapter: key(port, global),
            name,
            kind,
            data,
        };
        VALUES.with(|all| all.write(value)).then_some(())
    });
    written.is_some().into()
}

/// Where a value lies: the adapter's number is its device's.
fn key(port: &Port, global: u32) -> Option<usize> {
    (global == 0).then(|| port.number())
}

/// Whether these bytes lie in the adapter's registry buffer.
fn is_buffer(port: &Port, buffer: u64, length: u32) -> bool {
    let (at, size) = port.with(|state| state.registry_buffer);
    let end = buffer.saturating_add(length.into());
    let is_inside = at != 0 && buffer >= at && end <= at + u64::from(size);
    if !is_inside {
        dbg_print!(
            "NT: the registry gets a buffer that is not from StorPortAllocateRegistryBuffer, and that fails"
        );
    }
    is_inside
}

/// A value's name, as the miniport has it.
fn text(at: u64) -> Option<String> {
    let mut name = Vec::new();
    while at != 0 && name.len() <= LONGEST_NAME {
        // SAFETY: the miniport's text, which ends with a NUL.
        match unsafe { (at as *const u8).add(name.len()).read() } {
            0 => return String::from_utf8(name).ok(),
            byte => name.push(byte),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// `Retries` of all adapters is 7, that of adapter 1 is 9; `Who` of all is a text.
    const WRITTEN: [&str; 3] = [
        "all:4:52657472696573:07000000",
        "1:4:52657472696573:09000000",
        "all:1:57686f:6d6500",
    ];

    fn values() -> Values {
        let mut values = Values(Vec::new());
        for text in WRITTEN {
            assert!(values.write(Value::parse(text).unwrap()), "{text}");
        }
        values
    }

    #[test]
    fn what_the_inf_has_written_is_read_back_by_adapter_name_and_type() {
        let values = values();
        assert_eq!(
            values.read(None, "retries", kind::DWORD, 4),
            Ok(vec![7, 0, 0, 0])
        );
        assert_eq!(
            values.read(Some(1), "Retries", kind::DWORD, 8),
            Ok(vec![9, 0, 0, 0])
        );
        assert_eq!(values.read(None, "Who", kind::SZ, 3), Ok(b"me\0".to_vec()));
        for (adapter, name, kind) in [
            (Some(0), "Retries", kind::DWORD),
            (None, "Retry", kind::DWORD),
            (None, "Retries", kind::BINARY),
        ] {
            assert_eq!(
                values.read(adapter, name, kind, 64),
                Err(0),
                "{adapter:?} {name}"
            );
        }
    }

    #[test]
    fn a_buffer_that_is_too_small_gets_the_length_that_it_takes() {
        assert_eq!(values().read(None, "Who", kind::SZ, 2), Err(3));
        assert_eq!(values().read(None, "Retries", kind::DWORD, 3), Err(4));
    }

    #[test]
    fn what_a_miniport_writes_replaces_what_was_there_and_has_an_end() {
        let mut values = values();
        let value = |name: String, kind, data: &[u8]| Value {
            adapter: None,
            name,
            kind,
            data: data.into(),
        };
        assert!(values.write(value("RETRIES".into(), kind::BINARY, &[1; 9])));
        assert_eq!(
            values.read(None, "Retries", kind::BINARY, 9),
            Ok(vec![1; 9])
        );
        assert_eq!(values.0.len(), WRITTEN.len());
        assert!(!values.write(value("a".into(), kind::DWORD, &[1; 3])));
        assert!(!values.write(value("a".into(), kind::SZ, b"no end")));
        assert!(!values.write(value("a".into(), 6, &[0; 4])));
        assert!(!values.write(value("a".into(), kind::QWORD, &[0; 4])));
        assert!(!values.write(value("a".into(), kind::MULTI_SZ, b"one\0")));
        assert!(values.write(value("Retries".into(), kind::MULTI_SZ, b"one\0two\0\0")));
        assert!(values.write(value("Retries".into(), kind::QWORD, &[0; 8])));
        assert!(values.write(value("Retries".into(), kind::EXPAND_SZ, b"%a%\0")));
        assert!(values.write(value("Retries".into(), kind::BINARY, &[1; 9])));
        assert!(!values.write(value("a".into(), kind::BINARY, &[0; LONGEST_DATA + 1])));
        assert!(!values.write(value("a".repeat(LONGEST_NAME + 1), kind::BINARY, &[])));
        let more = (0..MOST_VALUES)
            .filter(|n| values.write(value(alloc::format!("v{n}"), kind::BINARY, &[])));
        assert_eq!(more.count(), MOST_VALUES - WRITTEN.len());
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in [
            "",
            "all:4:61",
            "all:4:61:07",
            "all:4::07000000",
            "16:4:61:07000000",
            "all:4:6:07000000",
            "all:4:61:0700000",
            "all:6:61:00",
            "all:1:61:61",
            "all:4:61:07000000:",
            "x:4:61:07000000",
        ] {
            assert_eq!(Value::parse(text), None, "{text}");
        }
    }
}
