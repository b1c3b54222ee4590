//! A Linux guest: a distribution's kernel, its modules, busybox and QEMU's guest agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PrepareError;
use super::initramfs::Archive;
use super::modules::{Module, Modules};
use super::packages::{Apt, kernel_of, kernels, output, unpack_file};
use super::store::{Prepared, Store};

/// What the guest does first.
pub(super) const INIT: &str = include_str!("../../guests/linux/init");
/// What drives our devices, and what tells the host of a panic.
pub(super) const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_scsi",
    "sd_mod",
    "virtio_console",
    "virtio_rng",
    "pvpanic_pci",
];
const AGENT: &str = "usr/sbin/qemu-ga";
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
const LIBRARIES: &str = "lib/x86_64-linux-gnu";

/// Which guest is to be made.
#[derive(Clone, Debug, Default)]
pub struct LinuxRequest {
    /// A version (`6.12`), a package, or the file of one; without it the newest of this system's
    /// release.
    pub kernel: Option<String>,
    /// Modules of the user's, which take the place of the kernel's.
    pub modules: Vec<PathBuf>,
    /// What is added to the guest's name.
    pub suffix: Option<String>,
}

/// Makes a guest and keeps it in `store`. `tell` hears what is being done.
///
/// # Errors
/// When packages can't be found, fetched or unpacked, or lack something.
pub fn linux(
    request: &LinuxRequest,
    store: &Store,
    tell: impl Fn(&str),
) -> Result<Prepared, PrepareError> {
    let dir = store.dir();
    fs::create_dir_all(dir).map_err(PrepareError::written(dir))?;
    let apt_dir = dir.join(".apt");
    let work = tempfile::Builder::new()
        .prefix(".unpacked-")
        .tempdir_in(dir)
        .map_err(PrepareError::written(dir))?;
    let (kernel, user) = (work.path().join("kernel"), work.path().join("user"));
    for folder in [&kernel, &user] {
        fs::create_dir_all(folder).map_err(PrepareError::written(folder))?;
    }
    let own: Vec<Module> = request
        .modules
        .iter()
        .map(|path| Module::read(path))
        .collect::<Result<_, _>>()?;

    tell("asking the package sources of this machine");
    let mut apt = Apt::open(&apt_dir)?;
    let mut made_of = match request.kernel.as_deref().map(Path::new) {
        Some(file) if file.is_file() => {
            unpack_file(file, &kernel)?;
            vec![file.display().to_string()]
        }
        _ => {
            let package = find(&mut apt, request.kernel.as_deref(), &tell)?;
            tell(&format!("fetching {package}"));
            let part = |name: &str| {
                let parts = ["linux-modules-", "linux-binary-"];
                parts.iter().any(|part| name.starts_with(part))
            };
            apt.unpack(&[&package], part, &kernel)?.packages
        }
    };
    tell("fetching busybox and the guest agent");
    let library = |name: &str| name.starts_with("lib") || name == "zlib1g";
    let tools = apt.unpack(&["busybox-static", "qemu-guest-agent"], library, &user)?;
    made_of.extend(tools.packages);
    made_of.extend(request.modules.iter().map(|m| m.display().to_string()));

    let modules = Modules::of_package(&kernel)?;
    let name = match &request.suffix {
        None => format!("linux-{}", modules.release),
        Some(suffix) => format!("linux-{}-{suffix}", modules.release),
    };
    tell(&format!("packing {name}"));
    let image = kernel_image(&kernel, &modules.release)?;
    let initrd = pack(&user, &modules.closure(MODULES, &own)?)?;
    store.keep(&name, made_of, &image, &initrd)
}

/// The package that `wanted` means. Newer releases are asked only for what the system's own lacks.
fn find(apt: &mut Apt, wanted: Option<&str>, tell: &impl Fn(&str)) -> Result<String, PrepareError> {
    loop {
        let names = apt.names("linux-image-")?;
        if let Some(wanted) = wanted
            && names.iter().any(|name| name == wanted)
        {
            return Ok(wanted.to_owned());
        }
        if let Some(found) = kernel_of(&names, wanted) {
            return Ok(found.to_owned());
        }
        tell("asking a newer release on the same mirrors");
        if !apt.widen()? {
            let mut offers: Vec<String> = kernels(&names)
                .filter(|name| name.ends_with("-cloud-amd64"))
                .map(str::to_owned)
                .collect();
            offers.sort_by_cached_key(|name| super::store::version(name));
            return Err(PrepareError::NotOffered {
                wanted: format!("kernel {}", wanted.unwrap_or("at all")),
                offers,
            });
        }
    }
}

/// The kernel itself, where the packages of different releases have it.
fn kernel_image(root: &Path, release: &str) -> Result<Vec<u8>, PrepareError> {
    let places = [
        format!("boot/vmlinuz-{release}"),
        format!("usr/lib/modules/{release}/vmlinuz"),
        format!("lib/modules/{release}/vmlinuz"),
        format!("usr/lib/linux/vmlinuz-{release}"),
    ];
    for place in places {
        let path = root.join(place);
        if path.is_file() {
            return fs::read(&path).map_err(PrepareError::read(path));
        }
    }
    Err(PrepareError::Missing {
        holder: format!("the package of the kernel {release}"),
        wanted: format!("file vmlinuz-{release}"),
    })
}

/// The initial RAM disk.
fn pack(user: &Path, modules: &[Module]) -> Result<Vec<u8>, PrepareError> {
    let busybox = first_file(user, "busybox", &["usr/bin/busybox", "bin/busybox"])?;
    let agent = first_file(user, "qemu-guest-agent", &[AGENT])?;
    let libraries = libraries(user, &agent)?;
    let read = |path: &Path| fs::read(path).map_err(PrepareError::read(path));
    let mut archive = Archive::default();
    let mut fill = || -> Result<(), FillError> {
        for folder in [
            "bin",
            "dev",
            "lib",
            "lib64",
            LIBRARIES,
            "lib/modules",
            "proc",
            "run",
            "sbin",
            "sys",
            "tmp",
        ] {
            archive.folder(folder)?;
        }
        archive.device("dev/console", 5, 1)?;
        archive.program("bin/busybox", &read(&busybox)?)?;
        archive.link("bin/sh", "busybox")?;
        archive.program("sbin/qemu-ga", &read(&agent)?)?;
        for library in &libraries {
            let name = library.file_name().unwrap_or_default().to_string_lossy();
            let place = match name.starts_with("ld-linux") {
                true => LOADER.to_owned(),
                false => format!("{LIBRARIES}/{name}"),
            };
            archive.program(&place, &read(library)?)?;
        }
        let mut order = String::new();
        for module in modules {
            archive.program(&format!("lib/modules/{}.ko", module.name), &module.bytes)?;
            order += &format!("{}.ko\n", module.name);
        }
        archive.program("lib/modules/order", order.as_bytes())?;
        archive.program("init", INIT.as_bytes())?;
        Ok(())
    };
    fill()
        .and_then(|()| Ok(archive.finish()?))
        .map_err(|error| match error {
            FillError::Prepare(error) => error,
            FillError::Archive(source) => PrepareError::written("the initial RAM disk")(source),
        })
}

#[derive(Debug, thiserror::Error)]
enum FillError {
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Archive(#[from] std::io::Error),
}

fn first_file(root: &Path, package: &str, places: &[&str]) -> Result<PathBuf, PrepareError> {
    let found = places
        .iter()
        .map(|place| root.join(place))
        .find(|path| path.is_file());
    found.ok_or_else(|| PrepareError::Missing {
        holder: format!("the package {package}"),
        wanted: format!("file {}", places.join(" or ")),
    })
}

/// The libraries that a program needs, as the loader beside them finds them, and the loader.
fn libraries(root: &Path, program: &Path) -> Result<Vec<PathBuf>, PrepareError> {
    let folders: Vec<PathBuf> = ["usr/lib", "lib"]
        .iter()
        .map(|lib| root.join(lib).join("x86_64-linux-gnu"))
        .collect();
    let loader = first_file(
        root,
        "libc6",
        &[
            "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        ],
    )?;
    let path: Vec<String> = folders
        .iter()
        .map(|dir| dir.display().to_string())
        .collect();
    let mut list = Command::new(&loader);
    list.args([
        "--inhibit-cache",
        "--library-path",
        &path.join(":"),
        "--list",
    ]);
    list.arg(program);
    let text = output(list, "ld-linux-x86-64.so.2 --list")?;
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split_once("=> ")?.1.split(' ').next())
        .map(PathBuf::from)
        .filter(|path| path.starts_with(root))
        .collect();
    found.push(loader);
    Ok(found)
}
