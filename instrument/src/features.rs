//! The WebAssembly proposals that a module may use.
//!
//! The rewriter and the verifier rely on this set: both know every way that control takes in it. A proposal that adds
//! control flow (stack switching) must be taught to both before it is added here. What an engine takes is its own
//! matter; one that refuses more finds the names for it with [`crate::refused_proposal`].

use wasmparser::WasmFeatures;

/// WebAssembly 3.0, and of what is shipped beyond: threads' atomics, the exceptions of old, custom page sizes, wide
/// arithmetic, and the overlong table index of `call_indirect` that LLVM writes.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM3
    .union(WasmFeatures::THREADS)
    .union(WasmFeatures::LEGACY_EXCEPTIONS)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES)
    .union(WasmFeatures::WIDE_ARITHMETIC)
    .union(WasmFeatures::BULK_MEMORY_OPT)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG);
