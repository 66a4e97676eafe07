//! The operators of WebAssembly, a file for each family.
//!
//! Each family decides whether an operator belongs to it. In unreachable code, control operators are read for
//! their nesting, and all others are skipped.

mod bulk;
mod call;
mod control;
mod convert;
mod memory;
mod numeric;
mod simd;
mod table;
mod variable;

use wasmparser::Operator;

pub(crate) use simd::zero as zero_vector;

use super::function::FunctionTranslator;
use crate::environ::error::{CompileError, unsupported};

/// Translates one validated operator.
pub(crate) fn translate(
    translator: &mut FunctionTranslator<'_, '_>,
    operator: &Operator<'_>,
    offset: u64,
) -> Result<(), CompileError> {
    if control::translate(translator, operator)
        || translator.stacks.unreachable
        || variable::translate(translator, operator)
        || numeric::translate(translator, operator)
        || memory::translate(translator, operator)
        || convert::translate(translator, operator)
        || call::translate(translator, operator)
        || table::translate(translator, operator)
        || bulk::translate(translator, operator)
        || simd::translate(translator, operator)
    {
        return Ok(());
    }
    Err(unsupported(&format!("the operator {operator:?}"), offset))
}
