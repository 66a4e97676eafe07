//! The look at a module before walrus gets it.
//!
//! walrus panics on operators it does not know, keeps every instruction and local in memory, and searches some
//! lists from end to end. So that no input brings down its host or occupies it for minutes, everything is checked
//! here first, in one pass of wasmparser: the whole module validates, uses only [`FEATURES`], does not touch the
//! reserved namespace, and stays within the limits below. After that a failure of walrus is a fault of ours.

use wasmparser::{
    FuncToValidate, FuncValidatorAllocations, FunctionBody, Operator, Parser, Payload, ValidPayload,
    Validator, ValidatorResources,
};

use crate::abi::METERING_MODULE;
use crate::error::{Limit, PrepareError};
use crate::features::FEATURES;
use crate::proposal::refused_proposal;

/// The largest module that is taken. Data and debug sections are most of what is ever this large.
pub const MAX_MODULE_BYTES: usize = 256 << 20;

/// The largest code section that is taken. walrus keeps some seventy times its size in memory.
pub const MAX_CODE_BYTES: u32 = 32 << 20;

/// How deep blocks may be nested. Compilers nest one block per case of a `switch`, which makes thousands, not more.
pub const MAX_NESTING: u32 = 10_000;

/// How many locals all functions may declare together: five bytes declare 50,000, and each takes memory here.
pub const MAX_LOCALS: u64 = 8_000_000;

/// How many steps of linear search a module may cause in walrus, which looks for a branch's label from the
/// innermost block outwards, and for a block's or function's type from the first to the last. Large programs
/// need some ten millions.
pub const MAX_SEARCH_STEPS: u64 = 1 << 31;

/// Checks that a module can be given to the rewriter.
pub(crate) fn screen(wasm: &[u8]) -> Result<(), PrepareError> {
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
    Screen::default().module(wasm).map_err(|failure| match failure {
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
    match refused_proposal(wasm) {
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

impl Failure {
    fn limit(limit: Limit, offset: u64) -> Failure {
        Failure::Refused(PrepareError::Limit { limit, offset })
    }
}

/// What is counted over the whole module.
#[derive(Default)]
struct Screen {
    types: u64,
    locals: u64,
    search_steps: u64,
    allocations: FuncValidatorAllocations,
}

impl Screen {
    fn module(&mut self, wasm: &[u8]) -> Result<(), Failure> {
        let mut validator = Validator::new_with_features(FEATURES);
        let mut parser = Parser::new(0);
        parser.set_features(FEATURES);
        for payload in parser.parse_all(wasm) {
            let payload = payload?;
            if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
                self.function(function, &body)?;
            }
            match payload {
                Payload::TypeSection(types) => self.types = u64::from(types.count()),
                Payload::ImportSection(imports) => refuse_reserved(imports)?,
                Payload::CodeSectionStart { size, unchecked_range, .. } if size > MAX_CODE_BYTES => {
                    return Err(Failure::limit(Limit::CodeBytes, unchecked_range.start));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), Failure> {
        let start = body.range().start;
        let mut validator = function.into_validator(std::mem::take(&mut self.allocations));
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        self.locals += u64::from(validator.len_locals());
        if self.locals > MAX_LOCALS {
            return Err(Failure::limit(Limit::Locals, start));
        }
        self.search(self.types, start)?;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            validator.op(offset, &operator)?;
            if validator.control_stack_height() > MAX_NESTING {
                return Err(Failure::limit(Limit::Nesting, offset));
            }
            self.search(self.steps_for(&operator)?, offset)?;
        }
        operators.finish()?;
        self.allocations = validator.into_allocations();
        Ok(())
    }

    /// How far walrus searches for what this operator names.
    fn steps_for(&self, operator: &Operator<'_>) -> Result<u64, Failure> {
        Ok(match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => self.types,
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => u64::from(*relative_depth),
            Operator::BrTable { targets } => {
                let mut steps = u64::from(targets.default());
                for target in targets.targets() {
                    steps += u64::from(target?);
                }
                steps
            }
            _ => 0,
        })
    }

    fn search(&mut self, steps: u64, offset: u64) -> Result<(), Failure> {
        self.search_steps += steps;
        if self.search_steps > MAX_SEARCH_STEPS {
            return Err(Failure::limit(Limit::SearchSteps, offset));
        }
        Ok(())
    }
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
