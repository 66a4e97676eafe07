//! Loads compiled code and runs it: everything of the engine but the compiler.

pub(crate) mod code;
#[cfg_attr(not(feature = "compiler"), allow(dead_code, reason = "what only a compiler or its cache uses"))]
pub(crate) mod debug;
pub(crate) mod engine;
pub(crate) mod error;
pub(crate) mod instantiate;
pub(crate) mod linker;
pub(crate) mod loaded_module;
pub(crate) mod module;
pub(crate) mod nearest;
pub(crate) mod perf;
pub(crate) mod perf_map;
pub(crate) mod pool_capacity;
pub(crate) mod precompiled;
pub(crate) mod store;
pub(crate) mod sys;
pub(crate) mod vm;
