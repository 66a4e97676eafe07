//! Which proposal a refused module would need.
//!
//! A validator says what it does not like, and seldom which proposal would make it right. So the module is
//! validated again with each of the proposals that are refused: one with which it is valid is the one to name, else
//! one with which it fails elsewhere. This happens to refused modules only, in linear time for each proposal.

use wasmparser::{Validator, WasmFeatures};

/// What may be refused, by the name that people know it by.
const PROPOSALS: [(&str, WasmFeatures); 14] = [
    ("memory64", WasmFeatures::MEMORY64),
    ("exceptions", WasmFeatures::EXCEPTIONS),
    ("function references", WasmFeatures::FUNCTION_REFERENCES),
    ("gc", WasmFeatures::GC.union(WasmFeatures::FUNCTION_REFERENCES)),
    ("threads", WasmFeatures::THREADS),
    ("wide arithmetic", WasmFeatures::WIDE_ARITHMETIC),
    ("custom page sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
    ("compact imports", WasmFeatures::COMPACT_IMPORTS),
    ("memory control", WasmFeatures::MEMORY_CONTROL),
    ("legacy exceptions", WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS)),
    ("custom descriptors", WITH_GC.union(WasmFeatures::CUSTOM_DESCRIPTORS)),
    ("shared-everything threads", WITH_GC.union(WasmFeatures::SHARED_EVERYTHING_THREADS)),
    ("stack switching", WITH_GC.union(WasmFeatures::STACK_SWITCHING)),
    ("several proposals at once", WasmFeatures::all()),
];

/// What the latest proposals build on.
const WITH_GC: WasmFeatures = WasmFeatures::EXCEPTIONS
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::THREADS);

/// The name of the proposal without which a module does not validate, where only these are accepted; `None` if it
/// validates, or none would help.
pub fn refused_proposal(wasm: &[u8], accepted: WasmFeatures) -> Option<&'static str> {
    let without = failure(wasm, accepted)?;
    let with = PROPOSALS.map(|(name, features)| (name, failure(wasm, accepted | features)));
    let valid = with.iter().find(|(_, failure)| failure.is_none());
    let named = valid.or_else(|| with.iter().find(|(_, failure)| failure.as_ref() != Some(&without)));
    named.map(|(name, _)| *name)
}

/// Where and why a module fails to validate.
fn failure(wasm: &[u8], features: WasmFeatures) -> Option<(u64, String)> {
    let error = Validator::new_with_features(features).validate_all(wasm).err()?;
    Some((error.offset(), error.message().to_owned()))
}
