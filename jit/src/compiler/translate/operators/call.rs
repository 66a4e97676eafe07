//! Calls and tail calls: direct, of imports, and through tables.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{FuncRef, InstBuilder, SigRef, Value, types};
use wasmparser::Operator;

use crate::compiler::translate::environment::trusted;
use crate::compiler::translate::function::FunctionTranslator;
use crate::compiler::translate::trap;
use crate::compiler::translate::type_number::type_number;
use crate::environ::vm_layout::{VmFuncRef, VmTable};

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    match *operator {
        Operator::Call { function_index } if is_charge(t, function_index) => charge(t),
        Operator::Call { function_index } => {
            let callee = function(t, function_index);
            call(t, callee);
        }
        Operator::CallIndirect { type_index, table_index } => {
            let callee = table_entry(t, type_index, table_index);
            call(t, callee);
        }
        Operator::ReturnCall { function_index } if is_charge(t, function_index) => {
            charge(t);
            t.return_top(0);
            t.stacks.unreachable = true;
        }
        Operator::ReturnCall { function_index } => {
            let callee = function(t, function_index);
            return_call(t, callee);
        }
        Operator::ReturnCallIndirect { type_index, table_index } => {
            let callee = table_entry(t, type_index, table_index);
            return_call(t, callee);
        }
        _ => return false,
    }
    true
}

/// The function that is called, and the number of its parameters.
struct Callee {
    code: Code,
    params: usize,
}

enum Code {
    /// A function of this module, in this instance's context.
    Direct(FuncRef),
    /// The function of a record.
    Indirect { signature: SigRef, code: Value, context: Value },
}

fn is_charge(t: &FunctionTranslator<'_, '_>, function: u32) -> bool {
    t.environment.module.info.charge_function == Some(function)
}

fn charge(t: &mut FunctionTranslator<'_, '_>) {
    let cost = t.stacks.pop();
    let cost = t.builder.ins().uextend(types::I64, cost);
    t.charge(cost);
}

fn function(t: &mut FunctionTranslator<'_, '_>, function: u32) -> Callee {
    let info = t.environment.module.info;
    let params = info.function_type(function).params.len();
    if function >= info.imported_functions {
        return Callee { code: Code::Direct(t.environment.direct(&mut t.builder, function)), params };
    }
    let record = t.environment.function_record(&mut t.builder, function);
    behind_record(t, record, info.functions[function as usize])
}

/// Loads the function that a table entry refers to, or traps.
fn table_entry(t: &mut FunctionTranslator<'_, '_>, type_index: u32, table: u32) -> Callee {
    let index = t.stacks.pop();
    let index = t.builder.ins().uextend(types::I64, index);
    let record = checked_entry(t, table, index, trap::UNDEFINED_ELEMENT);
    t.builder.ins().trapz(record, trap::UNINITIALIZED_ELEMENT);
    let flags = trusted(t.environment.regions.table).with_readonly();
    let found = t.builder.ins().load(types::I32, flags, record, VmFuncRef::TYPE_ID);
    let expected = type_number(&mut t.builder, t.environment.module.info, type_index);
    let differs = t.builder.ins().icmp(IntCC::NotEqual, found, expected);
    t.builder.ins().trapnz(differs, trap::TYPE_MISMATCH);
    behind_record(t, record, type_index)
}

fn behind_record(t: &mut FunctionTranslator<'_, '_>, record: Value, type_index: u32) -> Callee {
    let params = t.environment.module.info.types[type_index as usize].params.len();
    let signature = t.environment.signature(&mut t.builder, type_index);
    let (code, context) = t.environment.callee(&mut t.builder, record);
    Callee { code: Code::Indirect { signature, code, context }, params }
}

fn call(t: &mut FunctionTranslator<'_, '_>, callee: Callee) {
    let call = match callee.code {
        Code::Direct(function) => {
            let args = t.call_args(t.environment.context, callee.params);
            t.builder.ins().call(function, &args)
        }
        Code::Indirect { signature, code, context } => {
            let args = t.call_args(context, callee.params);
            t.builder.ins().call_indirect(signature, code, &args)
        }
    };
    t.after_call(call, callee.params);
}

/// A tail call: the frame of the caller is gone before the callee begins, and what the callee returns goes to
/// the caller's caller, including the counter of reductions. A host function may be called so too, because
/// its trampoline is a guest function.
fn return_call(t: &mut FunctionTranslator<'_, '_>, callee: Callee) {
    match callee.code {
        Code::Direct(function) => {
            let args = t.call_args(t.environment.context, callee.params);
            t.builder.ins().return_call(function, &args);
        }
        Code::Indirect { signature, code, context } => {
            let args = t.call_args(context, callee.params);
            t.builder.ins().return_call_indirect(signature, code, &args);
        }
    }
    t.stacks.unreachable = true;
}

/// Loads a table entry, or traps if the 64-bit index is outside.
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
    // A mispredicted check must not lead to an entry behind the table, and to a call of what it contains.
    let null = t.builder.ins().iconst(types::I64, 0);
    let address = t.builder.ins().select_spectre_guard(beyond, null, address);
    t.builder.ins().load(types::I64, trusted(t.environment.regions.table), address, 0)
}
