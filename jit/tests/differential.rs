//! Some hundreds of generated modules behave here as they do in an interpreter, instrumented or not. The fuzz
//! target `differential` looks for more.

mod compare;

use compare::{Random, compare, engine, generate};

const MODULES: u64 = 500;

/// Bytes of entropy for a module; what lies beyond them the generator fills with its defaults.
const ENTROPY: usize = 16 << 10;

#[test]
fn generated_modules_behave_as_in_an_interpreter() {
    let engine = engine();
    let mut compared = 0;
    for seed in 0..MODULES {
        let mut random = Random(seed);
        let bytes: Vec<u8> = (0..ENTROPY / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        let Ok(wasm) = generate(&mut arbitrary::Unstructured::new(&bytes)) else { continue };
        // Shown only if it fails.
        println!("seed {seed}, {} bytes", wasm.len());
        compared += compare(&engine, &wasm, seed);
    }
    assert!(compared > 8 * MODULES as usize, "the modules do too little: {compared} events");
}
