//! The parts of the public API that need both the compiler and the runtime.

#[cfg(feature = "compiler")]
use std::sync::Arc;

#[cfg(feature = "compiler")]
use crate::compiler::NativeCompiler;
#[cfg(feature = "compiler")]
use crate::environ::{budget::Budget, error::CompileError, options::CompileOptions};
use crate::runtime::engine::{Engine, EngineConfig, EngineError};
use crate::runtime::sys::fault;
use crate::runtime::vm::trap;
#[cfg(feature = "compiler")]
use crate::runtime::{
    code::UnloadedCode, debug, debug::DebugInfo, loaded_module::LoadedModule, module::Module,
};

impl Engine {
    /// Creates an engine for this machine.
    ///
    /// # Errors
    /// Returns an error if Cranelift does not support the machine. Without the crate's feature `compiler`,
    /// there is no error.
    pub fn new(config: EngineConfig) -> Result<Engine, EngineError> {
        // Here, so that the engine does not name what decides about faults, which knows engines.
        fault::install(trap::handle);
        #[cfg(feature = "compiler")]
        {
            let compiler = NativeCompiler::new(config.canonical_nans).map_err(EngineError)?;
            Ok(Engine::with_compiler(config, Box::new(compiler)))
        }
        #[cfg(not(feature = "compiler"))]
        Ok(Engine::with_compiler(config))
    }
}

#[cfg(feature = "compiler")]
impl Module {
    /// Validates and compiles a module with the default options.
    ///
    /// # Errors
    /// See [`CompileError`]. Offsets are into `wasm`.
    pub fn compile(engine: &Engine, wasm: &[u8]) -> Result<Module, CompileError> {
        Module::compile_with(engine, wasm, CompileOptions::default())
    }

    /// Compiles a module as [`Module::compile`] does, with other options.
    ///
    /// # Errors
    /// As [`Module::compile`].
    pub fn compile_with(
        engine: &Engine,
        wasm: &[u8],
        options: CompileOptions,
    ) -> Result<Module, CompileError> {
        Module::compile_within(engine, wasm, options, &Budget::default())
    }

    /// Compiles a module as [`Module::compile_with`] does, within a budget.
    ///
    /// # Errors
    /// As [`Module::compile`], including [`CompileError::OverBudget`] and [`CompileError::Cancelled`].
    pub fn compile_within(
        engine: &Engine,
        wasm: &[u8],
        options: CompileOptions,
        budget: &Budget,
    ) -> Result<Module, CompileError> {
        let (info, artifact) = engine.compiler().compile(wasm, options, budget, engine.max_frame())?;
        let code = UnloadedCode::of(artifact).map_err(|error| CompileError::Codegen(error.to_string()))?;
        let debug = DebugInfo::in_memory(debug::extract(wasm));
        let inner = LoadedModule::load(engine, info, code, options, debug)?;
        Ok(Module { inner: Arc::new(inner) })
    }
}
