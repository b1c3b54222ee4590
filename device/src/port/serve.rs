//! Serving one device, whatever it is and however it is attached.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use virtio_bindings::virtio_config::{VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::conductor::Conducted;
use super::core::{Command, Configure, Core, WriteUsed};
use super::died::Died;
use super::frontend::{Fronted, FrontendError};
use super::irqs::Irqs;
use super::journal::Journal;
use super::observed::observed;
use super::vfio_user::Port;
use super::vhost_user::{Backend, BackendError};
use crate::backend::{Ledger, default_mac};
use crate::fault::{Fault, Injector, device_input};
use crate::function::Function;
use crate::shape::{Attach, Interface, Kind, Shape, Siblings};
use crate::spec::LEGACY_REACH;
use crate::trace::{Hello, Host, Input, TableEntry, What};

/// A device can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The operating system refused an eventfd, a thread or a file.
    #[error("the operating system refused what serving a device needs")]
    Os(#[source] std::io::Error),
    /// The vfio-user socket can't be served.
    #[error("the vfio-user socket can't be served")]
    VfioUser(#[source] ::vfio_user::Error),
    /// The backend can't be used.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    /// Our own backend can't be served.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl ServeError {
    /// Whether a file that the device's shape names is at fault, not the machine.
    pub fn is_about_a_file(&self) -> bool {
        use super::disk::DiskError;
        matches!(
            self,
            Self::Backend(BackendError::Disk(
                DiskError::File { .. } | DiskError::Empty { .. }
            ))
        )
    }
}

/// What QEMU has to be told to take a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// Values of `-chardev`.
    pub chardevs: Vec<String>,
    /// The object of `-device`; `addr`, `bus` and `id` are the user's to add.
    pub device: serde_json::Value,
    /// Objects of further `-device`: passive functions on the same bus.
    pub siblings: Vec<serde_json::Value>,
}

/// A device that is being served, by threads of this process, until it is dropped.
pub struct Served {
    shape: Shape,
    attachment: Attachment,
    port: Attached,
    /// The backend behind our function, if it is ours.
    own: Option<Arc<Backend>>,
}

/// What stands at the device's socket.
enum Attached {
    /// Our function.
    VfioUser(Port),
    /// Our backend; the function is QEMU's.
    VhostUser(Conducted),
}

impl Attached {
    fn drive(&self, input: Input) {
        match self {
            Self::VfioUser(port) => port.host(input),
            Self::VhostUser(backend) => backend.drive(input),
        }
    }
}

impl Served {
    /// What QEMU has to be told.
    pub fn qemu(&self) -> &Attachment {
        &self.attachment
    }

    /// Gives a command of the host to the device.
    pub fn host(&self, host: Host) {
        let input = device_input(&host, &self.shape);
        self.port.drive(Input::Host(host));
        if let Some(input) = input {
            self.port.drive(input);
        }
    }

    /// Tells the faults of the device what its MSI-X table holds, which only the VMM knows: from then on
    /// `granted` has a value in their conditions. Behind QEMU's transport it does nothing.
    pub fn tell_table(&self, entries: &[TableEntry]) {
        if let Attached::VfioUser(port) = &self.port {
            port.tell_table(entries);
        }
    }

    /// Ends the serving while a QEMU may still be connected: the sockets go, and the threads that
    /// wait for it end with the process.
    pub fn leave(self) {
        match self.port {
            Attached::VfioUser(port) => port.leave(),
            Attached::VhostUser(backend) => drop(backend),
        }
    }

    /// What has died so far: a backend, or a thread of one. It does not wait.
    pub fn died(&self) -> Option<Died> {
        let behind = match &self.port {
            Attached::VfioUser(port) if self.shape.backend.is_some() => port.died(),
            Attached::VfioUser(_) => None,
            Attached::VhostUser(backend) => backend.died(),
        };
        behind.or_else(|| self.own.as_ref().and_then(|own| own.died()))
    }

    /// Ends the serving; QEMU must be gone before.
    ///
    /// # Errors
    /// What died while the device was served: a thread of ours, or a backend that is not.
    pub fn shutdown(self) -> Result<(), Died> {
        let is_own = self.shape.backend.is_none();
        let (ended, own) = match self.port {
            // A backend of our own goes before the function's connection to it is closed.
            Attached::VfioUser(mut port) => match port.shutdown() {
                Err(Died::Backend { .. }) if is_own => (Ok(()), self.own),
                ended => (ended, self.own),
            },
            Attached::VhostUser(conducted) => (conducted.shutdown(), None),
        };
        let panicked = own.as_ref().and_then(|own| own.died());
        ended.and(panicked.map_or(Ok(()), Err))
    }
}

/// Serves device number `dev` with its sockets in `dir`, a directory that nobody else uses.
///
/// Everything random in the faults comes from `seed`.
///
/// # Errors
/// When a socket can't be bound or a foreign backend is not there.
pub fn serve(
    dev: u8,
    shape: &Shape,
    faults: Vec<Fault>,
    seed: u64,
    dir: &Path,
    journal: Arc<Journal>,
) -> Result<Served, ServeError> {
    let socket = dir.join(format!("dev{dev}"));
    serve_on(dev, shape, faults, seed, &socket, journal)
}

/// Serves device number `dev` on `socket`, and our own backend on [`backend_socket`].
///
/// Everything random in the faults comes from `seed`.
///
/// # Errors
/// When a socket can't be bound or a foreign backend is not there.
pub fn serve_on(
    dev: u8,
    shape: &Shape,
    faults: Vec<Fault>,
    seed: u64,
    socket: &Path,
    journal: Arc<Journal>,
) -> Result<Served, ServeError> {
    if shape.attach == Attach::VhostUser {
        return Ok(Served {
            shape: shape.clone(),
            attachment: vhost_user_attachment(dev, shape, socket),
            port: Attached::VhostUser(Conducted::start(dev, shape, faults, seed, socket, journal)?),
            own: None,
        });
    }
    let wake = EventFd::new(EFD_NONBLOCK).map_err(ServeError::Os)?;
    let ledger = journal.listens().then(|| Ledger::new(dev));
    let rings = faults.iter().any(Fault::touches_rings);
    let wakes = wake.try_clone().map_err(ServeError::Os)?;
    let (teller, observed) = observed(wakes, ledger, rings);
    let mut shape = shape.clone();
    if shape.kind == Kind::Net {
        shape.mac = shape.mac.or_else(|| Some(default_mac(dev)));
    }
    let own = match &shape.backend {
        None if shape.kind.is_virtio() => Some(Arc::new(Backend::start(
            &shape,
            &backend_socket(socket),
            Some(Arc::new(teller)),
        )?)),
        _ => None,
    };
    let path = own.as_ref().map(|own| own.socket());
    let path = path.or(shape
        .backend
        .as_ref()
        .map(|foreign| foreign.socket.as_path()));
    let (backend, features, config) = match path {
        Some(path) => {
            let (fronted, offer) =
                Fronted::connect(path, shape.queues, shape.kind.config_bytes() as u32)?;
            // The crate can't tell a backend of somebody else where a packed ring begins.
            let unserved = match shape.backend {
                Some(_) => 1 << VIRTIO_F_RING_PACKED,
                None => 0,
            };
            let offered = u128::from(offer.features) & !unserved;
            let given = (offered | shape.transport_features()) & !shape.withheld();
            let features = (given | decoys(&shape)) & reach(&shape);
            (Some(fronted), features, offer.config)
        }
        None => (None, 0, Vec::new()),
    };
    let function = Function::new(&shape, features, config);
    if let Some(own) = own.as_ref().filter(|_| shape.kind == Kind::Block) {
        // A disk in a file is as large as the file.
        shape.capacity = own.configuration().sectors();
    }
    let shape = &shape;
    let hello = Hello {
        dev,
        shape: shape.clone(),
        features,
    };
    journal.record(What::Hello(Box::new(hello.clone())));
    let injector = Injector::new(function, hello, faults, seed);
    let kept = own.clone();
    let irqs = Irqs::new(shape.table_size(), shape.msi);
    let mut core = Core::new(dev, journal, injector, irqs, backend, observed, wake);
    core.command = own
        .clone()
        .map(|own| -> Command { Box::new(move |host| own.command(host)) });
    core.write_used = own.as_ref().map(|own| -> WriteUsed {
        let handle = own.handle();
        Box::new(move |queue, effects| handle.write_used(queue, effects))
    });
    core.configure = own.map(|own| -> Configure {
        Box::new(move |offset, bytes| {
            let mut configuration = own.configuration();
            configuration.overwrite(offset, bytes);
            own.configure(configuration);
        })
    });
    let port = Port::start(socket, shape, core)?;
    let device = json!({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": socket}});
    Ok(Served {
        shape: shape.clone(),
        attachment: Attachment {
            chardevs: Vec::new(),
            device,
            siblings: Attachment::siblings_of(shape),
        },
        port: Attached::VfioUser(port),
        own: kept,
    })
}

/// Where our own backend listens for the function that listens on `socket`.
pub fn backend_socket(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push("-backend");
    path.into()
}

/// The same function as ours has: the same interfaces, and as many vectors and queues.
fn vhost_user_attachment(dev: u8, shape: &Shape, socket: &Path) -> Attachment {
    let chardev = format!("misfire-dev{dev}");
    // A comma inside a value is written twice.
    let path = socket.display().to_string().replace(',', ",,");
    let queue_size = shape.queue_size.largest();
    let vectors = shape.table_size();
    let suffix = match shape.virtio {
        Interface::Modern => "-non-transitional",
        Interface::Transitional => "-transitional",
        Interface::Legacy => "",
    };
    let mut device = match shape.kind {
        // Its queue has as many elements as QEMU says.
        Kind::Rng => json!({
            "driver": "vhost-user-rng-pci",
            "chardev": chardev,
            "vectors": vectors,
        }),
        Kind::Scsi => json!({
            "driver": format!("vhost-user-scsi-pci{suffix}"),
            "chardev": chardev,
            "num_queues": shape.queues.saturating_sub(2),
            "virtqueue_size": queue_size,
            "vectors": vectors,
        }),
        // The others are refused.
        Kind::Block | Kind::Net | Kind::Console | Kind::PortCard => json!({
            "driver": format!("vhost-user-blk-pci{suffix}"),
            "chardev": chardev,
            "num-queues": shape.queues,
            "queue-size": queue_size,
            "vectors": vectors,
        }),
    };
    if shape.virtio == Interface::Legacy {
        device["disable-modern"] = true.into();
        device["disable-legacy"] = "off".into();
    }
    for (bit, property) in [
        (VIRTIO_F_RING_PACKED, "packed"),
        (VIRTIO_F_IN_ORDER, "in_order"),
    ] {
        if shape.asks_for(bit as u8) {
            device[property] = true.into();
        }
    }
    Attachment {
        chardevs: vec![format!("socket,id={chardev},path={path}")],
        device,
        siblings: Attachment::siblings_of(shape),
    }
}

impl Attachment {
    /// The passive functions of a shape: QEMU's smallest device with a message table of any size.
    pub fn siblings_of(shape: &Shape) -> Vec<serde_json::Value> {
        let Some(Siblings { n, msix }) = shape.siblings else {
            return Vec::new();
        };
        let one = json!({"driver": "virtio-rng-pci-non-transitional", "vectors": msix});
        vec![one; n.into()]
    }
}

/// The feature bits that drivers can reach by one interface at least.
fn reach(shape: &Shape) -> u128 {
    match shape.virtio {
        Interface::Legacy => LEGACY_REACH,
        Interface::Modern | Interface::Transitional => u128::MAX,
    }
}

fn decoys(shape: &Shape) -> u128 {
    let bits = shape.features_decoy.iter();
    bits.fold(0, |bits, bit| {
        bits | 1u128.checked_shl((*bit).into()).unwrap_or(0)
    })
}
