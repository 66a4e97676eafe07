//! Vectors of 128 bits, a file for each family.
//!
//! WebAssembly has one vector type, and each operator says how the vector is divided into lanes. Cranelift
//! has a type for each division. On the operand stack, and in locals, globals and parameters, a vector is
//! always sixteen bytes ([`types::I8X16`]); an operator on other lanes casts its operands and its result.
//! Casts cost nothing, because they name the same register. Lane 0 is in the lowest bits on every machine.
//!
//! The tables here pair an operator with the Cranelift instruction for it. An operator that needs several
//! instructions has a function of its own.

mod bitwise;
mod comparison;
mod convert;
mod float;
mod integer;
mod lanes;
mod memory;
mod relaxed;

use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Opcode, Type, Value, types};
use cranelift_frontend::FunctionBuilder;
use wasmparser::Operator;

use crate::compiler::translate::function::FunctionTranslator;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    memory::translate(t, operator)
        || lanes::translate(t, operator)
        || integer::translate(t, operator)
        || float::translate(t, operator)
        || comparison::translate(t, operator)
        || bitwise::translate(t, operator)
        || convert::translate(t, operator)
        || relaxed::translate(t, operator)
}

/// Returns the vector of zeros.
pub(crate) fn zero(builder: &mut FunctionBuilder<'_>, ty: Type) -> Value {
    constant(builder, ty, &[0; 16])
}

fn constant(builder: &mut FunctionBuilder<'_>, ty: Type, bytes: &[u8; 16]) -> Value {
    let bytes = builder.func.dfg.constants.insert(bytes.as_slice().into());
    builder.ins().vconst(ty, bytes)
}

/// Casts a vector to lanes of `ty`.
fn cast(builder: &mut FunctionBuilder<'_>, ty: Type, value: Value) -> Value {
    if builder.func.dfg.value_type(value) == ty {
        return value;
    }
    let flags = MemFlagsData::new().with_endianness(Endianness::Little);
    builder.ins().bitcast(ty, flags, value)
}

/// Pops a vector, in lanes of `ty`.
fn pop(t: &mut FunctionTranslator<'_, '_>, ty: Type) -> Value {
    let value = t.stacks.pop();
    cast(&mut t.builder, ty, value)
}

fn pop2(t: &mut FunctionTranslator<'_, '_>, ty: Type) -> (Value, Value) {
    let right = pop(t, ty);
    (pop(t, ty), right)
}

/// Pushes a vector of any lanes.
fn push(t: &mut FunctionTranslator<'_, '_>, value: Value) {
    let value = cast(&mut t.builder, types::I8X16, value);
    t.stacks.push(value);
}

/// One instruction from a vector to a vector of the same lanes.
fn unary(t: &mut FunctionTranslator<'_, '_>, (ty, opcode): (Type, Opcode)) {
    let value = pop(t, ty);
    let (instruction, graph) = t.builder.ins().Unary(opcode, ty, value);
    let result = graph.first_result(instruction);
    push(t, result);
}

/// One instruction from two vectors to a vector of the same lanes.
fn binary(t: &mut FunctionTranslator<'_, '_>, (ty, opcode): (Type, Opcode)) {
    let (left, right) = pop2(t, ty);
    let (instruction, graph) = t.builder.ins().Binary(opcode, ty, left, right);
    let result = graph.first_result(instruction);
    push(t, result);
}

/// Several instructions from a vector to a vector.
fn map(
    t: &mut FunctionTranslator<'_, '_>,
    ty: Type,
    op: impl FnOnce(&mut FunctionBuilder<'_>, Value) -> Value,
) {
    let value = pop(t, ty);
    let result = op(&mut t.builder, value);
    push(t, result);
}

/// Several instructions from two vectors to a vector.
fn map2(
    t: &mut FunctionTranslator<'_, '_>,
    ty: Type,
    op: impl FnOnce(&mut FunctionBuilder<'_>, Value, Value) -> Value,
) {
    let (left, right) = pop2(t, ty);
    let result = op(&mut t.builder, left, right);
    push(t, result);
}

/// Several instructions from three vectors to a vector.
fn map3(
    t: &mut FunctionTranslator<'_, '_>,
    ty: Type,
    op: impl FnOnce(&mut FunctionBuilder<'_>, Value, Value, Value) -> Value,
) {
    let third = pop(t, ty);
    let (first, second) = pop2(t, ty);
    let result = op(&mut t.builder, first, second, third);
    push(t, result);
}

/// Pushes a truth value as the number 0 or 1.
fn push_bool(t: &mut FunctionTranslator<'_, '_>, value: Value) {
    let value = t.builder.ins().uextend(types::I32, value);
    t.stacks.push(value);
}
