//! Small modules and their prepared forms, for reading: `golden/NAME.wat` and `golden/NAME.prepared.wat`.
//!
//! After a change that is meant to change them, `BLESS=1 cargo test -p lunatic-instrument --test golden`
//! writes them anew. The difference is then part of the review.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

/// The largest charge in these examples: small, so that an example can show what happens above it.
const MAX_CHARGE: u32 = 12;

/// The same for the examples of unrolled loops, whose charges cover all copies.
const MAX_CHARGE_UNROLLED: u32 = 1000;

fn inputs() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(directory).expect("the directory is part of the crate");
    let paths = entries.map(|entry| entry.expect("the directory can be read").path());
    let mut inputs: Vec<_> =
        paths.filter(|path| !path.to_string_lossy().ends_with(".prepared.wat")).collect();
    inputs.sort();
    inputs
}

#[test]
fn the_examples_match_their_golden_files() {
    let bless = std::env::var_os("BLESS").is_some();
    let inputs = inputs();
    assert!(!inputs.is_empty());
    for input in inputs {
        let wasm = wat::parse_file(&input).expect("the example is well-formed");
        // Unrolled loops are hard to read, so only the examples of unrolling have them.
        let name = input.file_stem().unwrap_or_default().to_string_lossy();
        let (max_charge, unroll) =
            if name.starts_with("unrolled") { (MAX_CHARGE_UNROLLED, true) } else { (MAX_CHARGE, false) };
        let prepared = support::prepared_with(&wasm, max_charge, unroll);
        let text = wasmprinter::print_bytes(&prepared).expect("the output is well-formed");
        let golden = input.with_extension("prepared.wat");
        if bless {
            fs::write(&golden, &text).expect("the example can be written");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(text == expected, "{} is now:\n{text}\n(BLESS=1 to accept it)", golden.display());
    }
}
