//! Compiles modules to native code with Cranelift.
//!
//! * `compile` validates a module and compiles its functions in parallel.
//! * `translate` turns a function body into Cranelift's IR.
//! * `compiled_function` takes a function from Cranelift.
//! * `link` places the functions in an artifact.
//! * `isa` has the settings of code generation.
//!
//! Nothing here is loaded or run.

mod compile;
mod compiled_function;
mod isa;
mod link;
mod translate;

use cranelift_codegen::isa::OwnedTargetIsa;

use crate::environ::artifact::Artifact;
use crate::environ::budget::Budget;
use crate::environ::compiler::Compiler;
use crate::environ::error::CompileError;
use crate::environ::module_info::ModuleInfo;
use crate::environ::options::CompileOptions;
use crate::environ::target::Target;

/// The compiler for the machine that it runs on.
pub(crate) struct NativeCompiler {
    isa: OwnedTargetIsa,
    /// For functions that could take too long otherwise: without optimisation, in a time about linear in
    /// their size.
    baseline_isa: OwnedTargetIsa,
    target: Target,
}

impl NativeCompiler {
    /// Creates the compiler for this machine.
    ///
    /// # Errors
    /// Returns an error if Cranelift does not support the machine.
    pub(crate) fn new(canonical_nans: bool) -> Result<NativeCompiler, String> {
        let isa = isa::native("speed", "backtracking", canonical_nans)?;
        let baseline_isa = isa::native("none", "single_pass", canonical_nans)?;
        let is_on = |flag: &&cranelift_codegen::settings::Value| flag.as_bool() == Some(true);
        let flags = isa.isa_flags();
        let processor_features = flags.iter().filter(is_on).map(|flag| flag.name.to_owned()).collect();
        let target = Target { triple: isa.triple().to_string(), processor_features, canonical_nans };
        Ok(NativeCompiler { isa, baseline_isa, target })
    }
}

impl Compiler for NativeCompiler {
    fn compile(
        &self,
        wasm: &[u8],
        options: CompileOptions,
        budget: &Budget,
        max_frame: u32,
    ) -> Result<(ModuleInfo, Artifact), CompileError> {
        compile::compile(self, wasm, options, budget, max_frame)
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn description(&self) -> String {
        let isa = &self.isa;
        let features: Vec<String> = isa.isa_flags().iter().map(ToString::to_string).collect();
        let version = cranelift_codegen::VERSION;
        format!("{version} {} {} {}\n{}", isa.name(), isa.triple(), features.join(" "), isa.flags())
    }
}
