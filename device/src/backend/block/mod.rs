//! The block device (5.2): what becomes of a request.

mod config;
mod request;

use std::io;
use std::ops::Range;

use virtio_bindings::virtio_blk as blk;
use vm_memory::GuestMemory;

use super::chain::{Chain, NoStatus};
use super::device::{Device, Look, Memory, Offer};
use super::storage::Storage;
use crate::shape::Shape;
use crate::spec::SECTOR_BYTES;
use config::{MAX_RANGE_SECTORS, MAX_RANGES};
pub use config::{features, value};
use request::HEADER_BYTES;
pub use request::{Command, Request};

/// Bytes moved between guest and disk at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// Size of one range of a discard or write-zeroes request (5.2.6): sector, count, flags.
const RANGE_BYTES: u64 = 16;

/// A request that was carried out, or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The status that the driver got.
    pub status: u8,
    /// Bytes written from the first device-writable byte on, without a gap (2.7.8.2).
    pub len: u32,
}

/// A virtio block device.
pub struct Block {
    offer: Offer,
    /// The one that was looked at last.
    request: Request,
    name: [u8; blk::VIRTIO_BLK_ID_BYTES as usize],
    storage: Box<dyn Storage>,
    piece: Box<[u8]>,
}

/// Why a request was refused.
enum Refusal {
    Error,
    Unsupported,
}

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Self {
        Self::Error
    }
}

impl Block {
    /// A disk of `sectors` sectors on `storage`. `name` is what GET_ID tells, as far as 20 bytes go.
    pub fn new(shape: &Shape, sectors: u64, name: &str, storage: Box<dyn Storage>) -> Self {
        let mut id = [0; blk::VIRTIO_BLK_ID_BYTES as usize];
        let length = name.len().min(id.len());
        id[..length].copy_from_slice(&name.as_bytes()[..length]);
        Self {
            offer: Offer::new(shape, sectors),
            request: Request::NONE,
            name: id,
            storage,
            piece: vec![0; PIECE_BYTES].into_boxed_slice(),
        }
    }

    fn has(&self, bit: u32) -> bool {
        self.offer.has(bit)
    }

    /// Carries out `request`, which was read from `chain`, and leaves its status there.
    ///
    /// # Errors
    /// The status can't be written.
    pub fn carry_out<M: GuestMemory>(
        &mut self,
        memory: &M,
        chain: &Chain,
        request: &Request,
    ) -> Result<Done, NoStatus> {
        let mut written = 0;
        let result = match request.command {
            Command::In => self.read(memory, chain, request, &mut written),
            Command::Out => self.write(memory, chain, request),
            Command::Flush => self.flush(),
            Command::GetId => self.tell_name(memory, chain, request, &mut written),
            Command::Discard => self.discard(memory, chain, request),
            Command::WriteZeroes => self.write_zeroes(memory, chain, request),
            Command::Unknown(_) => Err(Refusal::Unsupported),
            Command::Malformed => Err(Refusal::Error),
        };
        let status = match result {
            Ok(()) => blk::VIRTIO_BLK_S_OK,
            Err(Refusal::Error) => blk::VIRTIO_BLK_S_IOERR,
            Err(Refusal::Unsupported) => blk::VIRTIO_BLK_S_UNSUPP,
        } as u8;
        chain.put_status(memory, status)?;
        // The status is the last byte: it counts only when nothing before it was left out.
        if written + 1 == chain.writable_bytes() {
            written += 1;
        }
        Ok(Done {
            status,
            len: u32::try_from(written).unwrap_or(u32::MAX),
        })
    }

    /// The bytes of the disk that a request with data touches.
    fn extent(&self, request: &Request) -> Result<Range<u64>, Refusal> {
        if !request.data.is_multiple_of(SECTOR_BYTES) {
            return Err(Refusal::Error);
        }
        self.range(request.sector, request.data / SECTOR_BYTES)
    }

    fn range(&self, sector: u64, sectors: u64) -> Result<Range<u64>, Refusal> {
        let end = sector.checked_add(sectors).ok_or(Refusal::Error)?;
        if end > self.offer.configuration.sectors() {
            return Err(Refusal::Error);
        }
        let bytes = |sectors: u64| sectors.checked_mul(SECTOR_BYTES).ok_or(Refusal::Error);
        Ok(bytes(sector)?..bytes(end)?)
    }

    fn read<M: GuestMemory>(
        &mut self,
        memory: &M,
        chain: &Chain,
        request: &Request,
        written: &mut u64,
    ) -> Result<(), Refusal> {
        let extent = self.extent(request)?;
        let mut buffers = chain.writer();
        let mut at = extent.start;
        while at < extent.end {
            let piece = piece_of(&mut self.piece, extent.end - at);
            self.storage.read(piece, at)?;
            buffers.write(memory, piece).map_err(|_| Refusal::Error)?;
            at += piece.len() as u64;
            *written += piece.len() as u64;
        }
        Ok(())
    }

    fn write<M: GuestMemory>(
        &mut self,
        memory: &M,
        chain: &Chain,
        request: &Request,
    ) -> Result<(), Refusal> {
        let extent = self.extent(request)?;
        let mut buffers = chain.reader();
        buffers
            .read(memory, &mut [0; HEADER_BYTES as usize])
            .map_err(|_| Refusal::Error)?;
        let mut at = extent.start;
        while at < extent.end {
            let piece = piece_of(&mut self.piece, extent.end - at);
            buffers.read(memory, piece).map_err(|_| Refusal::Error)?;
            self.storage.write(piece, at)?;
            at += piece.len() as u64;
        }
        self.commit()
    }

    /// Without FLUSH every write is durable before it is completed (5.2.6.2).
    fn commit(&self) -> Result<(), Refusal> {
        if !self.has(blk::VIRTIO_BLK_F_FLUSH) {
            self.storage.flush()?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Refusal> {
        if !self.has(blk::VIRTIO_BLK_F_FLUSH) {
            return Err(Refusal::Unsupported);
        }
        Ok(self.storage.flush()?)
    }

    fn tell_name<M: GuestMemory>(
        &self,
        memory: &M,
        chain: &Chain,
        request: &Request,
        written: &mut u64,
    ) -> Result<(), Refusal> {
        let length = request.data.min(self.name.len() as u64);
        chain
            .writer()
            .write(memory, &self.name[..length as usize])
            .map_err(|_| Refusal::Error)?;
        *written = length;
        Ok(())
    }

    fn discard<M: GuestMemory>(
        &self,
        memory: &M,
        chain: &Chain,
        request: &Request,
    ) -> Result<(), Refusal> {
        if !self.has(blk::VIRTIO_BLK_F_DISCARD) {
            return Err(Refusal::Unsupported);
        }
        // The driver must not set the unmap flag here (5.2.6.2), nor one that we don't know.
        for extent in self
            .ranges(memory, chain, request, 0)?
            .into_iter()
            .flatten()
        {
            match self.storage.punch(extent.start, extent.end - extent.start) {
                // A discard is advice: a disk that can't forget keeps what it has.
                Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn write_zeroes<M: GuestMemory>(
        &mut self,
        memory: &M,
        chain: &Chain,
        request: &Request,
    ) -> Result<(), Refusal> {
        if !self.has(blk::VIRTIO_BLK_F_WRITE_ZEROES) {
            return Err(Refusal::Unsupported);
        }
        let allowed = blk::VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
        let ranges = self.ranges(memory, chain, request, allowed)?;
        for extent in ranges.into_iter().flatten() {
            match self.storage.punch(extent.start, extent.end - extent.start) {
                Err(e) if e.kind() == io::ErrorKind::Unsupported => self.fill(extent)?,
                result => result?,
            }
        }
        self.commit()
    }

    fn fill(&mut self, extent: Range<u64>) -> io::Result<()> {
        self.piece.fill(0);
        let mut at = extent.start;
        while at < extent.end {
            let piece = piece_of(&mut self.piece, extent.end - at);
            self.storage.write(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// The parts of the disk that a discard or write-zeroes request names. All are checked before
    /// the first is touched.
    fn ranges<M: GuestMemory>(
        &self,
        memory: &M,
        chain: &Chain,
        request: &Request,
        allowed_flags: u32,
    ) -> Result<[Option<Range<u64>>; MAX_RANGES as usize], Refusal> {
        let count = request.data / RANGE_BYTES;
        if !request.data.is_multiple_of(RANGE_BYTES)
            || !(1..=u64::from(MAX_RANGES)).contains(&count)
        {
            return Err(Refusal::Error);
        }
        let mut buffers = chain.reader();
        buffers
            .read(memory, &mut [0; HEADER_BYTES as usize])
            .map_err(|_| Refusal::Error)?;
        let mut ranges = [const { None }; MAX_RANGES as usize];
        for range in &mut ranges[..count as usize] {
            let mut bytes = [0; RANGE_BYTES as usize];
            buffers
                .read(memory, &mut bytes)
                .map_err(|_| Refusal::Error)?;
            let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, flags @ ..] = bytes;
            let sectors = u32::from_le_bytes([n0, n1, n2, n3]);
            if u32::from_le_bytes(flags) & !allowed_flags != 0 {
                return Err(Refusal::Unsupported);
            }
            if sectors > MAX_RANGE_SECTORS {
                return Err(Refusal::Error);
            }
            let sector = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
            let extent = self.range(sector, u64::from(sectors))?;
            *range = (!extent.is_empty()).then_some(extent);
        }
        Ok(ranges)
    }
}

/// The start of `buffer`, as much as is wanted of it.
fn piece_of(buffer: &mut [u8], wanted: u64) -> &mut [u8] {
    let length = usize::try_from(wanted).map_or(buffer.len(), |n| n.min(buffer.len()));
    &mut buffer[..length]
}

impl Device for Block {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn offer_mut(&mut self) -> &mut Offer {
        &mut self.offer
    }

    fn look(&mut self, memory: &Memory, _queue: u16, chain: &Chain) -> Result<Look, NoStatus> {
        chain.needs_answer()?;
        self.request = Request::read(memory, chain);
        Ok(Look::Take)
    }

    fn words(&self, _queue: u16) -> String {
        self.request.to_string()
    }

    fn serve(&mut self, memory: &Memory, _queue: u16, chain: &Chain) -> Result<u32, NoStatus> {
        let request = self.request;
        self.carry_out(memory, chain, &request).map(|done| done.len)
    }
}
