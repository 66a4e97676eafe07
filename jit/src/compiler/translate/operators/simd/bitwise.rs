//! Operators on all 128 bits, independent of lanes.

use cranelift_codegen::ir::types::I8X16;
use cranelift_codegen::ir::{InstBuilder, Opcode};
use wasmparser::Operator;

use super::{binary, map2, map3, pop, push_bool, unary};
use crate::compiler::translate::function::FunctionTranslator;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    match operator {
        Operator::V128Not => unary(t, (I8X16, Opcode::Bnot)),
        Operator::V128And => binary(t, (I8X16, Opcode::Band)),
        Operator::V128Or => binary(t, (I8X16, Opcode::Bor)),
        Operator::V128Xor => binary(t, (I8X16, Opcode::Bxor)),
        Operator::V128AndNot => map2(t, I8X16, |builder, left, right| builder.ins().band_not(left, right)),
        Operator::V128Bitselect => select(t),
        Operator::V128AnyTrue => {
            let vector = pop(t, I8X16);
            let value = t.builder.ins().vany_true(vector);
            push_bool(t, value);
        }
        _ => return false,
    }
    true
}

/// For each bit: the bit of the first vector if the third has a one, otherwise that of the second.
pub(super) fn select(t: &mut FunctionTranslator<'_, '_>) {
    map3(t, I8X16, |builder, yes, no, mask| builder.ins().bitselect(mask, yes, no));
}
