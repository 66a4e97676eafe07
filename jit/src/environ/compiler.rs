//! The interface between an engine and its compiler.
//!
//! The runtime holds a compiler by this trait, and the compiler knows nothing of the runtime. A build without a compiler
//! has no implementation of the trait.

use super::artifact::Artifact;
use super::budget::Budget;
use super::error::CompileError;
use super::module_info::ModuleInfo;
use super::options::CompileOptions;
use super::target::Target;

/// Compiles modules for one target.
pub(crate) trait Compiler: Send + Sync {
    /// Validates and compiles a module, within a budget. A function whose frame is larger than `max_frame` bytes is an
    /// error.
    fn compile(
        &self,
        wasm: &[u8],
        options: CompileOptions,
        budget: &Budget,
        max_frame: u32,
    ) -> Result<(ModuleInfo, Artifact), CompileError>;

    /// Returns the machine that code is compiled for.
    fn target(&self) -> &Target;

    /// Returns the compiler, its version and all of its settings. Two compilers with the same description
    /// compile a module to the same code.
    fn description(&self) -> String;
}
