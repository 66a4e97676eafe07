//! The WebAssembly proposals that a module may use.
//!
//! The rewriter and the verifier rely on this set: both know every kind of control flow in it. A proposal
//! that adds control flow (stack switching) must be implemented in both before it is added here. An engine
//! may support fewer; [`crate::refused_proposal`] finds the names of those that a module would need.

use wasmparser::WasmFeatures;

/// WebAssembly 3.0 and some later proposals: atomics, the older exceptions, custom page sizes, wide
/// arithmetic, and the overlong table index of `call_indirect` that LLVM writes.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM3
    .union(WasmFeatures::THREADS)
    .union(WasmFeatures::LEGACY_EXCEPTIONS)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES)
    .union(WasmFeatures::WIDE_ARITHMETIC)
    .union(WasmFeatures::BULK_MEMORY_OPT)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG);
