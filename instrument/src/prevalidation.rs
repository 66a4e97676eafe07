//! The look at a module while it is rewritten, a step ahead of the rewriter.
//!
//! What the rewriter sees has been validated, uses only what is accepted, does not touch the reserved namespace, and is not
//! larger than we want to take. Everything else that could be too much is limited by the validator. So a failure of the
//! rewriter is a fault of ours. Reading a module takes longer than anything that is done with it; that is why this is no
//! pass of its own.

use wasmparser::{
    FuncValidator, FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator, ValidatorResources,
    WasmFeatures,
};

use crate::abi::METERING_MODULE;
use crate::error::{Limit, PrepareError};
use crate::proposal::refused_proposal;

/// The largest module that is taken. Data and debug sections are most of what is ever this large.
pub const MAX_MODULE_BYTES: usize = 256 << 20;

/// Checks what there is to check before a module is read.
pub(crate) fn check_head(wasm: &[u8]) -> Result<(), PrepareError> {
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
    Ok(())
}

/// A parser that reads what the validator takes.
pub(crate) fn parser(features: WasmFeatures) -> Parser {
    let mut parser = Parser::new(0);
    parser.set_features(features);
    parser
}

/// Why a module is refused on the way. The second kind still has to be classified.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It imports this from the reserved namespace.
    Reserved {
        name: String,
        offset: u64,
    },
    Invalid(wasmparser::Error),
}

impl From<wasmparser::Error> for Refusal {
    fn from(error: wasmparser::Error) -> Self {
        Refusal::Invalid(error)
    }
}

impl Refusal {
    /// The error that says so, of the module that was refused.
    pub(crate) fn into_error(self, wasm: &[u8], features: WasmFeatures) -> PrepareError {
        match self {
            Refusal::Invalid(error) => classify(wasm, error, features),
            // A prepared module that was cut off has lost its mark, which comes last. That it is damaged is the news
            // then, not what it imports.
            Refusal::Reserved { name, offset } => {
                match Validator::new_with_features(features).validate_all(wasm) {
                    Ok(_) => PrepareError::ReservedImport { name, offset },
                    Err(invalid) => classify(wasm, invalid, features),
                }
            }
        }
    }
}

/// Whether a module that does not validate is wrong, or needs a proposal.
fn classify(wasm: &[u8], source: wasmparser::Error, features: WasmFeatures) -> PrepareError {
    match refused_proposal(wasm, features) {
        Some(proposal) => PrepareError::Unsupported { proposal, source },
        None => PrepareError::Invalid(source),
    }
}

/// Validates a module's sections one after the other.
pub(crate) struct Prevalidator {
    validator: Validator,
    allocations: FuncValidatorAllocations,
}

impl Prevalidator {
    pub(crate) fn new(features: WasmFeatures) -> Prevalidator {
        let allocations = FuncValidatorAllocations::default();
        Prevalidator { validator: Validator::new_with_features(features), allocations }
    }

    /// Takes the next part of the module. A function's body is still to be validated, by whoever reads it.
    pub(crate) fn payload(
        &mut self,
        payload: &Payload<'_>,
    ) -> Result<Option<FuncValidator<ValidatorResources>>, Refusal> {
        match self.validator.payload(payload)? {
            ValidPayload::Func(function, _) => {
                Ok(Some(function.into_validator(std::mem::take(&mut self.allocations))))
            }
            _ => {
                if let Payload::ImportSection(imports) = payload {
                    refuse_reserved(imports.clone())?;
                }
                Ok(None)
            }
        }
    }

    /// Takes the memory of a validator back, for the next.
    pub(crate) fn recycle(&mut self, validator: FuncValidator<ValidatorResources>) {
        self.allocations = validator.into_allocations();
    }
}

fn refuse_reserved(imports: wasmparser::ImportSectionReader<'_>) -> Result<(), Refusal> {
    for import in imports.into_imports_with_offsets() {
        let (offset, import) = import?;
        if import.module == METERING_MODULE {
            return Err(Refusal::Reserved { name: import.name.to_owned(), offset });
        }
    }
    Ok(())
}
