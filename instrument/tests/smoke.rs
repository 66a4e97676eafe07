//! The property of the fuzz target `instrument`, on a few hundred modules that are the same every time: whatever
//! valid module goes in, what comes out is valid, verifies, and is the same when it is done again.

mod support;

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

use lunatic_instrument::{Options, is_prepared, prepare, verify};

const MODULES: u64 = 300;

/// All proposals of [`lunatic_instrument::FEATURES`] that the generator knows.
fn config() -> Config {
    Config {
        compact_imports_enabled: false,
        custom_page_sizes_enabled: true,
        exceptions_enabled: true,
        gc_enabled: true,
        memory64_enabled: true,
        threads_enabled: true,
        wide_arithmetic_enabled: true,
        generate_custom_sections: true,
        min_funcs: 5,
        max_memories: 3,
        max_tables: 3,
        ..Config::default()
    }
}

#[test]
fn any_module_can_be_prepared() {
    let mut with_code = 0;
    for seed in 0..MODULES {
        let bytes = support::noise(seed, 8192);
        let module =
            Module::new(config(), &mut Unstructured::new(&bytes)).expect("enough bytes for a module");
        let wasm = module.to_bytes();
        let prepared = match prepare(&wasm, &Options::default()) {
            Ok(prepared) => prepared,
            Err(error) => panic!("module {seed}: {error}"),
        };
        let report = verify(&prepared.bytes).unwrap_or_else(|error| panic!("module {seed}: {error}"));
        assert!(is_prepared(&prepared.bytes));
        assert!(report.charges >= report.functions + report.loops, "module {seed}");
        assert_eq!(prepare(&wasm, &Options::default()).expect("as before"), prepared, "module {seed}");
        with_code += usize::from(report.loops > 0);
    }
    assert!(with_code > MODULES as usize / 4, "the generator still makes modules with loops: {with_code}");
}
