//! The cost model, version 1 ([`crate::abi::COST_MODEL_VERSION`]): what one reduction stands for.
//!
//! **One reduction is one executed operator.** Operators that exist for structure or for the validator and
//! execute nothing are free: `block`, `loop`, `try_table` (of the older form `try`, `catch`, `catch_all`,
//! `delegate`), `else`, `end`, `nop`, `drop`. `if` is a branch and costs one, as do `br`, `br_if`,
//! `br_table`, `return` and `unreachable`. A charge itself (the two operators shown in [`crate::abi`]) is
//! free.
//!
//! * A call costs one, and additionally what the callee's own charges say: at least one for each entry,
//!   because no charge is zero. Weighting calls, divisions or memory accesses by time needs measurements.
//!   Without them, a weight would be a guess that looks precise.
//! * Bulk operators (`memory.copy`, `table.fill` …) and growing memories and tables cost one here. Their
//!   length is known only when they run, so the engine charges for it then.
//!
//! The rewriter and the verifier follow this definition, and share nothing else.

use wasmparser::Operator;

/// The most that a single operator costs. The rewriter relies on it when it splits long paths.
pub const MAX_OPERATOR_COST: u32 = 1;

/// Returns the cost of an operator.
#[inline(always)]
pub(crate) fn of_operator(operator: &Operator<'_>) -> u32 {
    match operator {
        Operator::Block { .. }
        | Operator::Loop { .. }
        | Operator::TryTable { .. }
        | Operator::Try { .. }
        | Operator::Catch { .. }
        | Operator::CatchAll
        | Operator::Delegate { .. }
        | Operator::Else
        | Operator::End
        | Operator::Nop
        | Operator::Drop => 0,
        _ => 1,
    }
}
