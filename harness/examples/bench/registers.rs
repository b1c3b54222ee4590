//! One access to a register through vfio-user.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use misfire_device::port::{Journal, serve};
use misfire_device::shape::{Kind, Shape};
use vfio_bindings::bindings::vfio::{
    VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE, vfio_region_info,
};
use vfio_user::{Client, DmaMapFlags, DmaUnmapFlags, Server, ServerBackend, ServerRegion};

use super::Result;
use super::measured::{by_turns, table};

/// A server that does nothing.
struct Bare;

impl ServerBackend for Bare {
    fn region_read(&mut self, _: u32, _: u64, _: &mut [u8]) -> std::io::Result<()> {
        Ok(())
    }
    fn region_write(&mut self, _: u32, _: u64, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
    fn dma_map(
        &mut self,
        _: DmaMapFlags,
        _: u64,
        _: u64,
        _: u64,
        _: Option<File>,
    ) -> std::io::Result<()> {
        Ok(())
    }
    fn dma_unmap(&mut self, _: DmaUnmapFlags, _: u64, _: u64) -> std::io::Result<()> {
        Ok(())
    }
    fn reset(&mut self) -> std::io::Result<()> {
        Ok(())
    }
    fn set_irqs(&mut self, _: u32, _: u32, _: u32, _: u32, _: Vec<File>) -> std::io::Result<()> {
        Ok(())
    }
}

/// A client of a server that does nothing; the server ends with its client.
fn bare(socket: &Path) -> Result<Client> {
    let region = |index| ServerRegion {
        region_info: vfio_region_info {
            argsz: size_of::<vfio_region_info>() as u32,
            flags: VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
            index,
            size: 0x4000,
            ..Default::default()
        },
        sparse_areas: Vec::new(),
        mmap_fd: None,
    };
    let regions = (0..VFIO_PCI_NUM_REGIONS).map(region).collect();
    let server = Server::new(socket, true, Vec::new(), regions).map_err(|e| format!("{e:?}"))?;
    // It ends when the client has gone, which it calls an error.
    std::thread::spawn(move || drop(server.run(&mut Bare)));
    Ok(Client::new(socket).map_err(|e| format!("{e:?}"))?)
}

/// Microseconds of one access to device_feature_select.
fn access(client: &mut Client, write: bool) -> Result<f64> {
    const ACCESSES: u32 = 5_000;
    let mut bytes = [0; 4];
    let begin = Instant::now();
    for _ in 0..ACCESSES {
        let done = if write {
            client.region_write(0, 0, &bytes)
        } else {
            client.region_read(0, 0, &mut bytes)
        };
        done.map_err(|error| format!("{error:?}"))?;
    }
    Ok(begin.elapsed().as_secs_f64() * 1e6 / f64::from(ACCESSES))
}

pub fn registers(dir: &Path, rounds: usize) -> Result<()> {
    table(
        "One register access through vfio-user, against a server that does nothing",
        &["access", "ours / bare", "ours, µs", "bare, µs"],
    );
    let mut bare = bare(&dir.join("bare"))?;
    // What a device has more of costs an access nothing.
    for queues in [1, 64] {
        let folder = dir.join(format!("registers-{queues}"));
        std::fs::create_dir_all(&folder)?;
        let mut shape = Shape::new(Kind::Block);
        shape.queues = queues;
        let served = serve(0, &shape, Vec::new(), 1, &folder, Journal::unread())?;
        let mut own = Client::new(&folder.join("dev0")).map_err(|e| format!("{e:?}"))?;
        for (name, write) in [("read", false), ("write", true)] {
            let [a, b, ratio] = by_turns(
                rounds,
                || access(&mut own, write),
                || access(&mut bare, write),
            )?;
            println!(
                "| {name}, number of queues {queues} | {} | {:.2} | {:.2} |",
                ratio.text(),
                a.median(),
                b.median()
            );
        }
        drop(own);
        served.shutdown()?;
    }
    Ok(())
}
