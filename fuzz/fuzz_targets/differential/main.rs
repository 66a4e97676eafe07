//! A generated module behaves as in other engines: instrumented or not, suspended or not, with all options of compilation.
//!
//! `jit/tests/differential.rs` checks the same property on some hundred fixed modules, without the second oracle.
#![no_main]

#[path = "../../../jit/tests/compare/mod.rs"]
mod compare;
mod wasmtime;

use std::sync::LazyLock;

use compare::{Oracle, Taste, interpreter};
use libfuzzer_sys::fuzz_target;
use lunatic_jit::Engine;
use wasmparser::{Operator, Parser, Payload};

static ENGINE: LazyLock<Engine> = LazyLock::new(compare::engine);

fuzz_target!(|input: (u8, u64, &[u8])| {
    let (kind, seed, bytes) = input;
    let taste = Taste { tame: kind & 3 != 0, relaxed: kind & 12 == 0 };
    let Ok(wasm) = compare::generate(&mut arbitrary::Unstructured::new(bytes), taste) else { return };
    if taste.relaxed && has_fused(&wasm) {
        return;
    }
    let both: &[Oracle] = &[interpreter::runs, wasmtime::runs];
    let oracles = if taste.tame || taste.relaxed { &both[1..] } else { both };
    compare::compare(&ENGINE, &wasm, seed, oracles);
});

/// Whether a module uses operators that round once in the other engine and twice here.
fn has_fused(wasm: &[u8]) -> bool {
    let is_fused = |operator| {
        matches!(
            operator,
            Operator::F32x4RelaxedMadd
                | Operator::F32x4RelaxedNmadd
                | Operator::F64x2RelaxedMadd
                | Operator::F64x2RelaxedNmadd
        )
    };
    Parser::new(0).parse_all(wasm).any(|payload| match payload.expect("it is valid") {
        Payload::CodeSectionEntry(body) => {
            let mut operators = body.get_operators_reader().expect("it is valid").into_iter();
            operators.any(|operator| is_fused(operator.expect("it is valid")))
        }
        _ => false,
    })
}
