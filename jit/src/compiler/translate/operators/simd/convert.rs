//! Conversions between lanes of different types and widths.

use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use cranelift_frontend::FunctionBuilder;
use wasmparser::Operator;

use super::integer::{HIGH_S, HIGH_U, LOW_S, LOW_U};
use super::{map, map2, zero};
use crate::compiler::translate::function::FunctionTranslator;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    integers(t, operator) || floats(t, operator)
}

fn integers(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    use Operator as O;
    match operator {
        O::I8x16NarrowI16x8S => narrow_signed(t, I16X8),
        O::I8x16NarrowI16x8U => narrow_unsigned(t, I16X8),
        O::I16x8NarrowI32x4S => narrow_signed(t, I32X4),
        O::I16x8NarrowI32x4U => narrow_unsigned(t, I32X4),
        O::I16x8ExtendLowI8x16S => map(t, I8X16, LOW_S),
        O::I16x8ExtendHighI8x16S => map(t, I8X16, HIGH_S),
        O::I16x8ExtendLowI8x16U => map(t, I8X16, LOW_U),
        O::I16x8ExtendHighI8x16U => map(t, I8X16, HIGH_U),
        O::I32x4ExtendLowI16x8S => map(t, I16X8, LOW_S),
        O::I32x4ExtendHighI16x8S => map(t, I16X8, HIGH_S),
        O::I32x4ExtendLowI16x8U => map(t, I16X8, LOW_U),
        O::I32x4ExtendHighI16x8U => map(t, I16X8, HIGH_U),
        O::I64x2ExtendLowI32x4S => map(t, I32X4, LOW_S),
        O::I64x2ExtendHighI32x4S => map(t, I32X4, HIGH_S),
        O::I64x2ExtendLowI32x4U => map(t, I32X4, LOW_U),
        O::I64x2ExtendHighI32x4U => map(t, I32X4, HIGH_U),
        _ => return false,
    }
    true
}

fn floats(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    use Operator as O;
    match operator {
        O::I32x4TruncSatF32x4S => map(t, F32X4, truncate_signed),
        O::I32x4TruncSatF32x4U => map(t, F32X4, truncate_unsigned),
        O::I32x4TruncSatF64x2SZero => map(t, F64X2, truncate_signed_with_zero),
        O::I32x4TruncSatF64x2UZero => map(t, F64X2, truncate_unsigned_with_zero),
        O::F32x4ConvertI32x4S => map(t, I32X4, |b, value| b.ins().fcvt_from_sint(F32X4, value)),
        O::F32x4ConvertI32x4U => map(t, I32X4, |b, value| b.ins().fcvt_from_uint(F32X4, value)),
        O::F64x2ConvertLowI32x4S => map(t, I32X4, |b, value| {
            let wide = b.ins().swiden_low(value);
            b.ins().fcvt_from_sint(F64X2, wide)
        }),
        O::F64x2ConvertLowI32x4U => map(t, I32X4, |b, value| {
            let wide = b.ins().uwiden_low(value);
            b.ins().fcvt_from_uint(F64X2, wide)
        }),
        O::F32x4DemoteF64x2Zero => map(t, F64X2, |b, value| b.ins().fvdemote(value)),
        O::F64x2PromoteLowF32x4 => map(t, F32X4, |b, value| b.ins().fvpromote_low(value)),
        _ => return false,
    }
    true
}

/// Narrows two vectors of signed lanes to one of signed lanes of half the width, saturating.
fn narrow_signed(t: &mut FunctionTranslator<'_, '_>, from: Type) {
    map2(t, from, |builder, left, right| builder.ins().snarrow(left, right));
}

/// Narrows two vectors of signed lanes to one of unsigned lanes of half the width, saturating.
fn narrow_unsigned(t: &mut FunctionTranslator<'_, '_>, from: Type) {
    map2(t, from, |builder, left, right| builder.ins().unarrow(left, right));
}

/// NaN becomes 0, and values out of range saturate.
pub(super) fn truncate_signed(builder: &mut FunctionBuilder<'_>, value: Value) -> Value {
    builder.ins().fcvt_to_sint_sat(I32X4, value)
}

pub(super) fn truncate_unsigned(builder: &mut FunctionBuilder<'_>, value: Value) -> Value {
    builder.ins().fcvt_to_uint_sat(I32X4, value)
}

/// Converts two lanes to 64 bits, then to 32 bits, saturating both times. The two upper lanes are zero.
pub(super) fn truncate_signed_with_zero(builder: &mut FunctionBuilder<'_>, value: Value) -> Value {
    let wide = builder.ins().fcvt_to_sint_sat(I64X2, value);
    let zero = zero(builder, I64X2);
    builder.ins().snarrow(wide, zero)
}

pub(super) fn truncate_unsigned_with_zero(builder: &mut FunctionBuilder<'_>, value: Value) -> Value {
    let wide = builder.ins().fcvt_to_uint_sat(I64X2, value);
    let zero = zero(builder, I64X2);
    builder.ins().uunarrow(wide, zero)
}
