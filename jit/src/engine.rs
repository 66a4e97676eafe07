//! The engine: what all modules of a runtime share.

use std::fmt;
use std::sync::Arc;

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};

use crate::store::Room;
use crate::types::TypeNumbers;
use crate::vm::memory::MemoryPool;
use crate::vm::stack::{StackPool, Stacks};

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
    isa: OwnedTargetIsa,
    hasty_isa: OwnedTargetIsa,
    types: Arc<TypeNumbers>,
    stacks: Stacks,
    memories: Arc<MemoryPool>,
    /// For spare stores.
    room: Arc<Room>,
}

/// Why an engine cannot run on this machine.
#[derive(Debug, thiserror::Error)]
#[error("this machine is not supported: {0}")]
pub struct EngineError(String);

impl Engine {
    /// An engine for the machine it runs on.
    ///
    /// # Errors
    /// When Cranelift has no back end for it.
    pub fn new(config: EngineConfig) -> Result<Engine, EngineError> {
        crate::sys::fault::install();
        let inner = EngineInner {
            isa: native_isa("speed", "backtracking", config).map_err(EngineError)?,
            hasty_isa: native_isa("none", "single_pass", config).map_err(EngineError)?,
            types: Arc::default(),
            stacks: Stacks::new(config.stack_size, config.max_stack_size),
            memories: Arc::default(),
            room: Arc::default(),
        };
        Ok(Engine { inner: Arc::new(inner) })
    }

    /// Whether a memory can have a reservation now: there are so many of them, and so much address space.
    pub fn can_reserve(&self) -> bool {
        self.inner.memories.can_reserve()
    }

    /// Whether the two are one engine.
    pub(crate) fn is(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn isa(&self) -> &OwnedTargetIsa {
        &self.inner.isa
    }

    /// The same, for functions that are compiled in a time that is about linear in their size or not at all.
    pub(crate) fn hasty_isa(&self) -> &OwnedTargetIsa {
        &self.inner.hasty_isa
    }

    /// The stacks that most stores have.
    pub(crate) fn stacks(&self) -> &Arc<StackPool> {
        self.inner.stacks.usual()
    }

    /// Whether a store that asks for this size gets the stacks that most have; false may be wrong.
    pub(crate) fn is_usual_stack(&self, size: Option<usize>) -> bool {
        size.is_none_or(|size| self.inner.stacks.is_usual(size))
    }

    /// Those of a store that asks for another size.
    pub(crate) fn unusual_stacks(&self, size: Option<usize>) -> Option<Arc<StackPool>> {
        self.inner.stacks.of_size(size?)
    }

    /// Bytes that a function's frame may have.
    pub(crate) fn max_frame(&self) -> u32 {
        self.inner.stacks.max_frame()
    }

    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.inner.room
    }

    pub(crate) fn memories(&self) -> &Arc<MemoryPool> {
        &self.inner.memories
    }

    /// Whom code is made for and how: processor, its features, its pages, and the compiler's flags.
    pub(crate) fn target(&self) -> String {
        let isa = &self.inner.isa;
        let features: Vec<String> = isa.isa_flags().iter().map(ToString::to_string).collect();
        let page = crate::sys::page_size();
        format!("{} {} {page} {}\n{}", isa.name(), isa.triple(), features.join(" "), isa.flags())
    }

    /// The numbers of function types.
    pub(crate) fn types(&self) -> &Arc<TypeNumbers> {
        &self.inner.types
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("target", &self.inner.isa.triple().to_string()).finish_non_exhaustive()
    }
}

fn native_isa(
    optimisation: &str,
    register_allocator: &str,
    config: EngineConfig,
) -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    let mut set = |name: &str, value: &str| flags.set(name, value).map_err(|error| error.to_string());
    set("opt_level", optimisation)?;
    set("regalloc_algorithm", register_allocator)?;
    // Backtraces follow frame pointers.
    set("preserve_frame_pointers", "true")?;
    // Prologues compare with the activation's limit instead.
    set("enable_probestack", "false")?;
    set("unwind_info", "false")?;
    // Results beyond the registers go to an area in the caller's frame.
    set("enable_multi_ret_implicit_sret", "true")?;
    set("enable_nan_canonicalization", if config.canonical_nans { "true" } else { "false" })?;
    set("is_pic", "false")?;
    set("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" })?;
    let mut builder = cranelift_native::builder()?;
    if cfg!(target_arch = "aarch64") {
        // Behind a masked address the architecture wants a barrier, so that the mask itself is not guessed.
        cranelift_codegen::settings::Configurable::enable(&mut builder, "use_csdb")
            .map_err(|error| error.to_string())?;
    }
    builder.finish(settings::Flags::new(flags)).map_err(|error| error.to_string())
}
