//! Arithmetic on float lanes.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32X4, F64X2};
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value};
use cranelift_frontend::FunctionBuilder;
use wasmparser::Operator;

use super::{binary, cast, map2, unary};
use crate::compiler::translate::function::FunctionTranslator;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    if let Some(instruction) = binary_instruction(operator) {
        binary(t, instruction);
        return true;
    }
    if let Some(instruction) = unary_instruction(operator) {
        unary(t, instruction);
        return true;
    }
    match operator {
        Operator::F32x4PMin => map2(t, F32X4, pseudo_min),
        Operator::F64x2PMin => map2(t, F64X2, pseudo_min),
        Operator::F32x4PMax => map2(t, F32X4, pseudo_max),
        Operator::F64x2PMax => map2(t, F64X2, pseudo_max),
        _ => return false,
    }
    true
}

fn binary_instruction(operator: &Operator<'_>) -> Option<(Type, Opcode)> {
    use Operator as O;
    Some(match operator {
        O::F32x4Add => (F32X4, Opcode::Fadd),
        O::F64x2Add => (F64X2, Opcode::Fadd),
        O::F32x4Sub => (F32X4, Opcode::Fsub),
        O::F64x2Sub => (F64X2, Opcode::Fsub),
        O::F32x4Mul => (F32X4, Opcode::Fmul),
        O::F64x2Mul => (F64X2, Opcode::Fmul),
        O::F32x4Div => (F32X4, Opcode::Fdiv),
        O::F64x2Div => (F64X2, Opcode::Fdiv),
        O::F32x4Min => (F32X4, Opcode::Fmin),
        O::F64x2Min => (F64X2, Opcode::Fmin),
        O::F32x4Max => (F32X4, Opcode::Fmax),
        O::F64x2Max => (F64X2, Opcode::Fmax),
        _ => return None,
    })
}

fn unary_instruction(operator: &Operator<'_>) -> Option<(Type, Opcode)> {
    use Operator as O;
    Some(match operator {
        O::F32x4Ceil => (F32X4, Opcode::Ceil),
        O::F64x2Ceil => (F64X2, Opcode::Ceil),
        O::F32x4Floor => (F32X4, Opcode::Floor),
        O::F64x2Floor => (F64X2, Opcode::Floor),
        O::F32x4Trunc => (F32X4, Opcode::Trunc),
        O::F64x2Trunc => (F64X2, Opcode::Trunc),
        O::F32x4Nearest => (F32X4, Opcode::Nearest),
        O::F64x2Nearest => (F64X2, Opcode::Nearest),
        O::F32x4Abs => (F32X4, Opcode::Fabs),
        O::F64x2Abs => (F64X2, Opcode::Fabs),
        O::F32x4Neg => (F32X4, Opcode::Fneg),
        O::F64x2Neg => (F64X2, Opcode::Fneg),
        O::F32x4Sqrt => (F32X4, Opcode::Sqrt),
        O::F64x2Sqrt => (F64X2, Opcode::Sqrt),
        _ => return None,
    })
}

/// "The right if it is less than the left, otherwise the left". NaN and the sign of zero get no special
/// treatment, so the order of the comparison's operands matters.
fn pseudo_min(builder: &mut FunctionBuilder<'_>, left: Value, right: Value) -> Value {
    choose(builder, right, left, right, left)
}

/// "The right if the left is less than it, otherwise the left".
fn pseudo_max(builder: &mut FunctionBuilder<'_>, left: Value, right: Value) -> Value {
    choose(builder, left, right, right, left)
}

/// In each lane, `yes` if `less` is less than `greater`, otherwise `no`.
fn choose(builder: &mut FunctionBuilder<'_>, less: Value, greater: Value, yes: Value, no: Value) -> Value {
    let ty = builder.func.dfg.value_type(yes);
    let mask = builder.ins().fcmp(FloatCC::LessThan, less, greater);
    let mask = cast(builder, ty, mask);
    builder.ins().bitselect(mask, yes, no)
}
