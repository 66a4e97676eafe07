//! Calls: direct, through an import, through a table.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use wasmparser::Operator;

use crate::translate::environment::trusted;
use crate::translate::function::FunctionTranslator;
use crate::translate::trap_code;
use crate::translate::type_number::type_number;
use crate::vm::context::{VmFuncRef, VmTable};

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    match *operator {
        Operator::Call { function_index } => call(t, function_index),
        Operator::CallIndirect { type_index, table_index } => call_indirect(t, type_index, table_index),
        _ => return false,
    }
    true
}

fn call(t: &mut FunctionTranslator<'_, '_>, function: u32) {
    let shape = t.environment.module.shape;
    if shape.metering.is_some_and(|metering| metering.yield_function == function) {
        return t.yield_now();
    }
    let params = shape.function_type(function).params.len();
    let call = if function < shape.imported_functions {
        let record = t.environment.function_record(&mut t.builder, function);
        let signature = t.environment.signature(&mut t.builder, shape.functions[function as usize]);
        let (code, context) = t.environment.callee(&mut t.builder, record);
        let args = t.call_args(context, params);
        t.builder.ins().call_indirect(signature, code, &args)
    } else {
        let callee = t.environment.direct(&mut t.builder, function);
        let args = t.call_args(t.environment.context, params);
        t.builder.ins().call(callee, &args)
    };
    t.after_call(call, params);
}

fn call_indirect(t: &mut FunctionTranslator<'_, '_>, type_index: u32, table: u32) {
    let index = t.stacks.pop();
    let index = t.builder.ins().uextend(types::I64, index);
    let record = checked_entry(t, table, index, trap_code::UNDEFINED_ELEMENT);
    t.builder.ins().trapz(record, trap_code::UNINITIALIZED_ELEMENT);
    let flags = trusted(t.environment.regions.table).with_readonly();
    let found = t.builder.ins().load(types::I32, flags, record, VmFuncRef::TYPE_ID);
    let expected = type_number(&mut t.builder, t.environment.module.shape, type_index);
    let differs = t.builder.ins().icmp(IntCC::NotEqual, found, expected);
    t.builder.ins().trapnz(differs, trap_code::TYPE_MISMATCH);

    let params = t.environment.module.shape.types[type_index as usize].params.len();
    let signature = t.environment.signature(&mut t.builder, type_index);
    let (code, context) = t.environment.callee(&mut t.builder, record);
    let args = t.call_args(context, params);
    let call = t.builder.ins().call_indirect(signature, code, &args);
    t.after_call(call, params);
}

/// Loads a table entry, or traps if the (64-bit) index is outside.
pub(super) fn checked_entry(
    t: &mut FunctionTranslator<'_, '_>,
    table: u32,
    index: Value,
    outside: cranelift_codegen::ir::TrapCode,
) -> Value {
    let place = t.environment.module.offsets.table(table);
    let (descriptor, at) = t.environment.locate(&mut t.builder, place);
    let flags = trusted(t.environment.regions.context);
    let length = t.builder.ins().load(types::I64, flags, descriptor, at + VmTable::LENGTH);
    let beyond = t.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, index, length);
    t.builder.ins().trapnz(beyond, outside);
    let base = t.builder.ins().load(types::I64, flags, descriptor, at + VmTable::BASE);
    let scaled = t.builder.ins().ishl_imm_u(index, 3);
    let address = t.builder.ins().iadd(base, scaled);
    t.builder.ins().load(types::I64, trusted(t.environment.regions.table), address, 0)
}
