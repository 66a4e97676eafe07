//! The settings of code generation.

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};

/// Returns the code generator for this machine, with the settings that the runtime relies on.
pub(super) fn native(
    optimisation: &str,
    register_allocator: &str,
    canonical_nans: bool,
) -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    let mut set = |name: &str, value: &str| flags.set(name, value).map_err(|error| error.to_string());
    set("opt_level", optimisation)?;
    set("regalloc_algorithm", register_allocator)?;
    // Backtraces follow frame pointers.
    set("preserve_frame_pointers", "true")?;
    // Prologues compare the stack pointer with the activation's limit instead.
    set("enable_probestack", "false")?;
    set("unwind_info", "false")?;
    // Results that do not fit registers are returned in an area of the caller's frame.
    set("enable_multi_ret_implicit_sret", "true")?;
    set("enable_nan_canonicalization", if canonical_nans { "true" } else { "false" })?;
    set("is_pic", "false")?;
    set("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" })?;
    let mut builder = cranelift_native::builder()?;
    if cfg!(target_arch = "aarch64") {
        // On this architecture, a masked address needs a barrier, so that the mask itself is not predicted.
        cranelift_codegen::settings::Configurable::enable(&mut builder, "use_csdb")
            .map_err(|error| error.to_string())?;
    }
    builder.finish(settings::Flags::new(flags)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn spectre_mitigations_of_table_accesses_are_on() {
        let isa = super::native("speed", "backtracking", false).expect("this machine is supported");
        assert!(isa.flags().enable_table_access_spectre_mitigation());
    }
}
