//! The guest's memory as the VMM maps it for us, and what we read there.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use vhost::VhostUserMemoryRegionInfo;
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::trace::{PackedSample, QueueSetup, RingSample, What};

/// The most regions that one vhost-user message can carry.
const MAX_REGIONS: usize = 32;

/// One DMA map.
struct Map {
    size: u64,
    offset: u64,
    /// Device and inode: two descriptors of one file are the same memory.
    identity: (u64, u64),
    file: Arc<File>,
    region: Arc<GuestRegionMmap>,
}

/// All DMA maps of a guest.
#[derive(Default)]
pub struct Memory {
    maps: BTreeMap<u64, Map>,
    guest: GuestMemoryMmap,
    changes: u64,
}

/// A DMA map can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// It does not fit in the address space, or is empty.
    #[error("{size:#x} bytes at {address:#x} are no map")]
    Range {
        /// Guest physical address.
        address: u64,
        /// Bytes.
        size: u64,
    },
    /// The descriptor can't be mapped.
    #[error("guest memory at {address:#x} can't be mapped")]
    Mmap {
        /// Guest physical address.
        address: u64,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Memory {
    /// Counts changes, so that a user can tell whether its copy is old.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Takes a map over.
    ///
    /// # Errors
    /// When the range is empty or the descriptor can't be mapped; nothing has changed then.
    pub fn map(
        &mut self,
        address: u64,
        size: u64,
        file: File,
        offset: u64,
    ) -> Result<(), MapError> {
        let bytes = usize::try_from(size)
            .ok()
            .filter(|s| *s != 0 && address.checked_add(size).is_some());
        let bytes = bytes.ok_or(MapError::Range { address, size })?;
        let fail =
            |source: Box<dyn std::error::Error + Send + Sync>| MapError::Mmap { address, source };
        let meta = file.metadata().map_err(|e| fail(e.into()))?;
        let file = Arc::new(file);
        let region = MmapRegion::from_file(FileOffset::from_arc(Arc::clone(&file), offset), bytes)
            .map_err(|e| fail(e.into()))?;
        let region = GuestRegionMmap::new(region, GuestAddress(address))
            .ok_or(MapError::Range { address, size })?;
        let map = Map {
            size,
            offset,
            identity: (meta.dev(), meta.ino()),
            file,
            region: Arc::new(region),
        };
        self.maps.insert(address, map);
        self.rebuild();
        Ok(())
    }

    /// Forgets every map inside a range.
    pub fn unmap(&mut self, address: u64, size: u64) {
        let end = address.saturating_add(size);
        self.maps
            .retain(|at, map| !(*at >= address && at.saturating_add(map.size) <= end));
        self.rebuild();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.maps.clear();
        self.rebuild();
    }

    fn rebuild(&mut self) {
        self.changes += 1;
        let regions: Vec<_> = self.maps.values().map(|m| Arc::clone(&m.region)).collect();
        // Maps that overlap (a guest can ask for that) leave us with no memory, which is safe.
        self.guest = GuestMemoryMmap::from_arc_regions(regions).unwrap_or_default();
    }

    /// The maps in the form of vhost-user, neighbours joined. Addresses of rings are guest
    /// physical addresses on this connection.
    pub fn regions(&self) -> Vec<VhostUserMemoryRegionInfo> {
        let mut joined: Vec<(VhostUserMemoryRegionInfo, (u64, u64))> = Vec::new();
        for (address, map) in &self.maps {
            if let Some((last, identity)) = joined.last_mut()
                && *identity == map.identity
                && last.guest_phys_addr + last.memory_size == *address
                && last.mmap_offset + last.memory_size == map.offset
            {
                last.memory_size += map.size;
                continue;
            }
            let info = VhostUserMemoryRegionInfo {
                guest_phys_addr: *address,
                memory_size: map.size,
                userspace_addr: *address,
                mmap_offset: map.offset,
                mmap_handle: map.file.as_raw_fd(),
            };
            joined.push((info, map.identity));
        }
        joined.sort_by_key(|(info, _)| std::cmp::Reverse(info.memory_size));
        joined.truncate(MAX_REGIONS);
        joined.sort_by_key(|(info, _)| info.guest_phys_addr);
        joined.into_iter().map(|(info, _)| info).collect()
    }

    /// Whether all of a range is in one of the [`regions`](Self::regions).
    pub fn holds(&self, address: u64, bytes: u64) -> bool {
        let Some(end) = address.checked_add(bytes) else {
            return false;
        };
        self.regions().iter().any(|r| {
            r.guest_phys_addr <= address && end <= r.guest_phys_addr.saturating_add(r.memory_size)
        })
    }

    /// As [`sample_ring`].
    pub fn sample(&self, dev: u8, queue: &QueueSetup, packed: Option<u16>) -> Option<What> {
        sample_ring(&self.guest, dev, queue, packed)
    }

    /// A digest of what the driver wrote into a queue's areas; what is not in memory does not count.
    pub fn digest(&self, queue: &QueueSetup, packed: bool) -> u64 {
        let size = usize::from(queue.size);
        let driver = if packed { 4 } else { 6 + 2 * size };
        let mut hasher = DefaultHasher::new();
        for (address, length) in [(queue.desc, 16 * size), (queue.driver, driver)] {
            let mut bytes = vec![0; length];
            if self
                .guest
                .read_slice(&mut bytes, GuestAddress(address))
                .is_ok()
            {
                hasher.write(&bytes);
            }
        }
        hasher.finish()
    }

    /// All of it.
    pub fn guest(&self) -> &GuestMemoryMmap {
        &self.guest
    }
}

/// Reads the state of a split ring (2.7.6, 2.7.8), or of a packed one (2.8.14) in which the device looks
/// for its next list at the place `packed`; `None` when a part of it is not in memory.
pub fn sample_ring(
    memory: &GuestMemoryMmap,
    dev: u8,
    queue: &QueueSetup,
    packed: Option<u16>,
) -> Option<What> {
    let word = |base: u64, offset: u64| -> Option<u16> {
        let at = GuestAddress(base.checked_add(offset)?);
        let mut bytes = [0; 2];
        memory.read_slice(&mut bytes, at).ok()?;
        Some(u16::from_le_bytes(bytes))
    };
    if let Some(next) = packed {
        return Some(What::Packed(PackedSample {
            dev,
            q: queue.index,
            driver_desc: word(queue.driver, 0)?,
            driver_flags: word(queue.driver, 2)?,
            device_desc: word(queue.device, 0)?,
            device_flags: word(queue.device, 2)?,
            next,
            next_flags: word(queue.desc, 16 * u64::from(next & 0x7fff) + 14)?,
        }));
    }
    let size = u64::from(queue.size);
    Some(What::Ring(RingSample {
        dev,
        q: queue.index,
        avail_flags: word(queue.driver, 0)?,
        avail_idx: word(queue.driver, 2)?,
        used_flags: word(queue.device, 0)?,
        used_idx: word(queue.device, 2)?,
        used_event: word(queue.driver, 4 + 2 * size)?,
        avail_event: word(queue.device, 4 + 8 * size)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory_file(bytes: u64) -> File {
        let file = vmm_sys_util::tempfile::TempFile::new().unwrap().into_file();
        file.set_len(bytes).unwrap();
        file
    }

    #[test]
    fn neighbours_of_one_file_are_one_region() {
        let file = memory_file(0x4000);
        let mut memory = Memory::default();
        memory.map(0, 0x1000, file.try_clone().unwrap(), 0).unwrap();
        memory
            .map(0x1000, 0x2000, file.try_clone().unwrap(), 0x1000)
            .unwrap();
        memory
            .map(0x8000, 0x1000, file.try_clone().unwrap(), 0x3000)
            .unwrap();
        let regions: Vec<_> = memory
            .regions()
            .iter()
            .map(|r| (r.guest_phys_addr, r.memory_size))
            .collect();
        assert_eq!(regions, [(0, 0x3000), (0x8000, 0x1000)]);
        memory.unmap(0x1000, 0x2000);
        assert_eq!(memory.regions().len(), 2);
    }

    #[test]
    fn a_ring_outside_memory_has_no_sample() {
        let mut memory = Memory::default();
        memory.map(0, 0x1000, memory_file(0x1000), 0).unwrap();
        let queue = |driver| QueueSetup {
            index: 0,
            size: 16,
            desc: 0,
            driver,
            device: 0x800,
            vector: 0,
        };
        assert!(memory.sample(0, &queue(0x400), None).is_some());
        assert!(memory.sample(0, &queue(0xff0), None).is_none());
        assert!(memory.sample(0, &queue(u64::MAX - 1), None).is_none());
    }

    #[test]
    fn an_empty_or_wrapping_map_is_refused() {
        let mut memory = Memory::default();
        assert!(matches!(
            memory.map(0, 0, memory_file(0x1000), 0),
            Err(MapError::Range { .. })
        ));
        assert!(matches!(
            memory.map(u64::MAX, 0x1000, memory_file(0x1000), 0),
            Err(MapError::Range { .. })
        ));
    }
}
