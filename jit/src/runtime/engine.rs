//! The engine: what all modules of a runtime share.

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "compiler")]
use crate::environ::compiler::Compiler;
use crate::environ::type_registry::TypeRegistry;
use crate::runtime::pool_capacity::PoolCapacity;
use crate::runtime::vm::memory::MemoryPool;
use crate::runtime::vm::stack::{StackPool, Stacks};

/// How code is generated and run; fixed for an [`Engine`].
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Bytes of native stack of an activation whose store does not ask for another size, rounded up to pages. Default: 256
    /// KiB; at least 64 KiB.
    pub stack_size: usize,
    /// Bytes of native stack that a store may [ask for](crate::StoreLimits::stack_size), and that every function's frame
    /// has to fit. Default, and at least: `stack_size`.
    pub max_stack_size: usize,
    /// Gives every NaN that arithmetic makes the same bits. Without it they are the processor's, and may differ between
    /// processors and between versions of the compiler: for runs that are to be repeated exactly. It costs a
    /// comparison and a selection behind each floating-point operation.
    pub canonical_nans: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig { stack_size: 256 << 10, max_stack_size: 0, canonical_nans: false }
    }
}

/// A compiler for this machine, and the pools that instances draw on. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

struct EngineInner {
    #[cfg(feature = "compiler")]
    compiler: Box<dyn Compiler>,
    canonical_nans: bool,
    types: Arc<TypeRegistry>,
    stacks: Stacks,
    memories: Arc<MemoryPool>,
    /// For spare stores.
    pool_capacity: Arc<PoolCapacity>,
}

/// Why an engine cannot run on this machine.
#[derive(Debug, thiserror::Error)]
#[error("this machine is not supported: {0}")]
pub struct EngineError(pub(crate) String);

impl Engine {
    /// An engine that compiles with this compiler.
    pub(crate) fn with_compiler(
        config: EngineConfig,
        #[cfg(feature = "compiler")] compiler: Box<dyn Compiler>,
    ) -> Engine {
        crate::runtime::sys::fault::install(crate::runtime::vm::trap::handle);
        let inner = EngineInner {
            #[cfg(feature = "compiler")]
            compiler,
            canonical_nans: config.canonical_nans,
            types: Arc::default(),
            stacks: Stacks::new(config.stack_size, config.max_stack_size),
            memories: Arc::default(),
            pool_capacity: Arc::default(),
        };
        Engine { inner: Arc::new(inner) }
    }

    /// Whether a memory can have a reservation now: there are so many of them, and so much address space.
    pub fn can_reserve(&self) -> bool {
        self.inner.memories.can_reserve()
    }

    /// Whether the two are one engine.
    pub(crate) fn is(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    #[cfg(feature = "compiler")]
    pub(crate) fn compiler(&self) -> &dyn Compiler {
        &*self.inner.compiler
    }

    /// Whether its code gives every NaN that arithmetic makes the same bits.
    pub(crate) fn has_canonical_nans(&self) -> bool {
        self.inner.canonical_nans
    }

    /// The stacks that most stores have.
    pub(crate) fn stacks(&self) -> &Arc<StackPool> {
        self.inner.stacks.usual()
    }

    /// Whether a store that asks for this size gets the stacks that most have; false may be wrong.
    pub(crate) fn is_default_stack(&self, size: Option<usize>) -> bool {
        size.is_none_or(|size| self.inner.stacks.is_default(size))
    }

    /// Those of a store that asks for another size.
    pub(crate) fn stacks_of_size(&self, size: Option<usize>) -> Option<Arc<StackPool>> {
        self.inner.stacks.of_size(size?)
    }

    /// Bytes that a function's frame may have.
    pub(crate) fn max_frame(&self) -> u32 {
        self.inner.stacks.max_frame()
    }

    pub(crate) fn pool_capacity(&self) -> &Arc<PoolCapacity> {
        &self.inner.pool_capacity
    }

    pub(crate) fn memories(&self) -> &Arc<MemoryPool> {
        &self.inner.memories
    }

    /// The numbers of function types.
    pub(crate) fn types(&self) -> &Arc<TypeRegistry> {
        &self.inner.types
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("canonical_nans", &self.inner.canonical_nans).finish_non_exhaustive()
    }
}
