//! A generated module behaves as in an interpreter, instrumented or not.
//!
//! `jit/tests/differential.rs` is the same property on some hundreds of fixed modules.
#![no_main]

#[path = "../../jit/tests/compare/mod.rs"]
mod compare;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lunatic_jit::Engine;

static ENGINE: LazyLock<Engine> = LazyLock::new(compare::engine);

fuzz_target!(|input: (u64, &[u8])| {
    let (seed, bytes) = input;
    if let Ok(wasm) = compare::generate(&mut arbitrary::Unstructured::new(bytes)) {
        compare::compare(&ENGINE, &wasm, seed);
    }
});
