//! References and tables. Reading an entry is inline. Everything that changes a table is a routine, because
//! the first change gives the instance a copy of what it has shared so far.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use wasmparser::Operator;

use super::call::checked_entry;
use crate::compiler::translate::environment::trusted;
use crate::compiler::translate::function::FunctionTranslator;
use crate::compiler::translate::trap;
use crate::environ::vm_layout::{Builtin, VmTable};

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    match *operator {
        Operator::RefNull { .. } => {
            let null = t.builder.ins().iconst(types::I64, 0);
            t.stacks.push(null);
        }
        Operator::RefIsNull => {
            let reference = t.stacks.pop();
            let null = t.builder.ins().icmp_imm_u(IntCC::Equal, reference, 0);
            let null = t.builder.ins().uextend(types::I32, null);
            t.stacks.push(null);
        }
        Operator::RefFunc { function_index } => {
            let record = t.environment.function_record(&mut t.builder, function_index);
            t.stacks.push(record);
        }
        Operator::TableGet { table } => {
            let index = pop_index(t);
            let entry = checked_entry(t, table, index, trap::TABLE_OUT_OF_BOUNDS);
            t.stacks.push(entry);
        }
        Operator::TableSet { table } => {
            let value = t.stacks.pop();
            let index = pop_index(t);
            let table = constant(t, table);
            checked(t, Builtin::TableSet, &[table, index, value]);
        }
        Operator::TableSize { table } => {
            let place = t.environment.module.offsets.table(table);
            let (descriptor, at) = t.environment.locate(&mut t.builder, place);
            let flags = trusted(t.environment.regions.context);
            // The length of a table is below 2³², so its lower half is all of it.
            let length = t.builder.ins().load(types::I64, flags, descriptor, at + VmTable::LENGTH);
            let length = t.builder.ins().ireduce(types::I32, length);
            t.stacks.push(length);
        }
        Operator::TableGrow { table } => {
            let delta = pop_index(t);
            let value = t.stacks.pop();
            let table = constant(t, table);
            let old =
                t.call_builtin(Builtin::TableGrow, &[table, delta, value]).expect("the routine has a result");
            let old = t.builder.ins().ireduce(types::I32, old);
            t.stacks.push(old);
        }
        Operator::TableFill { table } => {
            let count = pop_index(t);
            let value = t.stacks.pop();
            let start = pop_index(t);
            let table = constant(t, table);
            checked(t, Builtin::TableFill, &[table, start, value, count]);
        }
        Operator::TableCopy { dst_table, src_table } => copy(t, Builtin::TableCopy, dst_table, src_table),
        Operator::TableInit { elem_index, table } => copy(t, Builtin::TableInit, table, elem_index),
        Operator::ElemDrop { elem_index } => {
            let segment = constant(t, elem_index);
            t.call_builtin(Builtin::ElementDrop, &[segment]);
        }
        _ => return false,
    }
    true
}

fn copy(t: &mut FunctionTranslator<'_, '_>, builtin: Builtin, to: u32, from: u32) {
    let count = pop_index(t);
    let source = pop_index(t);
    let target = pop_index(t);
    let (to, from) = (constant(t, to), constant(t, from));
    checked(t, builtin, &[to, from, target, source, count]);
}

fn checked(t: &mut FunctionTranslator<'_, '_>, builtin: Builtin, args: &[Value]) {
    let failed = t.call_builtin(builtin, args).expect("the routine has a result");
    t.builder.ins().trapnz(failed, trap::TABLE_OUT_OF_BOUNDS);
}

fn constant(t: &mut FunctionTranslator<'_, '_>, value: u32) -> Value {
    t.builder.ins().iconst(types::I32, i64::from(value))
}

fn pop_index(t: &mut FunctionTranslator<'_, '_>) -> Value {
    let index = t.stacks.pop();
    t.builder.ins().uextend(types::I64, index)
}
