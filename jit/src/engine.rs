//! The engine: what all modules of a runtime share.

use std::sync::Arc;

/// How code is generated and run; fixed for an [`Engine`].
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Bytes of native stack of an activation, a multiple of the page size. Default: 256 KiB.
    pub stack_size: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig { stack_size: 256 << 10 }
    }
}

/// A compiler for this machine, and the pools that instances draw on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) inner: Arc<EngineInner>,
}

#[derive(Debug)]
pub(crate) struct EngineInner {
    pub(crate) config: EngineConfig,
}

/// Why an engine cannot run on this machine.
#[derive(Debug, thiserror::Error)]
#[error("this machine is not supported: {0}")]
pub struct EngineError(pub String);

impl Engine {
    /// An engine for the machine it runs on.
    ///
    /// # Errors
    /// When Cranelift has no back end for it, or its signal handlers cannot be installed.
    pub fn new(config: EngineConfig) -> Result<Engine, EngineError> {
        Ok(Engine { inner: Arc::new(EngineInner { config }) })
    }
}
