//! A compiled module.

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{CompileError, LinkError};
use crate::linker::HostFunc;
use crate::value::{ExternType, FuncType};

/// A module as native code, shared by all of its instances. Cheap to clone; the code is unmapped with the last
/// clone or instance.
#[derive(Clone, Debug)]
pub struct Module {
    pub(crate) inner: Arc<ModuleInner>,
}

#[derive(Debug)]
pub(crate) struct ModuleInner {}

/// A function of a module, by export name or table index, resolved once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncIndex(pub(crate) u32);

impl Module {
    /// Validates and compiles a module.
    ///
    /// # Errors
    /// See [`CompileError`]; offsets are into `wasm`.
    pub fn compile(_engine: &Engine, _wasm: &[u8]) -> Result<Module, CompileError> {
        todo!()
    }

    /// The imports in declaration order (without the reserved counter and yield): module, name, type.
    pub fn imports(&self) -> impl Iterator<Item = (&str, &str, ExternType)> {
        std::iter::empty()
    }

    /// The exports: name and type.
    pub fn exports(&self) -> impl Iterator<Item = (&str, ExternType)> {
        std::iter::empty()
    }

    /// The exported function of this name.
    pub fn exported_function(&self, _name: &str) -> Option<FuncIndex> {
        todo!()
    }

    /// The function's type.
    pub fn function_type(&self, _function: FuncIndex) -> FuncType {
        todo!()
    }

    /// The start function, which an embedder calls before any other.
    pub fn start_function(&self) -> Option<FuncIndex> {
        todo!()
    }

    /// Whether the module charges reductions, so that it can be preempted.
    pub fn is_metered(&self) -> bool {
        todo!()
    }
}

/// A module whose imports are resolved to host functions: what processes are instantiated from. Cheap to clone.
pub struct Linked<T> {
    inner: Arc<LinkedInner<T>>,
}

struct LinkedInner<T> {
    module: Module,
    _functions: Vec<HostFunc<T>>,
}

impl<T> Clone for Linked<T> {
    fn clone(&self) -> Self {
        Linked { inner: self.inner.clone() }
    }
}

impl<T: 'static> Linked<T> {
    pub(crate) fn resolve(
        _module: &Module,
        _find: impl Fn(&str, &str) -> Option<HostFunc<T>>,
    ) -> Result<Linked<T>, LinkError> {
        todo!()
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.inner.module
    }
}
