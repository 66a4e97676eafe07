//! Integer and float arithmetic and comparison.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::Operator;

use crate::compiler::translate::function::FunctionTranslator;

type Ins<'s, 'a> = FuncInstBuilder<'s, 'a>;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    integer(t, operator) || float(t, operator) || comparison(t, operator)
}

fn integer(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    use Operator as O;
    match operator {
        O::I32Add | O::I64Add => binary(t, |ins, a, b| ins.iadd(a, b)),
        O::I32Sub | O::I64Sub => binary(t, |ins, a, b| ins.isub(a, b)),
        O::I32Mul | O::I64Mul => binary(t, |ins, a, b| ins.imul(a, b)),
        O::I32DivS | O::I64DivS => binary(t, |ins, a, b| ins.sdiv(a, b)),
        O::I32DivU | O::I64DivU => binary(t, |ins, a, b| ins.udiv(a, b)),
        O::I32RemS | O::I64RemS => binary(t, |ins, a, b| ins.srem(a, b)),
        O::I32RemU | O::I64RemU => binary(t, |ins, a, b| ins.urem(a, b)),
        O::I32And | O::I64And => binary(t, |ins, a, b| ins.band(a, b)),
        O::I32Or | O::I64Or => binary(t, |ins, a, b| ins.bor(a, b)),
        O::I32Xor | O::I64Xor => binary(t, |ins, a, b| ins.bxor(a, b)),
        O::I32Shl | O::I64Shl => binary(t, |ins, a, b| ins.ishl(a, b)),
        O::I32ShrS | O::I64ShrS => binary(t, |ins, a, b| ins.sshr(a, b)),
        O::I32ShrU | O::I64ShrU => binary(t, |ins, a, b| ins.ushr(a, b)),
        O::I32Rotl | O::I64Rotl => binary(t, |ins, a, b| ins.rotl(a, b)),
        O::I32Rotr | O::I64Rotr => binary(t, |ins, a, b| ins.rotr(a, b)),
        O::I32Clz | O::I64Clz => unary(t, |ins, a| ins.clz(a)),
        O::I32Ctz | O::I64Ctz => unary(t, |ins, a| ins.ctz(a)),
        O::I32Popcnt | O::I64Popcnt => unary(t, |ins, a| ins.popcnt(a)),
        _ => return false,
    }
    true
}

fn float(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    use Operator as O;
    match operator {
        O::F32Add | O::F64Add => binary(t, |ins, a, b| ins.fadd(a, b)),
        O::F32Sub | O::F64Sub => binary(t, |ins, a, b| ins.fsub(a, b)),
        O::F32Mul | O::F64Mul => binary(t, |ins, a, b| ins.fmul(a, b)),
        O::F32Div | O::F64Div => binary(t, |ins, a, b| ins.fdiv(a, b)),
        O::F32Min | O::F64Min => binary(t, |ins, a, b| ins.fmin(a, b)),
        O::F32Max | O::F64Max => binary(t, |ins, a, b| ins.fmax(a, b)),
        O::F32Copysign | O::F64Copysign => binary(t, |ins, a, b| ins.fcopysign(a, b)),
        O::F32Abs | O::F64Abs => unary(t, |ins, a| ins.fabs(a)),
        O::F32Neg | O::F64Neg => unary(t, |ins, a| ins.fneg(a)),
        O::F32Sqrt | O::F64Sqrt => unary(t, |ins, a| ins.sqrt(a)),
        O::F32Ceil | O::F64Ceil => unary(t, |ins, a| ins.ceil(a)),
        O::F32Floor | O::F64Floor => unary(t, |ins, a| ins.floor(a)),
        O::F32Trunc | O::F64Trunc => unary(t, |ins, a| ins.trunc(a)),
        O::F32Nearest | O::F64Nearest => unary(t, |ins, a| ins.nearest(a)),
        _ => return false,
    }
    true
}

fn comparison(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    use Operator as O;
    match operator {
        O::I32Eqz | O::I64Eqz => {
            let value = t.stacks.pop();
            let zero = t.builder.ins().icmp_imm_u(IntCC::Equal, value, 0);
            push_bool(t, zero);
        }
        O::I32Eq | O::I64Eq => compare(t, IntCC::Equal),
        O::I32Ne | O::I64Ne => compare(t, IntCC::NotEqual),
        O::I32LtS | O::I64LtS => compare(t, IntCC::SignedLessThan),
        O::I32LtU | O::I64LtU => compare(t, IntCC::UnsignedLessThan),
        O::I32GtS | O::I64GtS => compare(t, IntCC::SignedGreaterThan),
        O::I32GtU | O::I64GtU => compare(t, IntCC::UnsignedGreaterThan),
        O::I32LeS | O::I64LeS => compare(t, IntCC::SignedLessThanOrEqual),
        O::I32LeU | O::I64LeU => compare(t, IntCC::UnsignedLessThanOrEqual),
        O::I32GeS | O::I64GeS => compare(t, IntCC::SignedGreaterThanOrEqual),
        O::I32GeU | O::I64GeU => compare(t, IntCC::UnsignedGreaterThanOrEqual),
        O::F32Eq | O::F64Eq => compare_floats(t, FloatCC::Equal),
        O::F32Ne | O::F64Ne => compare_floats(t, FloatCC::NotEqual),
        O::F32Lt | O::F64Lt => compare_floats(t, FloatCC::LessThan),
        O::F32Gt | O::F64Gt => compare_floats(t, FloatCC::GreaterThan),
        O::F32Le | O::F64Le => compare_floats(t, FloatCC::LessThanOrEqual),
        O::F32Ge | O::F64Ge => compare_floats(t, FloatCC::GreaterThanOrEqual),
        _ => return false,
    }
    true
}

fn unary(t: &mut FunctionTranslator<'_, '_>, op: impl FnOnce(Ins<'_, '_>, Value) -> Value) {
    let value = t.stacks.pop();
    let result = op(t.builder.ins(), value);
    t.stacks.push(result);
}

fn binary(t: &mut FunctionTranslator<'_, '_>, op: impl FnOnce(Ins<'_, '_>, Value, Value) -> Value) {
    let (left, right) = t.stacks.pop2();
    let result = op(t.builder.ins(), left, right);
    t.stacks.push(result);
}

fn compare(t: &mut FunctionTranslator<'_, '_>, condition: IntCC) {
    let (left, right) = t.stacks.pop2();
    let result = t.builder.ins().icmp(condition, left, right);
    push_bool(t, result);
}

fn compare_floats(t: &mut FunctionTranslator<'_, '_>, condition: FloatCC) {
    let (left, right) = t.stacks.pop2();
    let result = t.builder.ins().fcmp(condition, left, right);
    push_bool(t, result);
}

fn push_bool(t: &mut FunctionTranslator<'_, '_>, value: Value) {
    let value = t.builder.ins().uextend(types::I32, value);
    t.stacks.push(value);
}
