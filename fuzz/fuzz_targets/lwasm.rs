//! An edited prepared module with an arbitrary marker is refused, or behaves as the verifier claims.
//!
//! `instrument/tests/smoke.rs` checks the same property on a few hundred fixed inputs.
#![no_main]

#[path = "../../instrument/tests/support/property.rs"]
mod property;

use arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match property::editing(&mut Unstructured::new(bytes)) {
        Ok(_) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});
