//! The cost model, version 1 ([`crate::abi::COST_MODEL_VERSION`]): what one reduction stands for.
//!
//! **One reduction is one executed operator.** Operators that exist for structure or for the validator and leave
//! nothing to execute are free: `block`, `loop`, `else`, `end`, `nop`, `drop`. `if` is a branch and costs one, as
//! do `br`, `br_if`, `br_table`, `return` and `unreachable`. A charge itself (the ten operators drawn in
//! [`crate::abi`]) is free, and so is the call of `yield` inside it.
//!
//! * A call costs one where it stands, and whatever the callee's own charges say: at least one per entry, since
//!   no charge is zero. Weighting calls, divisions or memory accesses by time needs figures; until there are some,
//!   a weight would only be a guess that looks precise.
//! * Bulk operators (`memory.copy`, `table.fill` …) and the growing of memories and tables cost one here. Their
//!   length is known only when they run, so the engine charges for it then.
//!
//! The rewriter sees walrus' instructions and the verifier wasmparser's operators, and they share no code on
//! purpose: a mistake in one must not be repeated by the other. So the model is written down twice, below, and
//! this page is the definition that both follow.

use walrus::ir::Instr;
use wasmparser::Operator;

/// The most that a single operator costs. The rewriter's splitting of long paths relies on it.
pub const MAX_OPERATOR_COST: u32 = 1;

/// The cost of an operator as the verifier reads it.
pub(crate) fn of_operator(operator: &Operator<'_>) -> u32 {
    match operator {
        Operator::Block { .. }
        | Operator::Loop { .. }
        | Operator::Else
        | Operator::End
        | Operator::Nop
        | Operator::Drop => 0,
        _ => 1,
    }
}

/// The cost of an instruction as the rewriter sees it. `else`, `end` and `nop` are no instructions in walrus.
pub(crate) fn of_instr(instr: &Instr) -> u32 {
    match instr {
        Instr::Block(_) | Instr::Loop(_) | Instr::Drop(_) => 0,
        _ => 1,
    }
}
