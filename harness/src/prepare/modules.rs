//! The modules of a kernel, and those that others of them need.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ruzstd::decoding::StreamingDecoder;

use super::PrepareError;

/// The most bytes that a module may have when it is unpacked.
const LARGEST: u64 = 256 << 20;

/// The folder `lib/modules/RELEASE` of a kernel.
#[derive(Debug, Default)]
pub(super) struct Modules {
    /// The kernel's release.
    pub release: String,
    /// Files by the name that modules call each other, with `_` for `-`.
    files: BTreeMap<String, PathBuf>,
    unpacked: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
}

/// A module, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// Its name, with `_` for `-`.
    pub name: String,
    /// The ELF file.
    pub bytes: Vec<u8>,
}

impl Modules {
    /// Those of the only kernel under `root`, an unpacked package: `lib/modules/` or `usr/lib/modules/`.
    pub fn of_package(root: &Path) -> Result<Self, PrepareError> {
        let missing = || PrepareError::Missing {
            holder: "the kernel's package".into(),
            wanted: "folder lib/modules/RELEASE".into(),
        };
        let release = ["lib/modules", "usr/lib/modules"]
            .iter()
            .filter_map(|dir| fs::read_dir(root.join(dir)).ok())
            .flat_map(|entries| entries.flatten())
            .map(|entry| entry.path())
            .find(|path| path.join("kernel").is_dir());
        Self::open(&release.ok_or_else(missing)?)
    }

    /// Those in `dir`, which is called after the kernel's release.
    pub fn open(dir: &Path) -> Result<Self, PrepareError> {
        let release = dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let mut files = BTreeMap::new();
        let mut folders = vec![dir.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).map_err(PrepareError::read(&folder))?;
            for entry in entries.flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if let Some(name) = name(&path) {
                    files.insert(name, path);
                }
            }
        }
        // A list of paths such as kernel/drivers/virtio/virtio.ko.
        let builtin = fs::read_to_string(dir.join("modules.builtin")).unwrap_or_default();
        let builtin = builtin.lines().filter_map(|line| name(Path::new(line)));
        Ok(Self {
            release: release.unwrap_or_default(),
            files,
            unpacked: BTreeMap::new(),
            builtin: builtin.collect(),
        })
    }

    /// These, of a kernel that has everything else built in.
    pub fn of(modules: impl IntoIterator<Item = Module>) -> Self {
        let named = |module: Module| (module.name.clone(), module);
        Self {
            unpacked: modules.into_iter().map(named).collect(),
            ..Self::default()
        }
    }

    /// The modules that `wanted` and those that they need are, each after the ones that it needs.
    /// What is built into the kernel is none.
    pub fn closure(&self, wanted: &[&str], own: &[Module]) -> Result<Vec<Module>, PrepareError> {
        let mut order = Vec::new();
        for module in own {
            self.add(&module.name, own, &mut order, 0)?;
        }
        for name in wanted {
            self.add(name, own, &mut order, 0)?;
        }
        Ok(order)
    }

    fn add(
        &self,
        name: &str,
        own: &[Module],
        order: &mut Vec<Module>,
        depth: usize,
    ) -> Result<(), PrepareError> {
        // No chain of needs is as long, unless it is a circle.
        const DEEPEST: usize = 32;
        if order.iter().any(|module| module.name == name) || depth > DEEPEST {
            return Ok(());
        }
        let unpacked = || self.unpacked.get(name);
        let module = match own
            .iter()
            .find(|module| module.name == name)
            .or_else(unpacked)
        {
            Some(module) => module.clone(),
            None => match self.files.get(name) {
                Some(path) => Module::read(path)?,
                // A package that has no list of what is built in has it built in.
                None if self.builtin.contains(name) || self.builtin.is_empty() => return Ok(()),
                None => {
                    return Err(PrepareError::Missing {
                        holder: format!("the kernel {}", self.release),
                        wanted: format!("module {name}"),
                    });
                }
            },
        };
        for needed in module.needs() {
            self.add(&needed, own, order, depth + 1)?;
        }
        order.push(module);
        Ok(())
    }
}

/// `virtio_rng` of `…/virtio-rng.ko.xz`.
fn name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"]
        .iter()
        .find_map(|end| file.strip_suffix(end))?;
    Some(stem.replace('-', "_"))
}

impl Module {
    /// Reads and unpacks a file.
    pub fn read(path: &Path) -> Result<Self, PrepareError> {
        let bad = |why: String| PrepareError::Module {
            path: path.to_owned(),
            why,
        };
        let name = name(path).ok_or_else(|| bad("it is not called NAME.ko".into()))?;
        let packed = fs::read(path).map_err(PrepareError::read(path))?;
        let mut bytes = Vec::new();
        match path.extension().and_then(|end| end.to_str()) {
            Some("xz") => lzma_rust2::XzReader::new(packed.as_slice(), true)
                .take(LARGEST)
                .read_to_end(&mut bytes)
                .map_err(|error| bad(error.to_string()))?,
            Some("zst") => StreamingDecoder::new(packed.as_slice())
                .map_err(|error| bad(error.to_string()))?
                .take(LARGEST)
                .read_to_end(&mut bytes)
                .map_err(|error| bad(error.to_string()))?,
            Some("ko") => {
                bytes = packed;
                0
            }
            other => {
                return Err(bad(format!(
                    "only .ko, .ko.xz and .ko.zst are known, not .{}",
                    other.unwrap_or_default()
                )));
            }
        };
        if !bytes.starts_with(b"\x7fELF") {
            return Err(bad("it is no ELF file".into()));
        }
        Ok(Self { name, bytes })
    }

    /// The names of the modules that it needs.
    pub fn needs(&self) -> Vec<String> {
        let list = self.info("depends").unwrap_or_default();
        list.split(',')
            .filter(|name| !name.is_empty())
            .map(|name| name.replace('-', "_"))
            .collect()
    }

    /// The release of the kernel that it was built for.
    pub fn built_for(&self) -> Option<String> {
        let magic = self.info("vermagic")?;
        magic.split(' ').next().map(str::to_owned)
    }

    /// An entry of its section `.modinfo`.
    fn info(&self, key: &str) -> Option<String> {
        let key = format!("\0{key}=").into_bytes();
        let at = self.bytes.windows(key.len()).position(|w| w == key)?;
        let value = self.bytes[at + key.len()..].split(|b| *b == 0).next()?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn elf(needs: &str) -> Vec<u8> {
        format!("\x7fELF..license=GPL\0depends={needs}\0name=x\0").into_bytes()
    }

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("usr/lib/modules/6.1.0-9/kernel");
        fs::create_dir_all(at.join("drivers")).unwrap();
        for (file, needs) in [
            ("drivers/virtio-rng.ko", "virtio,rng-core"),
            ("rng-core.ko", ""),
            ("virtio_pci.ko", "virtio,virtio_ring"),
            ("virtio.ko", "virtio_ring"),
            ("virtio_ring.ko", ""),
        ] {
            fs::write(at.join(file), elf(needs)).unwrap();
        }
        fs::write(
            at.join("../modules.builtin"),
            "kernel/drivers/scsi/scsi_mod.ko\n",
        )
        .unwrap();
        dir
    }

    fn names(modules: &[Module]) -> Vec<&str> {
        modules.iter().map(|module| module.name.as_str()).collect()
    }

    #[test]
    fn a_module_comes_after_those_that_it_needs_and_what_is_built_in_is_left_out() {
        let dir = folder();
        let modules = Modules::of_package(dir.path()).unwrap();
        assert_eq!(modules.release, "6.1.0-9");
        let order = modules
            .closure(&["virtio_pci", "virtio_rng", "scsi_mod"], &[])
            .unwrap();
        assert_eq!(
            names(&order),
            [
                "virtio_ring",
                "virtio",
                "virtio_pci",
                "rng_core",
                "virtio_rng"
            ]
        );
        let error = modules.closure(&["nvme"], &[]).unwrap_err();
        assert_eq!(error.to_string(), "the kernel 6.1.0-9 has no module nvme");
    }

    #[test]
    fn a_module_of_the_users_takes_the_place_of_the_kernels() {
        let dir = folder();
        let modules = Modules::of_package(dir.path()).unwrap();
        let own = dir.path().join("virtio.ko");
        fs::write(&own, [elf("virtio_ring"), b"mine".to_vec()].concat()).unwrap();
        let own = Module::read(&own).unwrap();
        let order = modules
            .closure(&["virtio_pci"], std::slice::from_ref(&own))
            .unwrap();
        assert_eq!(names(&order), ["virtio_ring", "virtio", "virtio_pci"]);
        assert_eq!(order[1], own);
    }

    #[test]
    fn a_module_is_unpacked_as_its_name_says() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = elf("virtio");
        let zst = ruzstd::encoding::compress_to_vec(
            bytes.as_slice(),
            ruzstd::encoding::CompressionLevel::Fastest,
        );
        let mut xz =
            lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).unwrap();
        xz.write_all(&bytes).unwrap();
        for (file, packed) in [
            ("a.ko", bytes.clone()),
            ("a.ko.zst", zst),
            ("a.ko.xz", xz.finish().unwrap()),
        ] {
            let path = dir.path().join(file);
            fs::write(&path, packed).unwrap();
            let module = Module::read(&path).unwrap();
            assert_eq!(
                (module.name.as_str(), &module.bytes),
                ("a", &bytes),
                "{file}"
            );
        }
    }

    #[test]
    fn what_is_no_module_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        for (file, why) in [
            ("a.txt", "it is not called NAME.ko"),
            ("a.ko", "it is no ELF file"),
            ("a.ko.gz", "only .ko, .ko.xz and .ko.zst are known, not .gz"),
            ("a.ko.zst", "BadMagicNumber"),
        ] {
            let path = dir.path().join(file);
            fs::write(&path, "text").unwrap();
            let error = Module::read(&path).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
