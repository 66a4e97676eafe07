//! Validates a module while it is rewritten, one step ahead of the rewriter.
//!
//! What the rewriter sees is valid, uses only supported proposals, does not import from the reserved
//! namespace, and is within the limits. Other sizes are limited by the validator. So a failure of the
//! rewriter is a bug of this crate. Validation is not a pass of its own, because reading a module takes
//! longer than anything that is done with it.

use wasmparser::{
    FuncValidator, FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator, ValidatorResources,
    WasmFeatures,
};

use crate::abi::METERING_MODULE;
use crate::error::{Limit, PrepareError};
use crate::proposal::refused_proposal;

/// The largest module that is accepted. Most of such a size is data and debug sections.
pub const MAX_MODULE_BYTES: usize = 256 << 20;

/// Checks what can be checked before a module is read.
pub(crate) fn check_head(wasm: &[u8]) -> Result<(), PrepareError> {
    if wasm.len() > MAX_MODULE_BYTES {
        return Err(PrepareError::Limit { limit: Limit::ModuleBytes, offset: MAX_MODULE_BYTES as u64 });
    }
    if Parser::is_component(wasm) {
        return Err(PrepareError::Component);
    }
    // A file that was cut off within its first bytes is truncated. A file that begins differently is
    // something else.
    if !wasm.starts_with(b"\0asm") {
        return Err(PrepareError::NotWasm);
    }
    Ok(())
}

/// Returns a parser for what the validator accepts.
pub(crate) fn parser(features: WasmFeatures) -> Parser {
    let mut parser = Parser::new(0);
    parser.set_features(features);
    parser
}

/// Why a module is refused while it is read. The second kind has yet to be classified.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The module imports this name from the reserved namespace.
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
    /// Returns the error for the refused module.
    pub(crate) fn into_error(self, wasm: &[u8], features: WasmFeatures) -> PrepareError {
        match self {
            Refusal::Invalid(error) => classify(wasm, error, features),
            // A prepared module that was cut off has lost its mark, which comes last. Then the error is that
            // the module is damaged, not its import.
            Refusal::Reserved { name, offset } => {
                match Validator::new_with_features(features).validate_all(wasm) {
                    Ok(_) => PrepareError::ReservedImport { name, offset },
                    Err(invalid) => classify(wasm, invalid, features),
                }
            }
        }
    }
}

/// Decides whether a module that does not validate is invalid, or needs a proposal.
fn classify(wasm: &[u8], source: wasmparser::Error, features: WasmFeatures) -> PrepareError {
    match refused_proposal(wasm, features) {
        Some(proposal) => PrepareError::Unsupported { proposal, source },
        None => PrepareError::Invalid(source),
    }
}

/// Validates the sections of a module one after the other.
pub(crate) struct Prevalidator {
    validator: Validator,
    allocations: FuncValidatorAllocations,
}

impl Prevalidator {
    pub(crate) fn new(features: WasmFeatures) -> Prevalidator {
        let allocations = FuncValidatorAllocations::default();
        Prevalidator { validator: Validator::new_with_features(features), allocations }
    }

    /// Validates the next part of the module. A function's body is validated by its reader.
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

    /// Takes back the allocations of a validator for the next one.
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
