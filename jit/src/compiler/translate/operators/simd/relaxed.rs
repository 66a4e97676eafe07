//! Relaxed SIMD: operators for which the specification allows several results.
//!
//! A process must compute the same results on every machine, also when it is resumed elsewhere. So each of
//! these operators does what its strict counterpart does:
//!
//! * a swizzle with an index beyond the lanes gives 0;
//! * a truncation saturates, and NaN becomes 0;
//! * a multiplication and addition rounds twice, because not every machine has an instruction that rounds
//!   once;
//! * a lane select is a bit select;
//! * the minimum or maximum with a NaN is a NaN, and -0 is less than +0;
//! * the rounding Q15 multiplication saturates;
//! * a dot product takes both operands as signed, and its intermediate sums of 16 bits wrap.
//!
//! What remains open is the sign and payload of a NaN, as for every operator on floats.

use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4};
use cranelift_codegen::ir::{InstBuilder, Opcode, Value};
use cranelift_frontend::FunctionBuilder;
use wasmparser::Operator;

use super::integer::{HIGH_S, LOW_S, add_pairs, dot};
use super::{binary, bitwise, convert, map, map2, map3, pop, push};
use crate::compiler::translate::function::FunctionTranslator;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    use Operator as O;
    match operator {
        O::I8x16RelaxedSwizzle => binary(t, (I8X16, Opcode::Swizzle)),
        O::I32x4RelaxedTruncF32x4S => map(t, F32X4, convert::truncate_signed),
        O::I32x4RelaxedTruncF32x4U => map(t, F32X4, convert::truncate_unsigned),
        O::I32x4RelaxedTruncF64x2SZero => map(t, F64X2, convert::truncate_signed_with_zero),
        O::I32x4RelaxedTruncF64x2UZero => map(t, F64X2, convert::truncate_unsigned_with_zero),
        O::F32x4RelaxedMadd => map3(t, F32X4, multiply_add),
        O::F64x2RelaxedMadd => map3(t, F64X2, multiply_add),
        O::F32x4RelaxedNmadd => map3(t, F32X4, negated_multiply_add),
        O::F64x2RelaxedNmadd => map3(t, F64X2, negated_multiply_add),
        O::I8x16RelaxedLaneselect
        | O::I16x8RelaxedLaneselect
        | O::I32x4RelaxedLaneselect
        | O::I64x2RelaxedLaneselect => bitwise::select(t),
        O::F32x4RelaxedMin => binary(t, (F32X4, Opcode::Fmin)),
        O::F64x2RelaxedMin => binary(t, (F64X2, Opcode::Fmin)),
        O::F32x4RelaxedMax => binary(t, (F32X4, Opcode::Fmax)),
        O::F64x2RelaxedMax => binary(t, (F64X2, Opcode::Fmax)),
        O::I16x8RelaxedQ15mulrS => binary(t, (I16X8, Opcode::SqmulRoundSat)),
        O::I16x8RelaxedDotI8x16I7x16S => map2(t, I8X16, dot),
        O::I32x4RelaxedDotI8x16I7x16AddS => dot_add(t),
        _ => return false,
    }
    true
}

fn multiply_add(builder: &mut FunctionBuilder<'_>, left: Value, right: Value, addend: Value) -> Value {
    let product = builder.ins().fmul(left, right);
    builder.ins().fadd(product, addend)
}

fn negated_multiply_add(
    builder: &mut FunctionBuilder<'_>,
    left: Value,
    right: Value,
    addend: Value,
) -> Value {
    let left = builder.ins().fneg(left);
    multiply_add(builder, left, right, addend)
}

fn dot_add(t: &mut FunctionTranslator<'_, '_>) {
    let addend = pop(t, I32X4);
    map2(t, I8X16, |builder, left, right| {
        let sums = dot(builder, left, right);
        add_pairs(builder, sums, LOW_S, HIGH_S)
    });
    let sums = pop(t, I32X4);
    let result = t.builder.ins().iadd(sums, addend);
    push(t, result);
}
