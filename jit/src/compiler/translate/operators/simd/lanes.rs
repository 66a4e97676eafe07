//! Creation of vectors, and access to their lanes.

use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, types};
use wasmparser::Operator;

use super::{binary, constant, pop, pop2, push};
use crate::compiler::translate::function::FunctionTranslator;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    use Operator as O;
    match *operator {
        O::V128Const { value } => {
            let value = constant(&mut t.builder, I8X16, value.bytes());
            t.stacks.push(value);
        }
        O::I8x16Splat => splat(t, I8X16),
        O::I16x8Splat => splat(t, I16X8),
        O::I32x4Splat => splat(t, I32X4),
        O::I64x2Splat => splat(t, I64X2),
        O::F32x4Splat => splat(t, F32X4),
        O::F64x2Splat => splat(t, F64X2),
        O::I8x16ExtractLaneS { lane } => extract_narrow(t, I8X16, lane, Opcode::Sextend),
        O::I8x16ExtractLaneU { lane } => extract_narrow(t, I8X16, lane, Opcode::Uextend),
        O::I16x8ExtractLaneS { lane } => extract_narrow(t, I16X8, lane, Opcode::Sextend),
        O::I16x8ExtractLaneU { lane } => extract_narrow(t, I16X8, lane, Opcode::Uextend),
        O::I32x4ExtractLane { lane } => extract(t, I32X4, lane),
        O::I64x2ExtractLane { lane } => extract(t, I64X2, lane),
        O::F32x4ExtractLane { lane } => extract(t, F32X4, lane),
        O::F64x2ExtractLane { lane } => extract(t, F64X2, lane),
        O::I8x16ReplaceLane { lane } => replace(t, I8X16, lane),
        O::I16x8ReplaceLane { lane } => replace(t, I16X8, lane),
        O::I32x4ReplaceLane { lane } => replace(t, I32X4, lane),
        O::I64x2ReplaceLane { lane } => replace(t, I64X2, lane),
        O::F32x4ReplaceLane { lane } => replace(t, F32X4, lane),
        O::F64x2ReplaceLane { lane } => replace(t, F64X2, lane),
        O::I8x16Swizzle => binary(t, (I8X16, Opcode::Swizzle)),
        O::I8x16Shuffle { lanes } => {
            let (left, right) = pop2(t, I8X16);
            let lanes = t.builder.func.dfg.immediates.push(lanes.as_slice().into());
            let value = t.builder.ins().shuffle(left, right, lanes);
            t.stacks.push(value);
        }
        _ => return false,
    }
    true
}

/// Pops a number for a lane. Lanes narrower than the numbers of WebAssembly get the lowest bits of an `i32`.
fn pop_lane(t: &mut FunctionTranslator<'_, '_>, ty: Type) -> cranelift_codegen::ir::Value {
    let value = t.stacks.pop();
    match ty.lane_type() {
        narrow @ (types::I8 | types::I16) => t.builder.ins().ireduce(narrow, value),
        _ => value,
    }
}

fn splat(t: &mut FunctionTranslator<'_, '_>, ty: Type) {
    let lane = pop_lane(t, ty);
    let value = t.builder.ins().splat(ty, lane);
    push(t, value);
}

fn extract(t: &mut FunctionTranslator<'_, '_>, ty: Type, lane: u8) {
    let vector = pop(t, ty);
    let value = t.builder.ins().extractlane(vector, lane);
    t.stacks.push(value);
}

fn extract_narrow(t: &mut FunctionTranslator<'_, '_>, ty: Type, lane: u8, extend: Opcode) {
    extract(t, ty, lane);
    let value = t.stacks.pop();
    let (instruction, graph) = t.builder.ins().Unary(extend, types::I32, value);
    let value = graph.first_result(instruction);
    t.stacks.push(value);
}

fn replace(t: &mut FunctionTranslator<'_, '_>, ty: Type, lane: u8) {
    let value = pop_lane(t, ty);
    let vector = pop(t, ty);
    let result = t.builder.ins().insertlane(vector, value, lane);
    push(t, result);
}
