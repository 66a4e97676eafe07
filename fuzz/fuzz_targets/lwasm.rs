//! A prepared module that was edited, and whose mark is arbitrary, is refused or keeps what it says.
//!
//! `instrument/tests/smoke.rs` is the same property on a few hundred fixed inputs.
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
