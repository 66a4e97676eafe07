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
//! The way of a module through the crate: `compile` parses it into a `shape` and translates each function body
//! (`translate`), `code` places the result in executable memory; `linker` finds its imports; `instantiate` makes
//! instances; a [`Store`] runs one call at a time on a stack of its own (`vm`). The crate knows no process and no
//! scheduler: whoever calls [`Store::resume`] is one.

mod budget;
mod cache;
mod code;
mod compile;
mod const_expr;
mod debug;
mod declarations;
mod engine;
mod entries;
mod error;
mod features;
mod instantiate;
mod linker;
mod module;
mod names;
mod nearest;
mod options;
mod outline;
mod perf_map;
mod shape;
mod store;
mod sys;
mod translate;
mod types;
mod value;
mod vm;

pub use budget::{Budget, Cancellation, Deadline};
pub use cache::{Cache, CacheError, CacheKey};
pub use debug::Source;
pub use declarations::declared_imports;
pub use engine::{Engine, EngineConfig, EngineError};
pub use error::{CompileError, Frame, HostError, InstantiateError, LinkError, MissingImport, Trap, TrapKind};
pub use features::FEATURES;
pub use linker::{
    Check, HostCall, HostFunc, HostResult, IntoHostFunc, Linker, Refusal, Unchecked, WasmValue,
};
pub use module::{FuncIndex, Linked, Module, ModuleId};
pub use nearest::nearest;
pub use options::{CompileOptions, MemoryLayout};
pub use outline::Outline;
pub use store::{
    Caller, CannotWait, Export, Func, HostPanic, Instance, Progress, Resume, Store, StoreLimits, WorkingSet,
};
pub use sys::{page_faults, prefetch};
pub use value::{ExternType, FuncType, GlobalType, Limits, RawValue, TableType, ValType, Value};
pub use vm::account::TotalMemory;
