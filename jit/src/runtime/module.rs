//! A compiled module.

use std::fmt;
use std::sync::Arc;

use crate::environ::module_info::Item;
use crate::environ::options::CompileOptions;
use crate::environ::value::{ExternType, FuncType};
use crate::runtime::loaded_module::{FuncIndex, LoadedModule, ModuleId};

/// A module as native code, shared by all of its instances. Cheap to clone. The code is unmapped with the
/// last clone or instance.
#[derive(Clone)]
pub struct Module {
    pub(crate) inner: Arc<LoadedModule>,
}

impl Module {
    /// Returns the options that the module was compiled with.
    pub fn options(&self) -> CompileOptions {
        self.inner.options
    }

    /// Returns the number of the module. Clones are the same module; the same bytes compiled twice are two
    /// modules.
    pub fn id(&self) -> ModuleId {
        self.inner.id()
    }

    /// Returns the imports in declaration order, without the reserved one: module name, field name and type.
    pub fn imports(&self) -> impl Iterator<Item = (&str, &str, ExternType)> {
        let info = &self.inner.info;
        let ordinary = info.imports.iter().filter(|import| !info.is_reserved(import));
        ordinary.map(|import| (&*import.module, &*import.name, info.item_type(import.item)))
    }

    /// Returns the exports: name and type.
    pub fn exports(&self) -> impl Iterator<Item = (&str, ExternType)> {
        let info = &self.inner.info;
        info.exports.iter().map(|(name, item)| (&**name, info.item_type(*item)))
    }

    /// Returns the exported function with this name.
    pub fn exported_function(&self, name: &str) -> Option<FuncIndex> {
        match self.inner.info.export(name)? {
            Item::Func(function) => Some(FuncIndex(function)),
            _ => None,
        }
    }

    /// Returns the name under which a function is exported; the first, if there are several.
    pub fn name_of_export(&self, function: FuncIndex) -> Option<&str> {
        self.inner.info.name_of_export(function.0)
    }

    /// Returns the type of a function.
    pub fn function_type(&self, function: FuncIndex) -> &FuncType {
        self.inner.info.function_type(function.0)
    }

    /// Returns the start function, which the embedder calls before any other.
    pub fn start_function(&self) -> Option<FuncIndex> {
        self.inner.info.start.map(FuncIndex)
    }

    /// Returns approximately the bytes of host memory that the module takes: native code, declarations, names
    /// and data, without the overhead of allocations and without debug sections. These are limited to 128
    /// MiB, and to the size of the module.
    pub fn host_bytes(&self) -> usize {
        self.inner.code.image_size() + self.inner.info.host_bytes()
    }

    /// Whether the module charges reductions, so that it can be preempted.
    pub fn is_metered(&self) -> bool {
        self.inner.is_metered()
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("functions", &self.inner.info.functions.len()).finish_non_exhaustive()
    }
}
