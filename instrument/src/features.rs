//! The WebAssembly proposals that a module may use.
//!
//! Three rely on this set. The rewriter hands the module to walrus, which panics on operators it does not know; both
//! the rewriter's and the verifier's path analysis know the branches of these proposals only; and the engine takes
//! what they take, so that a prepared module is one that it can run. A proposal that adds control flow (exceptions,
//! stack switching) or a new kind of reference branch must be taught to all before it is added here.

use wasmparser::WasmFeatures;

/// WebAssembly 2.0 (with SIMD), and of what came later: tail calls, extended constant expressions, relaxed SIMD,
/// several memories, and the overlong table index of `call_indirect` that LLVM writes.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::BULK_MEMORY_OPT)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG);
