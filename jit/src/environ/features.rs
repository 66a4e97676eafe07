//! The WebAssembly proposals that this engine supports.

use wasmparser::WasmFeatures;

/// WebAssembly 2.0 with SIMD, and of later proposals: tail calls, extended constant expressions, relaxed
/// SIMD, several memories, and the overlong table index of `call_indirect` that LLVM writes.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::BULK_MEMORY_OPT)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG);
