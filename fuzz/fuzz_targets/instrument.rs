//! Whatever valid module goes in, what comes out is valid, verifies, and is the same when it is done again.
//!
//! `instrument/tests/smoke.rs` is the same property on a few hundred fixed inputs.
#![no_main]

#[path = "../../instrument/tests/support/property.rs"]
mod property;

use arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match property::preparing(&mut Unstructured::new(bytes)) {
        Ok(_) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});
