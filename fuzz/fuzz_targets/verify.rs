//! The verifier refuses or accepts arbitrary bytes, and never panics or hangs.
//!
//! `instrument/tests/smoke.rs` checks the same property on a few hundred fixed inputs.
#![no_main]

#[path = "../../instrument/tests/support/property.rs"]
mod property;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| property::reading(bytes));
