//! Whatever valid module goes in, what comes out is valid, verifies, and is the same when it is done again.
//!
//! `instrument/tests/smoke.rs` is the same property on a few hundred fixed modules.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lunatic_instrument::{Options, PrepareError, is_prepared, prepare, verify};
use wasm_smith::Module;

fuzz_target!(|input: (u16, Module)| {
    let (max_charge, module) = input;
    let wasm = module.to_bytes();
    let mut options = Options::default();
    options.max_charge = max_charge.into();
    let prepared = match prepare(&wasm, &options) {
        Ok(prepared) => prepared,
        // The generator has every proposal on.
        Err(PrepareError::Unsupported { .. }) => return,
        Err(error) => panic!("a valid module is refused: {error}"),
    };
    let report = verify(&prepared.bytes).expect("what was prepared verifies");
    assert!(is_prepared(&prepared.bytes));
    assert!(report.bound <= options.max_charge.max(1));
    assert_eq!(prepare(&wasm, &options).expect("as before"), prepared);
});
