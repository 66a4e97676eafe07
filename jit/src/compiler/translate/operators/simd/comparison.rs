//! Comparisons: each lane of the result is all ones or all zeros.

use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::Type;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4, I64X2};
use wasmparser::Operator;

use super::map2;
use crate::compiler::translate::function::FunctionTranslator;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    if let Some((ty, condition)) = integer_condition(operator) {
        map2(t, ty, |builder, left, right| builder.ins().icmp(condition, left, right));
    } else if let Some((ty, condition)) = float_condition(operator) {
        map2(t, ty, |builder, left, right| builder.ins().fcmp(condition, left, right));
    } else {
        return false;
    }
    true
}

fn integer_condition(operator: &Operator<'_>) -> Option<(Type, IntCC)> {
    use Operator as O;
    Some(match operator {
        O::I8x16Eq => (I8X16, IntCC::Equal),
        O::I16x8Eq => (I16X8, IntCC::Equal),
        O::I32x4Eq => (I32X4, IntCC::Equal),
        O::I64x2Eq => (I64X2, IntCC::Equal),
        O::I8x16Ne => (I8X16, IntCC::NotEqual),
        O::I16x8Ne => (I16X8, IntCC::NotEqual),
        O::I32x4Ne => (I32X4, IntCC::NotEqual),
        O::I64x2Ne => (I64X2, IntCC::NotEqual),
        O::I8x16LtS => (I8X16, IntCC::SignedLessThan),
        O::I16x8LtS => (I16X8, IntCC::SignedLessThan),
        O::I32x4LtS => (I32X4, IntCC::SignedLessThan),
        O::I64x2LtS => (I64X2, IntCC::SignedLessThan),
        O::I8x16LtU => (I8X16, IntCC::UnsignedLessThan),
        O::I16x8LtU => (I16X8, IntCC::UnsignedLessThan),
        O::I32x4LtU => (I32X4, IntCC::UnsignedLessThan),
        O::I8x16GtS => (I8X16, IntCC::SignedGreaterThan),
        O::I16x8GtS => (I16X8, IntCC::SignedGreaterThan),
        O::I32x4GtS => (I32X4, IntCC::SignedGreaterThan),
        O::I64x2GtS => (I64X2, IntCC::SignedGreaterThan),
        O::I8x16GtU => (I8X16, IntCC::UnsignedGreaterThan),
        O::I16x8GtU => (I16X8, IntCC::UnsignedGreaterThan),
        O::I32x4GtU => (I32X4, IntCC::UnsignedGreaterThan),
        O::I8x16LeS => (I8X16, IntCC::SignedLessThanOrEqual),
        O::I16x8LeS => (I16X8, IntCC::SignedLessThanOrEqual),
        O::I32x4LeS => (I32X4, IntCC::SignedLessThanOrEqual),
        O::I64x2LeS => (I64X2, IntCC::SignedLessThanOrEqual),
        O::I8x16LeU => (I8X16, IntCC::UnsignedLessThanOrEqual),
        O::I16x8LeU => (I16X8, IntCC::UnsignedLessThanOrEqual),
        O::I32x4LeU => (I32X4, IntCC::UnsignedLessThanOrEqual),
        O::I8x16GeS => (I8X16, IntCC::SignedGreaterThanOrEqual),
        O::I16x8GeS => (I16X8, IntCC::SignedGreaterThanOrEqual),
        O::I32x4GeS => (I32X4, IntCC::SignedGreaterThanOrEqual),
        O::I64x2GeS => (I64X2, IntCC::SignedGreaterThanOrEqual),
        O::I8x16GeU => (I8X16, IntCC::UnsignedGreaterThanOrEqual),
        O::I16x8GeU => (I16X8, IntCC::UnsignedGreaterThanOrEqual),
        O::I32x4GeU => (I32X4, IntCC::UnsignedGreaterThanOrEqual),
        _ => return None,
    })
}

fn float_condition(operator: &Operator<'_>) -> Option<(Type, FloatCC)> {
    use Operator as O;
    Some(match operator {
        O::F32x4Eq => (F32X4, FloatCC::Equal),
        O::F64x2Eq => (F64X2, FloatCC::Equal),
        O::F32x4Ne => (F32X4, FloatCC::NotEqual),
        O::F64x2Ne => (F64X2, FloatCC::NotEqual),
        O::F32x4Lt => (F32X4, FloatCC::LessThan),
        O::F64x2Lt => (F64X2, FloatCC::LessThan),
        O::F32x4Gt => (F32X4, FloatCC::GreaterThan),
        O::F64x2Gt => (F64X2, FloatCC::GreaterThan),
        O::F32x4Le => (F32X4, FloatCC::LessThanOrEqual),
        O::F64x2Le => (F64X2, FloatCC::LessThanOrEqual),
        O::F32x4Ge => (F32X4, FloatCC::GreaterThanOrEqual),
        O::F64x2Ge => (F64X2, FloatCC::GreaterThanOrEqual),
        _ => return None,
    })
}
