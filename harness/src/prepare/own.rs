//! A prepared guest with parts of the user's own.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use super::PrepareError;
use super::initramfs::{Archive, files};
use super::linux::{INIT, MODULES};
use super::modules::{Module, Modules};
use super::store::Prepared;

/// Where the guest finds its modules.
const FOLDER: &str = "lib/modules/";
/// Their order there.
const ORDER: &str = "lib/modules/order";

/// What is put in the place of a prepared guest's.
#[derive(Clone, Debug, Default)]
pub struct OwnParts {
    /// The kernel.
    pub kernel: Option<PathBuf>,
    /// The folder `lib/modules/RELEASE` of that kernel.
    pub modules_dir: Option<PathBuf>,
    /// Modules that take the place of those of the same name.
    pub modules: Vec<PathBuf>,
    /// The whole initial RAM disk.
    pub initrd: Option<PathBuf>,
}

/// A module that is loaded into a system that has booted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LateModule {
    /// Its name, of letters, digits and `_`.
    pub name: String,
    /// The names of the modules that it needs.
    pub needs: Vec<String>,
    /// The ELF file.
    pub bytes: Vec<u8>,
}

impl LateModule {
    /// Reads and unpacks modules; each comes after those of them that it needs.
    ///
    /// # Errors
    /// When a file can't be read, is no module, or has a name that no module has.
    pub fn read(paths: &[PathBuf]) -> Result<Vec<Self>, PrepareError> {
        let one = |path: &PathBuf| {
            let module = Module::read(path)?;
            let named = [module.name.clone()].into_iter().chain(module.needs());
            for name in named {
                if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    return Err(PrepareError::Module {
                        path: path.clone(),
                        why: format!("`{name}` is no module's name"),
                    });
                }
            }
            Ok(module)
        };
        let own: Vec<Module> = paths.iter().map(one).collect::<Result<_, _>>()?;
        let order = Modules::default().closure(&[], &own)?;
        let late = |module: Module| Self {
            needs: module.needs(),
            name: module.name,
            bytes: module.bytes,
        };
        Ok(order.into_iter().map(late).collect())
    }
}

/// Which of `modules` were built for another release than the kernel's.
pub fn late_doubts(kernel: &[u8], modules: &[LateModule]) -> Vec<String> {
    let own = |late: &LateModule| Module {
        name: late.name.clone(),
        bytes: late.bytes.clone(),
    };
    doubts(kernel, &modules.iter().map(own).collect::<Vec<_>>())
}

/// A guest that was put together.
#[derive(Clone, Debug)]
pub struct Own {
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The initial RAM disk.
    pub initrd: Vec<u8>,
    /// What it is made of, in words.
    pub made_of: Vec<String>,
    /// What does not fit together, in words. The kernel decides.
    pub doubts: Vec<String>,
}

impl Own {
    /// Changes when the kernel or the initial RAM disk changes.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.kernel, &self.initrd).hash(&mut hasher);
        hasher.finish()
    }
}

impl OwnParts {
    /// `base` with these parts in it.
    ///
    /// # Errors
    /// When a file can't be read, or a module is none or needs one that is not there.
    pub fn with(&self, base: &Prepared) -> Result<Own, PrepareError> {
        let read = |path: &Path| fs::read(path).map_err(PrepareError::read(path));
        let mut made_of = Vec::new();
        let kernel = match &self.kernel {
            Some(path) => {
                made_of.push(format!("kernel {}", path.display()));
                read(path)?
            }
            None => {
                made_of.push(format!("kernel of {}", base.name));
                read(&base.kernel())?
            }
        };
        if let Some(path) = &self.initrd {
            made_of.push(format!("initrd {}", path.display()));
            let initrd = read(path)?;
            return Ok(Own {
                kernel,
                initrd,
                made_of,
                doubts: Vec::new(),
            });
        }
        made_of.push(format!("initrd of {}", base.name));
        let own: Vec<Module> = self
            .modules
            .iter()
            .map(|path| Module::read(path))
            .collect::<Result<_, _>>()?;
        made_of.extend(
            self.modules
                .iter()
                .map(|path| format!("module {}", path.display())),
        );
        let mut initrd = read(&base.initrd())?;
        let there = files(&initrd).map_err(PrepareError::read(base.initrd()))?;
        let order = match (&self.kernel, &self.modules_dir) {
            (_, Some(dir)) => {
                made_of.push(format!("modules of {}", dir.display()));
                Modules::open(dir)?.closure(MODULES, &own)?
            }
            // What it does not bring along is built into it.
            (Some(_), None) => Modules::default().closure(&[], &own)?,
            (None, None) => {
                let order = there.iter().find(|(name, _)| name == ORDER);
                let order = String::from_utf8_lossy(order.map_or(&[][..], |(_, bytes)| bytes));
                let names: Vec<&str> = order
                    .lines()
                    .filter_map(|line| line.strip_suffix(".ko"))
                    .collect();
                let modules = there.iter().filter_map(|(path, bytes)| {
                    let name = path.strip_prefix(FOLDER)?.strip_suffix(".ko")?.to_owned();
                    let bytes = bytes.clone();
                    Some(Module { name, bytes })
                });
                Modules::of(modules).closure(&names, &own)?
            }
        };
        let doubts = doubts(&kernel, &own);
        let over = lay_over(&order).map_err(PrepareError::written("the initial RAM disk"))?;
        // The kernel reads archives one after the other, each at a multiple of four bytes; of two files of one
        // name the later one stays.
        initrd.resize(initrd.len().next_multiple_of(4), 0);
        initrd.extend(over);
        Ok(Own {
            kernel,
            initrd,
            made_of,
            doubts,
        })
    }
}

/// The modules, their order and who loads them, as an archive.
fn lay_over(modules: &[Module]) -> io::Result<Vec<u8>> {
    let mut archive = Archive::default();
    let mut order = String::new();
    for module in modules {
        archive.program(&format!("{FOLDER}{}.ko", module.name), &module.bytes)?;
        order += &format!("{}.ko\n", module.name);
    }
    archive.program(ORDER, order.as_bytes())?;
    archive.program("init", INIT.as_bytes())?;
    archive.finish()
}

/// Modules that were built for another kernel.
fn doubts(kernel: &[u8], own: &[Module]) -> Vec<String> {
    let Some(release) = release(kernel) else {
        return Vec::new();
    };
    own.iter()
        .filter_map(|module| Some((&module.name, module.built_for()?)))
        .filter(|(_, built_for)| *built_for != release)
        .map(|(name, built_for)| {
            format!("{name}.ko was built for {built_for}, and the kernel is {release}")
        })
        .collect()
}

/// The release of a bzImage: what its header's `kernel_version` leads to, up to a space.
fn release(kernel: &[u8]) -> Option<String> {
    const MAGIC_AT: usize = 0x202;
    const VERSION_AT: usize = 0x20e;
    /// The offset of the text is counted from here.
    const FROM: usize = 0x200;
    kernel.get(MAGIC_AT..)?.strip_prefix(b"HdrS")?;
    let offset: [u8; 2] = kernel.get(VERSION_AT..VERSION_AT + 2)?.try_into().ok()?;
    let text = kernel.get(FROM + usize::from(u16::from_le_bytes(offset))..)?;
    let end = text
        .iter()
        .take(256)
        .position(|byte| matches!(byte, 0 | b' '))?;
    String::from_utf8(text[..end].to_vec())
        .ok()
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::Store;

    fn elf(needs: &str, built_for: &str) -> Vec<u8> {
        format!("\x7fELF..license=GPL\0depends={needs}\0vermagic={built_for} SMP mod_unload \0")
            .into_bytes()
    }

    fn kernel(release: &str) -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        let text = format!("{release} (me@here) #1 SMP");
        bytes[0x300..0x300 + text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    /// A store with one guest, which has two modules.
    fn store(dir: &Path) -> Store {
        let store = Store::in_folder(&dir.join("guests"));
        let modules = [("virtio", ""), ("virtio_blk", "virtio")];
        let modules = modules.map(|(name, needs)| Module {
            name: name.into(),
            bytes: elf(needs, "6.1.0-9"),
        });
        let initrd = lay_over(&modules).unwrap();
        store
            .keep("linux-6.1.0-9", vec![], &kernel("6.1.0-9"), &initrd)
            .unwrap();
        store
    }

    /// The modules that the guest loads, and the bytes of each.
    fn loaded(initrd: &[u8]) -> Vec<(String, Vec<u8>)> {
        // What the kernel makes of archives one after the other.
        let mut last = std::collections::BTreeMap::new();
        for (name, bytes) in files(initrd).unwrap() {
            last.insert(name, bytes);
        }
        let order = String::from_utf8(last[ORDER].clone()).unwrap();
        order
            .lines()
            .map(|name| (name.to_owned(), last[&format!("{FOLDER}{name}")].clone()))
            .collect()
    }

    #[test]
    fn a_module_takes_the_place_of_the_guests_and_a_new_one_is_added() {
        let dir = tempfile::tempdir().unwrap();
        let base = store(dir.path()).find("linux").unwrap();
        let (mine, more) = (dir.path().join("virtio-blk.ko"), dir.path().join("more.ko"));
        fs::write(&mine, elf("virtio", "6.1.0-9")).unwrap();
        fs::write(&more, elf("virtio", "6.1.0-8")).unwrap();
        let parts = OwnParts {
            modules: vec![mine, more],
            ..OwnParts::default()
        };
        let own = parts.with(&base).unwrap();
        let names: Vec<String> = loaded(&own.initrd)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["virtio.ko", "virtio_blk.ko", "more.ko"]);
        assert_eq!(
            own.doubts,
            ["more.ko was built for 6.1.0-8, and the kernel is 6.1.0-9"]
        );
        assert_eq!(own.kernel, kernel("6.1.0-9"));
        assert_ne!(own.digest(), base.digest);
    }

    #[test]
    fn modules_for_a_system_that_has_booted_come_after_those_that_they_need() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("my-blk.ko"), elf("my_ring,virtio", "6.1.0-9")).unwrap();
        fs::write(at("my_ring.ko"), elf("", "6.1.0-8")).unwrap();
        let late = LateModule::read(&[at("my-blk.ko"), at("my_ring.ko")]).unwrap();
        let names: Vec<&str> = late.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["my_ring", "my_blk"]);
        assert_eq!(late[1].needs, ["my_ring", "virtio"]);
        assert_eq!(
            late_doubts(&kernel("6.1.0-9"), &late),
            ["my_ring.ko was built for 6.1.0-8, and the kernel is 6.1.0-9"]
        );
        fs::write(at("a;b.ko"), elf("", "6.1.0-9")).unwrap();
        let refused = LateModule::read(&[at("a;b.ko")]).unwrap_err().to_string();
        assert!(refused.contains("`a;b` is no module's name"), "{refused}");
    }

    #[test]
    fn a_kernel_of_the_users_has_its_drivers_built_in_or_brings_them_along() {
        let dir = tempfile::tempdir().unwrap();
        let base = store(dir.path()).find("linux").unwrap();
        let bz = dir.path().join("bzImage");
        fs::write(&bz, kernel("7.0.0")).unwrap();
        let mut parts = OwnParts {
            kernel: Some(bz),
            ..OwnParts::default()
        };
        let own = parts.with(&base).unwrap();
        assert_eq!(own.kernel, kernel("7.0.0"));
        assert_eq!(loaded(&own.initrd), []);

        let modules = dir.path().join("lib/modules/7.0.0");
        fs::create_dir_all(modules.join("kernel")).unwrap();
        for name in MODULES {
            fs::write(modules.join(format!("kernel/{name}.ko")), elf("", "7.0.0")).unwrap();
        }
        parts.modules_dir = Some(modules);
        let own = parts.with(&base).unwrap();
        assert_eq!(loaded(&own.initrd).len(), MODULES.len());
    }

    #[test]
    fn an_initial_ram_disk_of_the_users_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let base = store(dir.path()).find("linux").unwrap();
        let mine = dir.path().join("initrd");
        fs::write(&mine, "mine").unwrap();
        let parts = OwnParts {
            initrd: Some(mine),
            ..OwnParts::default()
        };
        assert_eq!(parts.with(&base).unwrap().initrd, b"mine");
    }

    #[test]
    fn the_release_of_a_kernel_is_read_from_its_header() {
        assert_eq!(
            release(&kernel("6.12.0-rc1+")).as_deref(),
            Some("6.12.0-rc1+")
        );
        assert_eq!(release(b"\x7fELF"), None);
        let mut wild = kernel("6.1");
        wild[0x20e..0x210].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(release(&wild), None);
    }
}
