//! [`Engine`]: what all modules of a host share.

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "compiler")]
use crate::environ::compiler::Compiler;
use crate::environ::type_registry::TypeRegistry;
use crate::runtime::pool_capacity::PoolCapacity;
use crate::runtime::vm::memory::MemoryPool;
use crate::runtime::vm::stack::{StackPool, Stacks};

/// How code is generated and run. Fixed for an [`Engine`].
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// The bytes of native stack of a call, unless its store [asks for another
    /// size](crate::StoreLimits::stack_size). Rounded up to whole pages. Default: 256 KiB. Minimum: 64 KiB.
    pub stack_size: usize,
    /// The largest native stack that a store may [ask for](crate::StoreLimits::stack_size), in bytes. The
    /// frame of every function has to fit it. Default and minimum: `stack_size`.
    pub max_stack_size: usize,
    /// Gives every NaN that arithmetic produces the same bits, for runs that are to be repeated exactly.
    /// Otherwise the bits are the processor's, and may differ between processors and between versions of the
    /// compiler. Costs a comparison and a selection for each floating-point operation.
    pub canonical_nans: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig { stack_size: 256 << 10, max_stack_size: 0, canonical_nans: false }
    }
}

/// A compiler for this machine, and the pools that instances use. Cheap to clone.
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
    /// The number of pooled instances that may be added.
    pool_capacity: Arc<PoolCapacity>,
}

/// This machine is not supported.
#[derive(Debug, thiserror::Error)]
#[error("this machine is not supported: {0}")]
pub struct EngineError(pub(crate) String);

impl Engine {
    /// Creates an engine with this compiler. The handlers of faults must be installed.
    pub(crate) fn with_compiler(
        config: EngineConfig,
        #[cfg(feature = "compiler")] compiler: Box<dyn Compiler>,
    ) -> Engine {
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

    /// Whether a memory can have a reservation now: their number and the address space are limited.
    pub fn can_reserve(&self) -> bool {
        self.inner.memories.can_reserve()
    }

    /// Whether the two are the same engine.
    pub(crate) fn is(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    #[cfg(feature = "compiler")]
    pub(crate) fn compiler(&self) -> &dyn Compiler {
        &*self.inner.compiler
    }

    /// Whether its code gives every NaN that arithmetic produces the same bits.
    pub(crate) fn has_canonical_nans(&self) -> bool {
        self.inner.canonical_nans
    }

    /// Returns the stacks of the default size.
    pub(crate) fn stacks(&self) -> &Arc<StackPool> {
        self.inner.stacks.default_pool()
    }

    /// Whether a store that asks for this size gets a stack of the default size. May return false although it
    /// does.
    pub(crate) fn is_default_stack(&self, size: Option<usize>) -> bool {
        size.is_none_or(|size| self.inner.stacks.is_default(size))
    }

    /// Returns the stacks for a store that asks for another size.
    pub(crate) fn stacks_of_size(&self, size: Option<usize>) -> Option<Arc<StackPool>> {
        self.inner.stacks.of_size(size?)
    }

    /// Returns the size that a function's frame may have.
    pub(crate) fn max_frame(&self) -> u32 {
        self.inner.stacks.max_frame()
    }

    pub(crate) fn pool_capacity(&self) -> &Arc<PoolCapacity> {
        &self.inner.pool_capacity
    }

    pub(crate) fn memories(&self) -> &Arc<MemoryPool> {
        &self.inner.memories
    }

    /// Returns the numbers of function types.
    pub(crate) fn types(&self) -> &Arc<TypeRegistry> {
        &self.inner.types
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("canonical_nans", &self.inner.canonical_nans).finish_non_exhaustive()
    }
}
