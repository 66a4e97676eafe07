//! Loads, stores and sizes of memories. All addresses come from `bounds`.

use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Opcode, TrapCode, Type, Value, types};
use wasmparser::{MemArg, Operator};

use crate::compiler::translate::bounds::{self, Checked};
use crate::compiler::translate::function::FunctionTranslator;
use crate::environ::vm_layout::Builtin;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    use types::{F32, F64, I32, I64};
    match operator {
        Operator::I32Load { memarg } => load(t, memarg, Opcode::Load, I32, 4),
        Operator::I64Load { memarg } => load(t, memarg, Opcode::Load, I64, 8),
        Operator::F32Load { memarg } => load(t, memarg, Opcode::Load, F32, 4),
        Operator::F64Load { memarg } => load(t, memarg, Opcode::Load, F64, 8),
        Operator::I32Load8S { memarg } => load(t, memarg, Opcode::Sload8, I32, 1),
        Operator::I32Load8U { memarg } => load(t, memarg, Opcode::Uload8, I32, 1),
        Operator::I32Load16S { memarg } => load(t, memarg, Opcode::Sload16, I32, 2),
        Operator::I32Load16U { memarg } => load(t, memarg, Opcode::Uload16, I32, 2),
        Operator::I64Load8S { memarg } => load(t, memarg, Opcode::Sload8, I64, 1),
        Operator::I64Load8U { memarg } => load(t, memarg, Opcode::Uload8, I64, 1),
        Operator::I64Load16S { memarg } => load(t, memarg, Opcode::Sload16, I64, 2),
        Operator::I64Load16U { memarg } => load(t, memarg, Opcode::Uload16, I64, 2),
        Operator::I64Load32S { memarg } => load(t, memarg, Opcode::Sload32, I64, 4),
        Operator::I64Load32U { memarg } => load(t, memarg, Opcode::Uload32, I64, 4),
        Operator::I32Store { memarg } | Operator::F32Store { memarg } | Operator::I64Store32 { memarg } => {
            store(t, memarg, Opcode::Store, 4)
        }
        Operator::I64Store { memarg } | Operator::F64Store { memarg } => store(t, memarg, Opcode::Store, 8),
        Operator::I32Store8 { memarg } | Operator::I64Store8 { memarg } => {
            store(t, memarg, Opcode::Istore8, 1);
        }
        Operator::I32Store16 { memarg } | Operator::I64Store16 { memarg } => {
            store(t, memarg, Opcode::Istore16, 2);
        }
        Operator::MemorySize { mem } => size(t, *mem),
        Operator::MemoryGrow { mem } => {
            let delta = pop_extended(t);
            let memory = constant(t, *mem);
            let old =
                t.call_builtin(Builtin::MemoryGrow, &[memory, delta]).expect("the routine has a result");
            let old = t.builder.ins().ireduce(I32, old);
            t.stacks.push(old);
        }
        _ => return false,
    }
    true
}

/// Returns the flags of a checked access: of any alignment, and little-endian on every machine.
pub(super) fn flags(t: &FunctionTranslator<'_, '_>, at: &Checked) -> MemFlagsData {
    let flags = MemFlagsData::new()
        .with_endianness(cranelift_codegen::ir::Endianness::Little)
        .with_alias_region(Some(t.environment.regions.memory));
    if at.faults { flags.with_trap_code(Some(TrapCode::HEAP_OUT_OF_BOUNDS)) } else { flags.with_notrap() }
}

fn load(t: &mut FunctionTranslator<'_, '_>, memarg: &MemArg, opcode: Opcode, ty: Type, size: u8) {
    let index = t.stacks.pop();
    let at = bounds::check(&mut t.environment, &mut t.builder, memarg, index, size);
    let flags = flags(t, &at);
    let ins = t.builder.ins();
    let (address, offset) = (at.address, at.offset);
    let value = match opcode {
        Opcode::Sload8 => ins.sload8(ty, flags, address, offset),
        Opcode::Uload8 => ins.uload8(ty, flags, address, offset),
        Opcode::Sload16 => ins.sload16(ty, flags, address, offset),
        Opcode::Uload16 => ins.uload16(ty, flags, address, offset),
        Opcode::Sload32 => ins.sload32(flags, address, offset),
        Opcode::Uload32 => ins.uload32(flags, address, offset),
        _ => ins.load(ty, flags, address, offset),
    };
    t.stacks.push(value);
}

fn store(t: &mut FunctionTranslator<'_, '_>, memarg: &MemArg, opcode: Opcode, size: u8) {
    let (index, value) = t.stacks.pop2();
    let at = bounds::check(&mut t.environment, &mut t.builder, memarg, index, size);
    let flags = flags(t, &at);
    let wide = t.builder.func.dfg.value_type(value) == types::I64;
    let ins = t.builder.ins();
    match opcode {
        Opcode::Istore8 => ins.istore8(flags, value, at.address, at.offset),
        Opcode::Istore16 => ins.istore16(flags, value, at.address, at.offset),
        _ if size == 4 && wide => ins.istore32(flags, value, at.address, at.offset),
        _ => ins.store(flags, value, at.address, at.offset),
    };
}

fn size(t: &mut FunctionTranslator<'_, '_>, memory: u32) {
    let length = t.environment.memory(&mut t.builder, memory).length;
    let pages = t.builder.ins().ushr_imm_u(length, 16);
    let pages = t.builder.ins().ireduce(types::I32, pages);
    t.stacks.push(pages);
}

pub(super) fn constant(t: &mut FunctionTranslator<'_, '_>, value: u32) -> Value {
    t.builder.ins().iconst(types::I32, i64::from(value))
}

pub(super) fn pop_extended(t: &mut FunctionTranslator<'_, '_>) -> Value {
    let value = t.stacks.pop();
    t.builder.ins().uextend(types::I64, value)
}
