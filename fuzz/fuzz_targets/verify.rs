//! Arbitrary bytes are refused or accepted, and never panic or hang.
//!
//! `instrument/tests/smoke.rs` is the same property on a few hundred fixed inputs.
#![no_main]

#[path = "../../instrument/tests/support/property.rs"]
mod property;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| property::reading(bytes));
