//! Loads and stores of vectors and of their lanes. All addresses come from `bounds`.

use cranelift_codegen::ir::types::{I8X16, I16X8, I32X4, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value};
use wasmparser::{MemArg, Operator};

use super::{cast, push};
use crate::compiler::translate::bounds::{self, Checked};
use crate::compiler::translate::function::FunctionTranslator;
use crate::compiler::translate::operators::memory::flags;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    use Operator as O;
    match operator {
        O::V128Load { memarg } => {
            let value = load(t, memarg, I8X16);
            t.stacks.push(value);
        }
        O::V128Store { memarg } => {
            let value = t.stacks.pop();
            store(t, memarg, value);
        }
        O::V128Load8x8S { memarg } => load_extended(t, memarg, Opcode::Sload8x8, I16X8),
        O::V128Load8x8U { memarg } => load_extended(t, memarg, Opcode::Uload8x8, I16X8),
        O::V128Load16x4S { memarg } => load_extended(t, memarg, Opcode::Sload16x4, I32X4),
        O::V128Load16x4U { memarg } => load_extended(t, memarg, Opcode::Uload16x4, I32X4),
        O::V128Load32x2S { memarg } => load_extended(t, memarg, Opcode::Sload32x2, I64X2),
        O::V128Load32x2U { memarg } => load_extended(t, memarg, Opcode::Uload32x2, I64X2),
        O::V128Load8Splat { memarg } => load_splat(t, memarg, I8X16),
        O::V128Load16Splat { memarg } => load_splat(t, memarg, I16X8),
        O::V128Load32Splat { memarg } => load_splat(t, memarg, I32X4),
        O::V128Load64Splat { memarg } => load_splat(t, memarg, I64X2),
        O::V128Load32Zero { memarg } => load_zero(t, memarg, I32X4),
        O::V128Load64Zero { memarg } => load_zero(t, memarg, I64X2),
        O::V128Load8Lane { memarg, lane } => load_lane(t, memarg, I8X16, *lane),
        O::V128Load16Lane { memarg, lane } => load_lane(t, memarg, I16X8, *lane),
        O::V128Load32Lane { memarg, lane } => load_lane(t, memarg, I32X4, *lane),
        O::V128Load64Lane { memarg, lane } => load_lane(t, memarg, I64X2, *lane),
        O::V128Store8Lane { memarg, lane } => store_lane(t, memarg, I8X16, *lane),
        O::V128Store16Lane { memarg, lane } => store_lane(t, memarg, I16X8, *lane),
        O::V128Store32Lane { memarg, lane } => store_lane(t, memarg, I32X4, *lane),
        O::V128Store64Lane { memarg, lane } => store_lane(t, memarg, I64X2, *lane),
        _ => return false,
    }
    true
}

/// Pops an index, and checks an access of `size` bytes.
fn check(t: &mut FunctionTranslator<'_, '_>, memarg: &MemArg, size: u32) -> Checked {
    let index = t.stacks.pop();
    bounds::check(&mut t.environment, &mut t.builder, memarg, index, size as u8)
}

fn load(t: &mut FunctionTranslator<'_, '_>, memarg: &MemArg, ty: Type) -> Value {
    let at = check(t, memarg, ty.bytes());
    let flags = flags(t, &at);
    t.builder.ins().load(ty, flags, at.address, at.offset)
}

fn store(t: &mut FunctionTranslator<'_, '_>, memarg: &MemArg, value: Value) {
    let size = t.builder.func.dfg.value_type(value).bytes();
    let at = check(t, memarg, size);
    let flags = flags(t, &at);
    t.builder.ins().store(flags, value, at.address, at.offset);
}

/// Loads eight bytes, and makes each lane twice as wide.
fn load_extended(t: &mut FunctionTranslator<'_, '_>, memarg: &MemArg, opcode: Opcode, ty: Type) {
    let at = check(t, memarg, 8);
    let flags = flags(t, &at);
    let flags = t.builder.func.dfg.mem_flags.insert_unchecked(flags);
    let (instruction, graph) = t.builder.ins().Load(opcode, I64, flags, at.offset.into(), at.address);
    let value = graph.first_result(instruction);
    debug_assert_eq!(t.builder.func.dfg.value_type(value), ty);
    push(t, value);
}

fn load_splat(t: &mut FunctionTranslator<'_, '_>, memarg: &MemArg, ty: Type) {
    let lane = load(t, memarg, ty.lane_type());
    let value = t.builder.ins().splat(ty, lane);
    push(t, value);
}

/// Loads one lane; the others are zero.
fn load_zero(t: &mut FunctionTranslator<'_, '_>, memarg: &MemArg, ty: Type) {
    let lane = load(t, memarg, ty.lane_type());
    let value = t.builder.ins().scalar_to_vector(ty, lane);
    push(t, value);
}

/// Loads one lane; the others come from the vector on the stack.
fn load_lane(t: &mut FunctionTranslator<'_, '_>, memarg: &MemArg, ty: Type, lane: u8) {
    let vector = t.stacks.pop();
    let value = load(t, memarg, ty.lane_type());
    let vector = cast(&mut t.builder, ty, vector);
    let vector = t.builder.ins().insertlane(vector, value, lane);
    push(t, vector);
}

fn store_lane(t: &mut FunctionTranslator<'_, '_>, memarg: &MemArg, ty: Type, lane: u8) {
    let vector = t.stacks.pop();
    let vector = cast(&mut t.builder, ty, vector);
    let value = t.builder.ins().extractlane(vector, lane);
    store(t, memarg, value);
}
