//! Arithmetic on integer lanes.

use cranelift_codegen::ir::types::{I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value, types};
use cranelift_frontend::FunctionBuilder;
use wasmparser::Operator;

use super::{binary, map, map2, pop, push, push_bool, unary};
use crate::compiler::translate::function::FunctionTranslator;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    if let Some(instruction) = binary_instruction(operator) {
        binary(t, instruction);
    } else if let Some(instruction) = unary_instruction(operator) {
        unary(t, instruction);
    } else if let Some((ty, opcode)) = shift_instruction(operator) {
        shift(t, ty, opcode);
    } else {
        return reduce(t, operator) || widening(t, operator);
    }
    true
}

fn binary_instruction(operator: &Operator<'_>) -> Option<(Type, Opcode)> {
    use Operator as O;
    Some(match operator {
        O::I8x16Add => (I8X16, Opcode::Iadd),
        O::I16x8Add => (I16X8, Opcode::Iadd),
        O::I32x4Add => (I32X4, Opcode::Iadd),
        O::I64x2Add => (I64X2, Opcode::Iadd),
        O::I8x16Sub => (I8X16, Opcode::Isub),
        O::I16x8Sub => (I16X8, Opcode::Isub),
        O::I32x4Sub => (I32X4, Opcode::Isub),
        O::I64x2Sub => (I64X2, Opcode::Isub),
        O::I16x8Mul => (I16X8, Opcode::Imul),
        O::I32x4Mul => (I32X4, Opcode::Imul),
        O::I64x2Mul => (I64X2, Opcode::Imul),
        O::I8x16AddSatS => (I8X16, Opcode::SaddSat),
        O::I16x8AddSatS => (I16X8, Opcode::SaddSat),
        O::I8x16AddSatU => (I8X16, Opcode::UaddSat),
        O::I16x8AddSatU => (I16X8, Opcode::UaddSat),
        O::I8x16SubSatS => (I8X16, Opcode::SsubSat),
        O::I16x8SubSatS => (I16X8, Opcode::SsubSat),
        O::I8x16SubSatU => (I8X16, Opcode::UsubSat),
        O::I16x8SubSatU => (I16X8, Opcode::UsubSat),
        O::I8x16MinS => (I8X16, Opcode::Smin),
        O::I16x8MinS => (I16X8, Opcode::Smin),
        O::I32x4MinS => (I32X4, Opcode::Smin),
        O::I8x16MinU => (I8X16, Opcode::Umin),
        O::I16x8MinU => (I16X8, Opcode::Umin),
        O::I32x4MinU => (I32X4, Opcode::Umin),
        O::I8x16MaxS => (I8X16, Opcode::Smax),
        O::I16x8MaxS => (I16X8, Opcode::Smax),
        O::I32x4MaxS => (I32X4, Opcode::Smax),
        O::I8x16MaxU => (I8X16, Opcode::Umax),
        O::I16x8MaxU => (I16X8, Opcode::Umax),
        O::I32x4MaxU => (I32X4, Opcode::Umax),
        O::I8x16AvgrU => (I8X16, Opcode::AvgRound),
        O::I16x8AvgrU => (I16X8, Opcode::AvgRound),
        O::I16x8Q15MulrSatS => (I16X8, Opcode::SqmulRoundSat),
        _ => return None,
    })
}

fn unary_instruction(operator: &Operator<'_>) -> Option<(Type, Opcode)> {
    use Operator as O;
    Some(match operator {
        O::I8x16Abs => (I8X16, Opcode::Iabs),
        O::I16x8Abs => (I16X8, Opcode::Iabs),
        O::I32x4Abs => (I32X4, Opcode::Iabs),
        O::I64x2Abs => (I64X2, Opcode::Iabs),
        O::I8x16Neg => (I8X16, Opcode::Ineg),
        O::I16x8Neg => (I16X8, Opcode::Ineg),
        O::I32x4Neg => (I32X4, Opcode::Ineg),
        O::I64x2Neg => (I64X2, Opcode::Ineg),
        O::I8x16Popcnt => (I8X16, Opcode::Popcnt),
        _ => return None,
    })
}

fn shift_instruction(operator: &Operator<'_>) -> Option<(Type, Opcode)> {
    use Operator as O;
    Some(match operator {
        O::I8x16Shl => (I8X16, Opcode::Ishl),
        O::I16x8Shl => (I16X8, Opcode::Ishl),
        O::I32x4Shl => (I32X4, Opcode::Ishl),
        O::I64x2Shl => (I64X2, Opcode::Ishl),
        O::I8x16ShrS => (I8X16, Opcode::Sshr),
        O::I16x8ShrS => (I16X8, Opcode::Sshr),
        O::I32x4ShrS => (I32X4, Opcode::Sshr),
        O::I64x2ShrS => (I64X2, Opcode::Sshr),
        O::I8x16ShrU => (I8X16, Opcode::Ushr),
        O::I16x8ShrU => (I16X8, Opcode::Ushr),
        O::I32x4ShrU => (I32X4, Opcode::Ushr),
        O::I64x2ShrU => (I64X2, Opcode::Ushr),
        _ => return None,
    })
}

/// Shifts all lanes by the same number of bits, modulo the width of a lane, as Cranelift does too.
fn shift(t: &mut FunctionTranslator<'_, '_>, ty: Type, opcode: Opcode) {
    let amount = t.stacks.pop();
    let vector = pop(t, ty);
    let (instruction, graph) = t.builder.ins().Binary(opcode, ty, vector, amount);
    let result = graph.first_result(instruction);
    push(t, result);
}

/// Reduces a vector to a number.
fn reduce(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    use Operator as O;
    match operator {
        O::I8x16AllTrue => all_true(t, I8X16),
        O::I16x8AllTrue => all_true(t, I16X8),
        O::I32x4AllTrue => all_true(t, I32X4),
        O::I64x2AllTrue => all_true(t, I64X2),
        O::I8x16Bitmask => bitmask(t, I8X16),
        O::I16x8Bitmask => bitmask(t, I16X8),
        O::I32x4Bitmask => bitmask(t, I32X4),
        O::I64x2Bitmask => bitmask(t, I64X2),
        _ => return false,
    }
    true
}

fn all_true(t: &mut FunctionTranslator<'_, '_>, ty: Type) {
    let vector = pop(t, ty);
    let value = t.builder.ins().vall_true(vector);
    push_bool(t, value);
}

fn bitmask(t: &mut FunctionTranslator<'_, '_>, ty: Type) {
    let vector = pop(t, ty);
    let value = t.builder.ins().vhigh_bits(types::I32, vector);
    t.stacks.push(value);
}

/// Takes half of a vector's lanes, and makes each twice as wide.
pub(super) type Widen = fn(&mut FunctionBuilder<'_>, Value) -> Value;

pub(super) const LOW_S: Widen = |builder, value| builder.ins().swiden_low(value);
pub(super) const LOW_U: Widen = |builder, value| builder.ins().uwiden_low(value);
pub(super) const HIGH_S: Widen = |builder, value| builder.ins().swiden_high(value);
pub(super) const HIGH_U: Widen = |builder, value| builder.ins().uwiden_high(value);

/// Arithmetic whose result has lanes twice as wide as the operands.
fn widening(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    use Operator as O;
    match operator {
        O::I16x8ExtMulLowI8x16S => multiply(t, I8X16, LOW_S),
        O::I16x8ExtMulHighI8x16S => multiply(t, I8X16, HIGH_S),
        O::I16x8ExtMulLowI8x16U => multiply(t, I8X16, LOW_U),
        O::I16x8ExtMulHighI8x16U => multiply(t, I8X16, HIGH_U),
        O::I32x4ExtMulLowI16x8S => multiply(t, I16X8, LOW_S),
        O::I32x4ExtMulHighI16x8S => multiply(t, I16X8, HIGH_S),
        O::I32x4ExtMulLowI16x8U => multiply(t, I16X8, LOW_U),
        O::I32x4ExtMulHighI16x8U => multiply(t, I16X8, HIGH_U),
        O::I64x2ExtMulLowI32x4S => multiply(t, I32X4, LOW_S),
        O::I64x2ExtMulHighI32x4S => multiply(t, I32X4, HIGH_S),
        O::I64x2ExtMulLowI32x4U => multiply(t, I32X4, LOW_U),
        O::I64x2ExtMulHighI32x4U => multiply(t, I32X4, HIGH_U),
        O::I16x8ExtAddPairwiseI8x16S => map(t, I8X16, |b, value| add_pairs(b, value, LOW_S, HIGH_S)),
        O::I16x8ExtAddPairwiseI8x16U => map(t, I8X16, |b, value| add_pairs(b, value, LOW_U, HIGH_U)),
        O::I32x4ExtAddPairwiseI16x8S => map(t, I16X8, |b, value| add_pairs(b, value, LOW_S, HIGH_S)),
        O::I32x4ExtAddPairwiseI16x8U => map(t, I16X8, |b, value| add_pairs(b, value, LOW_U, HIGH_U)),
        O::I32x4DotI16x8S => map2(t, I16X8, dot),
        _ => return false,
    }
    true
}

fn multiply(t: &mut FunctionTranslator<'_, '_>, ty: Type, widen: Widen) {
    map2(t, ty, |builder, left, right| {
        let (left, right) = (widen(builder, left), widen(builder, right));
        builder.ins().imul(left, right)
    });
}

/// Adds neighbouring lanes: 0 and 1, 2 and 3, …
pub(super) fn add_pairs(builder: &mut FunctionBuilder<'_>, value: Value, low: Widen, high: Widen) -> Value {
    let (low, high) = (low(builder, value), high(builder, value));
    builder.ins().iadd_pairwise(low, high)
}

/// Multiplies signed lanes, and adds neighbouring products. The sum wraps.
pub(super) fn dot(builder: &mut FunctionBuilder<'_>, left: Value, right: Value) -> Value {
    let mut product = |widen: Widen| {
        let (left, right) = (widen(builder, left), widen(builder, right));
        builder.ins().imul(left, right)
    };
    let (low, high) = (product(LOW_S), product(HIGH_S));
    builder.ins().iadd_pairwise(low, high)
}
