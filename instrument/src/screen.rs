//! The look at a module before it is rewritten.
//!
//! The whole module validates, uses only [`FEATURES`], does not touch the reserved namespace, and is not larger than we
//! want to take. Everything else that could be too much is limited by the validator. After that a failure of the
//! rewriter is a fault of ours.

use wasmparser::{FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator};

use crate::abi::METERING_MODULE;
use crate::error::{Limit, PrepareError};
use crate::features::FEATURES;
use crate::proposal::refused_proposal;

/// The largest module that is taken. Data and debug sections are most of what is ever this large.
pub const MAX_MODULE_BYTES: usize = 256 << 20;

/// Checks that a module can be given to the rewriter. `progress` is told how many bytes are behind it.
pub(crate) fn screen(wasm: &[u8], progress: &mut dyn FnMut(usize)) -> Result<(), PrepareError> {
    if wasm.len() > MAX_MODULE_BYTES {
        return Err(PrepareError::Limit { limit: Limit::ModuleBytes, offset: MAX_MODULE_BYTES as u64 });
    }
    if Parser::is_component(wasm) {
        return Err(PrepareError::Component);
    }
    // A file cut off within its first bytes is truncated; one that begins otherwise is something else.
    if !wasm.starts_with(b"\0asm") {
        return Err(PrepareError::NotWasm);
    }
    check(wasm, progress).map_err(|failure| match failure {
        // A prepared module that was cut off has lost its mark, which comes last. That it is damaged is the news then,
        // not what it imports.
        Failure::Refused(error @ PrepareError::ReservedImport { .. }) => {
            let validated = Validator::new_with_features(FEATURES).validate_all(wasm);
            validated.map_or_else(|invalid| classify(wasm, invalid), |_| error)
        }
        Failure::Refused(error) => error,
        Failure::Invalid(error) => classify(wasm, error),
    })
}

/// Whether a module that does not validate is wrong, or needs a proposal.
fn classify(wasm: &[u8], source: wasmparser::Error) -> PrepareError {
    match refused_proposal(wasm, FEATURES) {
        Some(proposal) => PrepareError::Unsupported { proposal, source },
        None => PrepareError::Invalid(source),
    }
}

/// Why the pass ended early; the second kind still has to be classified.
enum Failure {
    Refused(PrepareError),
    Invalid(wasmparser::Error),
}

impl From<wasmparser::Error> for Failure {
    fn from(error: wasmparser::Error) -> Self {
        Failure::Invalid(error)
    }
}

fn check(wasm: &[u8], progress: &mut dyn FnMut(usize)) -> Result<(), Failure> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            let mut validator = function.into_validator(allocations);
            validator.validate(&body)?;
            allocations = validator.into_allocations();
            progress(body.range().end as usize);
        }
        if let Payload::ImportSection(imports) = payload {
            refuse_reserved(imports)?;
        }
    }
    Ok(())
}

fn refuse_reserved(imports: wasmparser::ImportSectionReader<'_>) -> Result<(), Failure> {
    for import in imports.into_imports_with_offsets() {
        let (offset, import) = import?;
        if import.module == METERING_MODULE {
            let name = import.name.to_owned();
            return Err(Failure::Refused(PrepareError::ReservedImport { name, offset }));
        }
    }
    Ok(())
}
