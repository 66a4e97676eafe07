//! Engines: compile programs and link them with host functions.

use std::sync::{Arc, OnceLock};

use lunatic_core::code::{Code, Memories};
use lunatic_core::process::EntryPoint;
use lunatic_host::Host;
use lunatic_jit::Cache;

use crate::config::RuntimeConfig;
use crate::error::{LoadError, RuntimeError};
use crate::program::{Loader, Program};

/// The module of ports, which run no code. A process always has a module; this one exports an empty function.
const PORT: &[u8] =
    b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x08\x01\x04port\0\0\x0a\x04\x01\x02\0\x0b";

/// Compiles programs and links them with host functions. Cheap to clone. Nodes that share an engine can share
/// programs.
#[derive(Clone)]
pub struct Engine {
    pub(super) loader: Arc<Loader>,
    port: Arc<OnceLock<(Code, EntryPoint)>>,
}

/// Builder of an [`Engine`], created by [`Engine::builder`].
#[must_use]
pub struct EngineBuilder {
    config: RuntimeConfig,
    host: Host,
}

impl Engine {
    /// Returns a builder of an engine with the functions of the Lunatic ABI and of WASI preview 1.
    pub fn builder() -> EngineBuilder {
        let config = RuntimeConfig::default().stack_size(lunatic_core::config::USUAL_STACK);
        EngineBuilder { config, host: Host::new() }
    }

    /// Prepares, verifies, compiles and links a program. The program needs no `_start`: every exported function can
    /// be called or spawned.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self, wasm: &[u8]) -> Result<Program, LoadError> {
        self.loader.load_library(wasm)
    }

    /// Returns the code of ports.
    pub(super) fn port(&self) -> (Code, EntryPoint) {
        let make = || {
            let program = self.load(PORT).expect("the module of ports is valid");
            let function = program.code.module().exported_function("port").expect("it exports this function");
            (program.code, EntryPoint { function, args: Box::default() })
        };
        self.port.get_or_init(make).clone()
    }
}

impl EngineBuilder {
    /// Declares host functions in addition to those of the Lunatic ABI and of WASI. See [`host`](super::host).
    pub fn host(mut self, declare: impl FnOnce(&mut Host)) -> EngineBuilder {
        declare(&mut self.host);
        self
    }

    /// Sets a cache for native code. Default: none, and programs are compiled each time they are loaded.
    pub fn cache(mut self, cache: Arc<Cache>) -> EngineBuilder {
        self.config = self.config.cache(Some(cache));
        self
    }

    /// Confines speculative execution to the memory as well, for guests that may be hostile. Costs up to half of the
    /// run time of code in which every other instruction accesses memory.
    pub fn untrusted(mut self, untrusted: bool) -> EngineBuilder {
        self.config = self.config.untrusted(untrusted);
        self
    }

    /// Sets how linear memories are allocated. The default, pools, is best for many processes; [`Memories::Reserved`]
    /// is for few, large ones.
    pub fn memories(mut self, memories: Memories) -> EngineBuilder {
        self.config = self.config.memories(memories);
        self
    }

    /// Sets the maximum size of a process's native stack, in bytes. Default: 256 KiB.
    pub fn max_stack(mut self, bytes: usize) -> EngineBuilder {
        self.config = self.config.stack_size(bytes);
        self
    }

    /// Builds the engine.
    ///
    /// # Errors
    /// Fails if this machine is not supported or the operating system refuses memory.
    pub fn build(self) -> Result<Engine, RuntimeError> {
        let loader = Loader::with_host(&self.config, false, self.host)?;
        Ok(Engine { loader: Arc::new(loader), port: Arc::default() })
    }
}
