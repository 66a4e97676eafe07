//! Arbitrary bytes are refused or accepted, and never panic or hang.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lunatic_instrument::{Options, inspect, prepare, verify};

fuzz_target!(|bytes: &[u8]| {
    let accepted = verify(bytes);
    let manifest = inspect(bytes);
    if let Ok(report) = &accepted {
        assert_eq!(manifest, Ok(report.manifest));
        let again = prepare(bytes, &Options::default()).expect("what verifies is prepared");
        assert_eq!(again.bytes, bytes);
    }
    // Preparing must survive the same bytes.
    let _ = prepare(bytes, &Options::default());
});
