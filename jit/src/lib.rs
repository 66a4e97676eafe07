//! A WebAssembly engine on Cranelift whose running code can be suspended, resumed on another thread, and dropped.
//!
//! ```
//! use lunatic_jit::{Engine, EngineConfig, Linker, Module, Store, StoreLimits, Value};
//!
//! let wasm = wat::parse_str(r#"(module (func (export "add") (param i32 i32) (result i32)
//!     (i32.add (local.get 0) (local.get 1))))"#)?;
//! let engine = Engine::new(EngineConfig::default())?;
//! let module = Module::compile(&engine, &wasm)?;
//! let linked = Linker::<()>::new().link(&module)?;
//!
//! let mut store = Store::new(&engine, (), StoreLimits::default());
//! let instance = store.instantiate(&linked)?;
//! let add = module.exported_function("add").expect("it is exported");
//! assert_eq!(store.call(instance, add, &[Value::I32(1), Value::I32(2)])?, [Value::I32(3)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layers
//!
//! ```text
//! environ  ◀── compiler, runtime  ◀── api, cache
//! ```
//!
//! * `environ` is what a module declares and what its compiled code looks like.
//! * `compiler` turns the bytes of a module into an artifact. It is the only part that depends on Cranelift.
//! * `runtime` loads an artifact into executable memory, links its imports, creates instances, and runs one call at a
//!   time in a [`Store`], on a stack of its own.
//! * `api` and `cache` join the two.
//!
//! The compiler and the runtime do not name each other (`tests/layering.rs`). The crate knows no process and no scheduler:
//! a scheduler is what calls [`Store::resume`].
//!
//! # Features
//!
//! * `compiler` (on by default): compiles modules, and keeps them in a [`Cache`]. Without it, an engine runs the modules
//!   that another program has compiled with [`Engine::precompile`]: see [`Module::from_precompiled`].

mod api;
#[cfg(feature = "compiler")]
#[forbid(unsafe_code)]
mod cache;
#[cfg(feature = "compiler")]
#[forbid(unsafe_code)]
mod compiler;
#[cfg_attr(not(feature = "compiler"), allow(dead_code, reason = "what only a compiler uses"))]
#[forbid(unsafe_code)]
mod environ;
mod runtime;
#[cfg(test)]
mod speculation;

#[cfg(feature = "compiler")]
pub use cache::{Cache, CacheError, CacheKey};
pub use environ::budget::{Budget, Cancellation, Deadline};
pub use environ::declarations::declared_imports;
pub use environ::error::CompileError;
pub use environ::features::FEATURES;
pub use environ::options::{CompileOptions, MemoryLayout};
pub use environ::outline::Outline;
pub use environ::value::{
    ExternType, Func, FuncType, GlobalType, Limits, RawValue, TableType, ValType, Value,
};
pub use runtime::debug::Source;
pub use runtime::engine::{Engine, EngineConfig, EngineError};
pub use runtime::error::{Frame, HostError, InstantiateError, LinkError, MissingImport, Trap, TrapKind};
pub use runtime::linker::Linker;
pub use runtime::loaded_module::{FuncIndex, ModuleId};
pub use runtime::module::Module;
pub use runtime::nearest::nearest;
pub use runtime::precompiled::PrecompiledError;
pub use runtime::store::{
    Caller, CannotWait, Check, Export, HostCall, HostFunc, HostPanic, HostResult, Instance, IntoHostFunc,
    Linked, Progress, Refusal, Resume, Store, StoreLimits, Unchecked, WasmValue,
};
pub use runtime::sys::page_faults;
pub use runtime::vm::memory_budget::TotalMemory;
/// Hints for the processor, for the executor. Not part of the stable interface.
#[doc(hidden)]
pub use runtime::{perf::prefetch::prefetch, perf::working_set::WorkingSet};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
