//! Conversions between the number types.

use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::Operator;

use crate::compiler::translate::function::FunctionTranslator;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    use Operator as O;
    use types::{F32, F64, I8, I16, I32, I64};
    match operator {
        O::I32WrapI64 => convert(t, |ins, a| ins.ireduce(I32, a)),
        O::I64ExtendI32S => convert(t, |ins, a| ins.sextend(I64, a)),
        O::I64ExtendI32U => convert(t, |ins, a| ins.uextend(I64, a)),
        O::I32Extend8S => extend(t, I8, I32),
        O::I32Extend16S => extend(t, I16, I32),
        O::I64Extend8S => extend(t, I8, I64),
        O::I64Extend16S => extend(t, I16, I64),
        O::I64Extend32S => extend(t, I32, I64),
        O::I32TruncF32S | O::I32TruncF64S => convert(t, |ins, a| ins.fcvt_to_sint(I32, a)),
        O::I32TruncF32U | O::I32TruncF64U => convert(t, |ins, a| ins.fcvt_to_uint(I32, a)),
        O::I64TruncF32S | O::I64TruncF64S => convert(t, |ins, a| ins.fcvt_to_sint(I64, a)),
        O::I64TruncF32U | O::I64TruncF64U => convert(t, |ins, a| ins.fcvt_to_uint(I64, a)),
        O::I32TruncSatF32S | O::I32TruncSatF64S => convert(t, |ins, a| ins.fcvt_to_sint_sat(I32, a)),
        O::I32TruncSatF32U | O::I32TruncSatF64U => convert(t, |ins, a| ins.fcvt_to_uint_sat(I32, a)),
        O::I64TruncSatF32S | O::I64TruncSatF64S => convert(t, |ins, a| ins.fcvt_to_sint_sat(I64, a)),
        O::I64TruncSatF32U | O::I64TruncSatF64U => convert(t, |ins, a| ins.fcvt_to_uint_sat(I64, a)),
        O::F32ConvertI32S | O::F32ConvertI64S => convert(t, |ins, a| ins.fcvt_from_sint(F32, a)),
        O::F32ConvertI32U | O::F32ConvertI64U => convert(t, |ins, a| ins.fcvt_from_uint(F32, a)),
        O::F64ConvertI32S | O::F64ConvertI64S => convert(t, |ins, a| ins.fcvt_from_sint(F64, a)),
        O::F64ConvertI32U | O::F64ConvertI64U => convert(t, |ins, a| ins.fcvt_from_uint(F64, a)),
        O::F32DemoteF64 => convert(t, |ins, a| ins.fdemote(F32, a)),
        O::F64PromoteF32 => convert(t, |ins, a| ins.fpromote(F64, a)),
        O::I32ReinterpretF32 => reinterpret(t, I32),
        O::I64ReinterpretF64 => reinterpret(t, I64),
        O::F32ReinterpretI32 => reinterpret(t, F32),
        O::F64ReinterpretI64 => reinterpret(t, F64),
        _ => return false,
    }
    true
}

fn convert(t: &mut FunctionTranslator<'_, '_>, op: impl FnOnce(FuncInstBuilder<'_, '_>, Value) -> Value) {
    let value = t.stacks.pop();
    let result = op(t.builder.ins(), value);
    t.stacks.push(result);
}

/// Sign-extends the lowest bits of an integer to its full width.
fn extend(t: &mut FunctionTranslator<'_, '_>, from: Type, to: Type) {
    let value = t.stacks.pop();
    let low = t.builder.ins().ireduce(from, value);
    let result = t.builder.ins().sextend(to, low);
    t.stacks.push(result);
}

fn reinterpret(t: &mut FunctionTranslator<'_, '_>, to: Type) {
    let value = t.stacks.pop();
    let result = t.builder.ins().bitcast(to, MemFlagsData::new(), value);
    t.stacks.push(result);
}
