//! Serving one device, whatever it is and however it is attached.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use serde_json::json;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::core::Core;
use super::frontend::{Fronted, FrontendError};
use super::irqs::Irqs;
use super::journal::Journal;
use super::vfio_user::Port;
use crate::fault::{Fault, Injector, device_input};
use crate::function::Function;
use crate::shape::{Attach, Kind, Shape};
use crate::spec::{BlkConfig, feature_bit};
use crate::trace::{Hello, Host, Input, What};

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
}

/// What QEMU has to be told to take a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// Values of `-chardev`.
    pub chardevs: Vec<String>,
    /// The object of `-device`; `addr`, `bus` and `id` are the user's to add.
    pub device: serde_json::Value,
}

/// A device that is being served, by threads of this process, until it is dropped.
pub struct Served {
    shape: Shape,
    attachment: Attachment,
    port: Port,
}

impl Served {
    /// What QEMU has to be told.
    pub fn qemu(&self) -> &Attachment {
        &self.attachment
    }

    /// Gives a command of the host to the device.
    pub fn host(&self, host: Host) {
        let input = device_input(&host, &self.shape);
        self.port.host(Input::Host(host));
        if let Some(input) = input {
            self.port.host(input);
        }
    }

    /// Ends the serving; QEMU must be gone before.
    pub fn shutdown(mut self) {
        self.port.shutdown();
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
    let wake = EventFd::new(EFD_NONBLOCK).map_err(ServeError::Os)?;
    let (tell, observed) = mpsc::channel();
    let _ = (&tell, Attach::VfioUser);
    let (backend, features, config) = match backend_socket(shape) {
        Some(path) => {
            let (fronted, offer) = Fronted::connect(&path, shape.queues, BlkConfig::SIZE as u32)?;
            (
                Some(fronted),
                u128::from(offer.features) & !withheld(shape),
                offer.config,
            )
        }
        None => (None, 0, Vec::new()),
    };
    let function = Function::new(shape, features, config);
    let hello = Hello {
        dev,
        shape: shape.clone(),
        features,
    };
    journal.record(What::Hello(Box::new(hello.clone())));
    let injector = Injector::new(function, hello, faults, seed);
    let irqs = Irqs::new(shape.table_size(), shape.msi);
    let core = Core::new(dev, journal, injector, irqs, backend, wake);
    let port = Port::start(&socket, shape, core, observed)?;
    let device = json!({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": socket}});
    Ok(Served {
        shape: shape.clone(),
        attachment: Attachment {
            chardevs: Vec::new(),
            device,
        },
        port,
    })
}

fn backend_socket(shape: &Shape) -> Option<PathBuf> {
    match (shape.kind, &shape.backend) {
        (Kind::Block, Some(foreign)) => Some(foreign.socket.clone()),
        _ => None,
    }
}

fn withheld(shape: &Shape) -> u128 {
    shape
        .without
        .iter()
        .filter_map(|name| feature_bit(name).or_else(|| name.parse().ok()))
        .fold(0, |bits, bit: u8| {
            bits | 1u128.checked_shl(bit.into()).unwrap_or(0)
        })
}
