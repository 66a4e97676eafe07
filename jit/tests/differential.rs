//! About a hundred generated modules behave as in an interpreter, whether they are prepared or not. The fuzz
//! target `differential` tries more.

mod compare;

use wasmparser::{Parser, Payload};

use compare::{Oracle, Random, Taste, compare, engine, generate, interpreter};

const MODULES: u64 = 250;

/// Bytes of entropy for a module. Beyond them, the generator uses its defaults.
const ENTROPY: usize = 16 << 10;

#[test]
fn generated_modules_behave_as_in_an_interpreter() {
    let engine = engine();
    let (mut compared, mut used) = (0, Used::default());
    for seed in 0..MODULES {
        let mut random = Random(seed);
        let bytes: Vec<u8> = (0..ENTROPY / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        let taste = Taste { tame: seed % 2 == 0, relaxed: false };
        let Ok(wasm) = generate(&mut arbitrary::Unstructured::new(&bytes), taste) else { continue };
        // Shown only on failure.
        println!("seed {seed}, {} bytes", wasm.len());
        // Without an oracle, the original and the prepared module are compared.
        let oracles: &[Oracle] = if taste.tame { &[] } else { &[interpreter::runs] };
        compared += compare(&engine, &wasm, seed, oracles);
        used.count(&wasm);
    }
    assert!(compared > 8 * MODULES as usize, "the modules do too little: {compared} events");
    println!("{used:?}");
    let Used { modules, vectors, tail_calls, memories } = used;
    assert!(modules.min(vectors).min(tail_calls).min(memories) >= 50, "the modules use too little: {used:?}");
}

/// The number of modules that use each feature. Without it, a setting of the generator that has no effect
/// would go unnoticed.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    modules: usize,
    vectors: usize,
    tail_calls: usize,
    memories: usize,
}

impl Used {
    fn count(&mut self, wasm: &[u8]) {
        let (mut vectors, mut tail_calls, mut memories) = (false, false, 0);
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.expect("it is valid") {
                Payload::MemorySection(section) => memories = section.count(),
                Payload::CodeSectionEntry(body) => {
                    for operator in body.get_operators_reader().expect("it is valid") {
                        let operator = format!("{:?}", operator.expect("it is valid"));
                        tail_calls |= operator.starts_with("ReturnCall");
                        vectors |= ["V128", "I8x16", "I16x8", "I32x4", "I64x2", "F32x4", "F64x2"]
                            .iter()
                            .any(|lanes| operator.starts_with(lanes));
                    }
                }
                _ => {}
            }
        }
        self.modules += 1;
        self.vectors += usize::from(vectors);
        self.tail_calls += usize::from(tail_calls);
        self.memories += usize::from(memories > 1);
    }
}
