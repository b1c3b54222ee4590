//! Serving a function to a VMM over vfio-user.

use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_INFO_AUTOMASKED, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_MASKABLE,
    VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_BAR5_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_NUM_IRQS,
    VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE,
    vfio_region_info,
};
use vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, Server, ServerBackend, ServerRegion};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::timerfd::TimerFd;

use super::ServeError;
use super::core::Core;
use super::died::Died;
use super::frontend::Fronted;
use crate::function::Layout;
use crate::shape::Shape;
use crate::spec::EXPRESS_CONFIG_BYTES;
use crate::trace::{Input, Op, Space, TableEntry};

/// How often the rings of a live device are looked at.
const LOOK: Duration = Duration::from_millis(10);

type Shared = Arc<Mutex<Core>>;

fn lock(core: &Shared) -> MutexGuard<'_, Core> {
    // A thread that panicked leaves a state machine, which is never half way through a step.
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A function that is being served.
pub struct Port {
    core: Shared,
    socket: PathBuf,
    stop: EventFd,
    threads: Vec<JoinHandle<()>>,
}

impl Port {
    /// Listens on `socket` and serves one VMM after the other until it is shut down.
    ///
    /// # Errors
    /// When the socket can't be bound or a thread can't be started.
    pub fn start(socket: &Path, shape: &Shape, core: Core) -> Result<Self, ServeError> {
        let stop = EventFd::new(vmm_sys_util::eventfd::EFD_NONBLOCK).map_err(ServeError::Os)?;
        let wake = core.wake.try_clone().map_err(ServeError::Os)?;
        let calls: Vec<EventFd> = match &core.backend {
            Some(backend) => backend
                .calls()
                .map(EventFd::try_clone)
                .collect::<io::Result<_>>()
                .map_err(ServeError::Os)?,
            None => Vec::new(),
        };
        let server = Server::new(socket, true, irq_infos(shape), regions(shape))
            .map_err(ServeError::VfioUser)?;
        let dev = core.dev;
        let core = Arc::new(Mutex::new(core));
        let mut port = Self {
            core: Arc::clone(&core),
            socket: socket.to_owned(),
            stop,
            threads: Vec::new(),
        };
        let events = Events {
            core: Arc::clone(&core),
            calls,
            wake,
            stop: port.stop.try_clone().map_err(ServeError::Os)?,
        };
        let stop = port.stop.try_clone().map_err(ServeError::Os)?;
        port.spawn(format!("dev{dev}-vfio"), move || {
            serve(&server, &core, &stop)
        })?;
        port.spawn(format!("dev{dev}-events"), move || events.run())?;
        Ok(port)
    }

    fn spawn(
        &mut self,
        name: String,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), ServeError> {
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(body)
            .map_err(ServeError::Os)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Gives the function an input that comes from the host.
    pub fn host(&self, input: Input) {
        lock(&self.core).drive(input);
    }

    /// Tells the injector what the MSI-X table holds.
    pub fn tell_table(&self, entries: &[TableEntry]) {
        lock(&self.core).injector.tell_table(entries);
    }

    /// Takes the sockets away and leaves the threads to the end of the process: one of them may be
    /// waiting for the VMM, which nothing but the VMM ends.
    pub fn leave(self) {
        // They may be gone already.
        let _ = std::fs::remove_file(&self.socket);
        let _ = std::fs::remove_file(super::serve::backend_socket(&self.socket));
        std::mem::forget(self);
    }

    /// The backend, if it is gone.
    pub fn died(&self) -> Option<Died> {
        lock(&self.core).backend.as_ref().and_then(Fronted::died)
    }

    /// Ends the threads. A VMM that is still connected must be gone before.
    ///
    /// # Errors
    /// What died meanwhile.
    pub fn shutdown(&mut self) -> Result<(), Died> {
        let mut died = self.died().map_or(Ok(()), Err);
        // The counter can't be full: it is written once.
        let _ = self.stop.write(1);
        // A server that waits for a VMM gets one that says nothing.
        drop(std::os::unix::net::UnixStream::connect(&self.socket));
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            let ended = thread.join();
            died = died.and(ended.map_err(|panic| Died::thread(&name, &*panic)));
        }
        died
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // Whoever wants to know has ended it before.
        let _ = self.shutdown();
    }
}

/// One VMM after the other.
fn serve(server: &Server, core: &Shared, stop: &EventFd) {
    loop {
        // vfio_user takes a peer at its word, and panics over a message whose length is a lie. That ends
        // the connection, not the device.
        let connection = panic::catch_unwind(AssertUnwindSafe(|| {
            server.run(&mut Wire {
                core: Arc::clone(core),
            })
        }));
        match connection {
            Ok(Ok(())) => {}
            // A VMM that is killed ends its connection in the middle of a message.
            Ok(Err(error)) => log::debug!("vfio-user: {error}"),
            Err(_) => log::warn!("vfio-user: the VMM sent a message that is none"),
        }
        // Reading would take the signal from the other thread.
        if is_readable(stop) {
            return;
        }
        lock(core).disconnected();
    }
}

fn is_readable(fd: &EventFd) -> bool {
    let poll = || -> io::Result<bool> {
        use std::os::fd::AsRawFd;
        let epoll = Epoll::new()?;
        epoll.ctl(
            ControlOperation::Add,
            fd.as_raw_fd(),
            EpollEvent::new(EventSet::IN, 0),
        )?;
        let mut ready = [EpollEvent::default(); 1];
        Ok(epoll.wait(0, &mut ready)? == 1)
    };
    poll().unwrap_or(true)
}

/// The messages of one connection.
struct Wire {
    core: Shared,
}

fn space(region: u32) -> Option<Space> {
    match region {
        VFIO_PCI_BAR0_REGION_INDEX..=VFIO_PCI_BAR5_REGION_INDEX => {
            Space::bar((region - VFIO_PCI_BAR0_REGION_INDEX) as u8)
        }
        VFIO_PCI_CONFIG_REGION_INDEX => Some(Space::Config),
        _ => None,
    }
}

fn refused(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.to_owned())
}

impl ServerBackend for Wire {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let space = space(region).ok_or_else(|| refused("no such region"))?;
        let mut core = lock(&self.core);
        match data.len() {
            width @ (1 | 2 | 4 | 8) => {
                let input = core.access(Op::Read, space, offset, width as u8, None);
                let value = core.drive(input).unwrap_or(u64::MAX);
                data.copy_from_slice(&value.to_le_bytes()[..width]);
                Ok(())
            }
            // The VMM takes a copy of configuration space when it opens the device: no driver did that.
            length if space == Space::Config && length <= EXPRESS_CONFIG_BYTES as usize => {
                core.injector.inner().config_bytes(offset, data);
                Ok(())
            }
            _ => Err(refused("a read that no bus can make")),
        }
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        let space = space(region).ok_or_else(|| refused("no such region"))?;
        let width = data.len();
        if !matches!(width, 1 | 2 | 4 | 8) {
            return Err(refused("a write that no bus can make"));
        }
        let mut value = [0; 8];
        value[..width].copy_from_slice(data);
        let mut core = lock(&self.core);
        let input = core.access(
            Op::Write,
            space,
            offset,
            width as u8,
            Some(u64::from_le_bytes(value)),
        );
        core.drive(input);
        Ok(())
    }

    fn dma_map(
        &mut self,
        _: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        fd: Option<File>,
    ) -> io::Result<()> {
        let mut core = lock(&self.core);
        // Memory without a descriptor (ROM) can't be reached, and no ring belongs there.
        if let Some(file) = fd {
            core.memory
                .map(address, size, file, offset)
                .map_err(|e| io::Error::other(e.to_string()))?;
            core.drive(Input::Dma {
                address,
                size,
                mapped: true,
            });
            core.memory_changed();
        }
        Ok(())
    }

    fn dma_unmap(&mut self, flags: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        let mut core = lock(&self.core);
        if flags.contains(DmaUnmapFlags::UNMAP_ALL) {
            core.memory.clear();
        } else {
            core.memory.unmap(address, size);
        }
        core.drive(Input::Dma {
            address,
            size,
            mapped: false,
        });
        core.memory_changed();
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        lock(&self.core).drive(Input::FunctionReset);
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        fds: Vec<File>,
    ) -> io::Result<()> {
        let mut core = lock(&self.core);
        for input in core.irqs.set(index, flags, start, count, fds) {
            core.drive(input);
        }
        Ok(())
    }
}

/// What does not come from the VMM: the backend, the host, time.
struct Events {
    core: Shared,
    calls: Vec<EventFd>,
    wake: EventFd,
    stop: EventFd,
}

const WAKE: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;
const TIMER: u64 = u64::MAX - 2;

impl Events {
    fn run(self) {
        if let Err(error) = self.wait() {
            log::error!("waiting for events failed: {error}");
        }
    }

    fn wait(&self) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let epoll = Epoll::new()?;
        let watch = |fd: &dyn AsRawFd, token| {
            epoll.ctl(
                ControlOperation::Add,
                fd.as_raw_fd(),
                EpollEvent::new(EventSet::IN, token),
            )
        };
        // The timeout of epoll is in whole milliseconds, which is too coarse for a deadline.
        let mut timer = TimerFd::new()?;
        watch(&self.wake, WAKE)?;
        watch(&self.stop, STOP)?;
        watch(&timer, TIMER)?;
        for (queue, fd) in self.calls.iter().enumerate() {
            watch(fd, queue as u64)?;
        }
        let mut ready = [EpollEvent::default(); 32];
        let mut looked = Instant::now();
        loop {
            match self.remaining() {
                Some(wait) => timer.reset(wait, None)?,
                None => timer.clear()?,
            }
            let n = match epoll.wait(-1, &mut ready) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => 0,
                Err(e) => return Err(e),
            };
            let mut core = lock(&self.core);
            let _ = self.wake.read();
            core.follow_backend();
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                core.look_at_rings();
            }
            for event in ready.iter().take(n) {
                match event.data() {
                    STOP => return Ok(()),
                    // Both are only there to wake; setting the timer again takes its signal back.
                    WAKE | TIMER => {}
                    // Read under the lock: a reset that came first has taken the call back.
                    queue => core.take_call(queue as u16),
                }
            }
            let due = core
                .injector
                .deadline()
                .is_some_and(|at| at <= core.journal.now());
            if due {
                core.drive(Input::Time);
            }
        }
    }

    /// The time until the next deadline or the next look at the rings, at least a nanosecond; none: there
    /// is neither.
    fn remaining(&self) -> Option<Duration> {
        let core = lock(&self.core);
        let look = core.watches().then_some(LOOK);
        let deadline = core
            .injector
            .deadline()
            .map(|at| Duration::from_nanos(at.saturating_sub(core.journal.now()).max(1)));
        deadline.into_iter().chain(look).min()
    }
}

fn irq_infos(shape: &Shape) -> Vec<IrqInfo> {
    (0..VFIO_PCI_NUM_IRQS)
        .map(|index| {
            let (count, flags) = match index {
                VFIO_PCI_INTX_IRQ_INDEX => (
                    u32::from(shape.pin),
                    VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED,
                ),
                VFIO_PCI_MSI_IRQ_INDEX => (shape.msi.into(), VFIO_IRQ_INFO_EVENTFD),
                VFIO_PCI_MSIX_IRQ_INDEX => (shape.table_size().into(), VFIO_IRQ_INFO_EVENTFD),
                _ => (0, 0),
            };
            IrqInfo {
                index,
                flags,
                count,
            }
        })
        .collect()
}

fn regions(shape: &Shape) -> Vec<ServerRegion> {
    let layout = Layout::new(shape);
    (0..VFIO_PCI_NUM_REGIONS)
        .map(|index| {
            let size = match space(index) {
                Some(Space::Config) => EXPRESS_CONFIG_BYTES,
                Some(_) => layout.bar_size(index as usize),
                None => 0,
            };
            let flags = if size == 0 {
                0
            } else {
                VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE
            };
            ServerRegion {
                region_info: vfio_region_info {
                    argsz: size_of::<vfio_region_info>() as u32,
                    flags,
                    index,
                    size,
                    ..Default::default()
                },
                sparse_areas: Vec::new(),
                mmap_fd: None,
            }
        })
        .collect()
}
