//! Helpers of the unit tests.

use wasmparser::{Operator, Parser, Payload};

use crate::{Options, Prepared, VerifyErrorKind, prepare, verify};

/// Prepares a module given as text, without unrolling loops.
pub(crate) fn prepared(wat: &str, max_charge: u32) -> Prepared {
    let wasm = wat::parse_str(wat).expect("the test's module is well-formed");
    prepare(&wasm, &Options { max_charge, unroll: false, ..Options::default() })
        .expect("the test's module can be prepared")
}

/// Returns the constants of a module's charges, in the order of the code.
pub(crate) fn charges(wat: &str) -> Vec<u32> {
    charges_split_at(wat, crate::abi::MAX_CHARGE)
}

/// As [`charges`], with another largest charge.
pub(crate) fn charges_split_at(wat: &str, max_charge: u32) -> Vec<u32> {
    let prepared = prepared(wat, max_charge);
    let mut constants = Vec::new();
    for payload in Parser::new(0).parse_all(&prepared.bytes) {
        let Payload::CodeSectionEntry(body) = payload.expect("the output is well-formed") else { continue };
        let reader = body.get_operators_reader().expect("the output is well-formed");
        let operators = reader.into_iter().collect::<Result<Vec<_>, _>>().expect("the output is well-formed");
        constants.extend(operators.windows(2).filter_map(|pair| match pair {
            // The import is the last one: the modules of these tests have no other.
            [Operator::I32Const { value }, Operator::Call { function_index: 0 }] => {
                u32::try_from(*value).ok()
            }
            _ => None,
        }));
    }
    constants
}

/// Returns the reason why a module given as text is not accepted as prepared.
pub(crate) fn refusal(wat: &str) -> VerifyErrorKind {
    let wasm = wat::parse_str(wat).expect("the test's module is well-formed");
    verify(&wasm).expect_err("the module is not acceptable").kind
}
