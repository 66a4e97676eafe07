//! A WebAssembly engine on Cranelift whose running code can be suspended, resumed on another thread, and dropped.

mod engine;
mod error;
mod linker;
mod module;
mod store;
mod value;

pub use engine::{Engine, EngineConfig, EngineError};
pub use error::{
    CompileError, Frame, HostError, InstantiateError, LinkError, MissingImport, Trap, TrapKind,
};
pub use linker::{HostCall, HostFunc, HostResult, IntoHostFunc, Linker, WasmValue};
pub use module::{FuncIndex, Linked, Module};
pub use store::{Caller, Func, Instance, Progress, Resume, Store, StoreLimits};
pub use value::{ExternType, FuncType, GlobalType, Limits, RawValue, TableType, ValType, Value};
