//! A descriptor chain, read once and never believed.

use std::ops::Deref;

use virtio_queue::DescriptorChain;
use vm_memory::{Bytes, GuestAddress, GuestMemory};

/// A buffer of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    address: u64,
    length: u32,
}

/// The buffers of one chain. It is filled again for every chain, so that fetching one allocates
/// only until the longest has been seen; it never holds more buffers than the queue has elements.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    head: u16,
    readable: Buffers,
    writable: Buffers,
    /// A device-readable buffer follows a device-writable one (2.7.4.2 forbids it).
    disordered: bool,
    /// There are more buffers than elements in the queue (2.7.5.3.1 forbids it).
    overlong: bool,
    /// Where the last device-writable byte is.
    last_writable: Option<u64>,
}

/// The chain does not end, or has no byte that could take a status: nobody can be told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chain has no end, or no place for a status")]
pub struct NoStatus;

impl Chain {
    /// Reads all descriptors of `chain`; keeps at most `limit` of them.
    ///
    /// # Errors
    /// The chain loops, leaves the memory or its table, or is longer than 4 GiB.
    pub fn fetch<M>(&mut self, chain: DescriptorChain<M>, limit: u16) -> Result<(), NoStatus>
    where
        M: Deref,
        M::Target: GuestMemory,
    {
        self.begin(chain.head_index());
        let mut ended = false;
        for descriptor in chain {
            let (address, length) = (descriptor.addr().0, descriptor.len());
            self.push(address, length, descriptor.is_write_only(), limit);
            // The crate's iterator stops alike at the end and at a descriptor it can't follow.
            ended = !descriptor.has_next();
        }
        if ended { Ok(()) } else { Err(NoStatus) }
    }

    /// Adds a buffer; at most `limit` of them are kept.
    pub fn push(&mut self, address: u64, length: u32, writable: bool, limit: u16) {
        let segment = Segment { address, length };
        let kept = self.readable.segments.len() + self.writable.segments.len();
        self.overlong |= kept >= usize::from(limit);
        let side = if writable {
            if let Some(last) = segment.length.checked_sub(1) {
                self.last_writable = segment.address.checked_add(u64::from(last));
            }
            &mut self.writable
        } else {
            self.disordered |= !self.writable.segments.is_empty();
            &mut self.readable
        };
        if kept < usize::from(limit) {
            side.segments.push(segment);
        }
        side.bytes += u64::from(segment.length);
    }

    /// Gives it another name: the last descriptor of a packed list has the id of the buffer (2.8.6).
    pub fn name(&mut self, id: u16) {
        self.head = id;
    }

    /// Checks its length, when all of it is there.
    ///
    /// # Errors
    /// It is longer than 2^32 bytes (2.7.5.2).
    pub fn end(&self) -> Result<(), NoStatus> {
        let bytes = self.readable.bytes + self.writable.bytes;
        if bytes <= 1 << 32 {
            Ok(())
        } else {
            Err(NoStatus)
        }
    }

    /// Checks that there is a byte that could take a status.
    ///
    /// # Errors
    /// There is none.
    pub fn needs_answer(&self) -> Result<(), NoStatus> {
        self.last_writable.map(drop).ok_or(NoStatus)
    }

    /// Makes room for all chains of a queue of `size` elements.
    pub fn reserve(&mut self, size: u16) {
        for side in [&mut self.readable, &mut self.writable] {
            side.segments.clear();
            side.segments.reserve(usize::from(size));
        }
    }

    /// Empties it, for the chain of this name.
    pub fn begin(&mut self, head: u16) {
        let Self {
            head: h,
            readable,
            writable,
            disordered,
            overlong,
            last_writable,
        } = self;
        *h = head;
        readable.clear();
        writable.clear();
        (*disordered, *overlong, *last_writable) = (false, false, None);
    }

    /// The index of its first descriptor; in a packed ring the id of the buffer.
    pub fn head(&self) -> u16 {
        self.head
    }

    /// Whether its buffers are in an order and number that a driver may use.
    pub fn well_formed(&self) -> bool {
        !self.disordered && !self.overlong
    }

    /// Device-readable bytes.
    pub fn readable_bytes(&self) -> u64 {
        self.readable.bytes
    }

    /// Device-writable bytes, the status included.
    pub fn writable_bytes(&self) -> u64 {
        self.writable.bytes
    }

    /// A cursor at the first device-readable byte.
    pub fn reader(&self) -> Cursor<'_> {
        Cursor::new(&self.readable.segments)
    }

    /// A cursor at the first device-writable byte.
    pub fn writer(&self) -> Cursor<'_> {
        Cursor::new(&self.writable.segments)
    }

    /// Writes the status into the last device-writable byte.
    ///
    /// # Errors
    /// That byte is not in the guest's memory.
    pub fn put_status<M: GuestMemory>(&self, memory: &M, status: u8) -> Result<(), NoStatus> {
        let address = self.last_writable.ok_or(NoStatus)?;
        memory
            .write_slice(&[status], GuestAddress(address))
            .map_err(|_| NoStatus)
    }
}

#[derive(Clone, Debug, Default)]
struct Buffers {
    segments: Vec<Segment>,
    bytes: u64,
}

impl Buffers {
    fn clear(&mut self) {
        self.segments.clear();
        self.bytes = 0;
    }
}

/// A place in the buffers of a chain.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    segments: &'a [Segment],
    /// Bytes of the first segment that lie behind.
    offset: u32,
}

/// The rest of the buffers is too short, or is not in the guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable;

impl<'a> Cursor<'a> {
    fn new(segments: &'a [Segment]) -> Self {
        Self {
            segments,
            offset: 0,
        }
    }

    /// Copies the next bytes out of the guest's memory.
    ///
    /// # Errors
    /// They can't all be read.
    pub fn read<M: GuestMemory>(&mut self, memory: &M, out: &mut [u8]) -> Result<(), Unreachable> {
        let mut done = 0;
        while done < out.len() {
            let (address, length) = self.next(out.len() - done)?;
            memory
                .read_slice(&mut out[done..done + length], address)
                .map_err(|_| Unreachable)?;
            self.advance(length);
            done += length;
        }
        Ok(())
    }

    /// Passes over the next bytes.
    ///
    /// # Errors
    /// There are not so many.
    pub fn skip(&mut self, mut bytes: u64) -> Result<(), Unreachable> {
        while bytes > 0 {
            let wanted = usize::try_from(bytes).unwrap_or(usize::MAX);
            let (_, length) = self.next(wanted)?;
            self.advance(length);
            bytes -= length as u64;
        }
        Ok(())
    }

    /// Copies `bytes` into the guest's memory.
    ///
    /// # Errors
    /// They can't all be written; a part of them may have been.
    pub fn write<M: GuestMemory>(&mut self, memory: &M, bytes: &[u8]) -> Result<(), Unreachable> {
        let mut done = 0;
        while done < bytes.len() {
            let (address, length) = self.next(bytes.len() - done)?;
            memory
                .write_slice(&bytes[done..done + length], address)
                .map_err(|_| Unreachable)?;
            self.advance(length);
            done += length;
        }
        Ok(())
    }

    /// Where the next byte lies.
    pub fn address(&mut self) -> Option<GuestAddress> {
        self.next(1).ok().map(|(address, _)| address)
    }

    /// The next piece of at most `wanted` bytes that lies in one buffer; it is not empty.
    fn next(&mut self, wanted: usize) -> Result<(GuestAddress, usize), Unreachable> {
        loop {
            let segment = self.segments.first().ok_or(Unreachable)?;
            let left = segment.length - self.offset;
            if left == 0 {
                self.segments = &self.segments[1..];
                self.offset = 0;
                continue;
            }
            let address = segment
                .address
                .checked_add(u64::from(self.offset))
                .ok_or(Unreachable)?;
            return Ok((GuestAddress(address), wanted.min(left as usize)));
        }
    }

    /// `length` is at most what `next` gave.
    fn advance(&mut self, length: usize) {
        self.offset += length as u32;
    }
}
