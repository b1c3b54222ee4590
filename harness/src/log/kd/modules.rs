//! Which images the target has loaded, so that addresses have names.

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its path, as the target gave it.
    pub path: String,
    /// Where it is.
    pub base: u64,
    /// Its size in bytes.
    pub size: u32,
}

impl Module {
    /// The file's name without its path.
    pub fn name(&self) -> &str {
        self.path.rsplit(['\\', '/']).next().unwrap_or(&self.path)
    }
}

/// The most images that are kept.
const MAX_MODULES: usize = 4096;

/// The images that are loaded.
#[derive(Clone, Debug, Default)]
pub struct Modules(Vec<Module>);

impl Modules {
    /// An image came.
    pub fn load(&mut self, module: Module) {
        self.unload(module.base);
        if self.0.len() < MAX_MODULES {
            self.0.push(module);
        }
    }

    /// An image goes.
    pub fn unload(&mut self, base: u64) -> Option<Module> {
        let at = self.0.iter().position(|module| module.base == base)?;
        Some(self.0.swap_remove(at))
    }

    /// None is loaded.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// `dut.sys+0x1a4`, if the address is in an image.
    pub fn place(&self, address: u64) -> Option<String> {
        let inside = |module: &&Module| {
            address
                .checked_sub(module.base)
                .is_some_and(|offset| offset < u64::from(module.size))
        };
        let module = self.0.iter().find(inside)?;
        Some(format!("{}+{:#x}", module.name(), address - module.base))
    }
}
