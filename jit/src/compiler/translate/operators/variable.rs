//! Locals, globals, constants and the parametric operators.

use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::{InstBuilder, types};
use wasmparser::Operator;

use crate::compiler::translate::clif_type;
use crate::compiler::translate::environment::trusted;
use crate::compiler::translate::function::FunctionTranslator;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    match *operator {
        Operator::LocalGet { local_index } => {
            let value = t.builder.use_var(t.locals[local_index as usize]);
            t.stacks.push(value);
        }
        Operator::LocalSet { local_index } => {
            let value = t.stacks.pop();
            t.builder.def_var(t.locals[local_index as usize], value);
        }
        Operator::LocalTee { local_index } => {
            let value = t.stacks.top(1)[0];
            t.builder.def_var(t.locals[local_index as usize], value);
        }
        Operator::GlobalGet { global_index } => global_get(t, global_index),
        Operator::GlobalSet { global_index } => global_set(t, global_index),
        Operator::I32Const { value } => {
            let value = t.builder.ins().iconst(types::I32, i64::from(value as u32));
            t.stacks.push(value);
        }
        Operator::I64Const { value } => {
            let value = t.builder.ins().iconst(types::I64, value);
            t.stacks.push(value);
        }
        Operator::F32Const { value } => {
            let value = t.builder.ins().f32const(Ieee32::with_bits(value.bits()));
            t.stacks.push(value);
        }
        Operator::F64Const { value } => {
            let value = t.builder.ins().f64const(Ieee64::with_bits(value.bits()));
            t.stacks.push(value);
        }
        Operator::Drop => {
            t.stacks.pop();
        }
        Operator::Select | Operator::TypedSelect { .. } => {
            let (left, right, condition) = t.stacks.pop3();
            let value = t.builder.ins().select(condition, left, right);
            t.stacks.push(value);
        }
        _ => return false,
    }
    true
}

fn global_get(t: &mut FunctionTranslator<'_, '_>, index: u32) {
    let module = t.environment.module;
    let (address, offset) = t.environment.locate(&mut t.builder, module.offsets.global(index));
    let ty = clif_type(module.info.globals[index as usize].ty.content);
    let value = t.builder.ins().load(ty, trusted(t.environment.regions.global), address, offset);
    t.stacks.push(value);
}

fn global_set(t: &mut FunctionTranslator<'_, '_>, index: u32) {
    let value = t.stacks.pop();
    let location = t.environment.module.offsets.global(index);
    let (address, offset) = t.environment.locate(&mut t.builder, location);
    t.builder.ins().store(trusted(t.environment.regions.global), value, address, offset);
}
