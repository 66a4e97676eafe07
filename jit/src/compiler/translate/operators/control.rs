//! Blocks, loops, conditionals, branches, returns.

use std::collections::HashMap;

use cranelift_codegen::ir::{Block, InstBuilder, JumpTableData, Value};
use wasmparser::{BlockType, BrTable, Operator};

use crate::compiler::translate::function::FunctionTranslator;
use crate::compiler::translate::stack::{Frame, FrameKind};
use crate::compiler::translate::{clif_type, trap};
use crate::environ::value::ValType;

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    match operator {
        Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } if t.stacks.unreachable => {
            t.stacks.skipped += 1;
        }
        Operator::Else if t.stacks.skipped > 0 => {}
        Operator::End if t.stacks.skipped > 0 => t.stacks.skipped -= 1,
        Operator::Else => begin_else(t),
        Operator::End => end(t),
        _ if t.stacks.unreachable => return false,
        Operator::Block { blockty } => {
            push_frame(t, *blockty, FrameKind::Block);
        }
        Operator::Loop { blockty } => begin_loop(t, *blockty),
        Operator::If { blockty } => begin_if(t, *blockty),
        Operator::Br { relative_depth } => branch(t, *relative_depth),
        Operator::BrIf { relative_depth } => branch_if(t, *relative_depth),
        Operator::BrTable { targets } => branch_table(t, targets),
        Operator::Return => {
            let results = t.stacks.frames[0].results;
            t.return_top(results);
            t.stacks.unreachable = true;
        }
        Operator::Unreachable => {
            t.builder.ins().trap(trap::UNREACHABLE);
            t.stacks.unreachable = true;
        }
        Operator::Nop => {}
        _ => return false,
    }
    true
}

/// Returns the parameter and result types of a construct.
fn block_types(t: &FunctionTranslator<'_, '_>, ty: BlockType) -> (Vec<ValType>, Vec<ValType>) {
    match ty {
        BlockType::Empty => (vec![], vec![]),
        BlockType::Type(ty) => {
            let ty = crate::environ::module_info::val_type(ty, 0)
                .expect("an unsupported type is refused with its section");
            (vec![], vec![ty])
        }
        BlockType::FuncType(index) => {
            let ty = &t.environment.module.info.types[index as usize];
            (ty.params.to_vec(), ty.results.to_vec())
        }
    }
}

fn push_frame(t: &mut FunctionTranslator<'_, '_>, ty: BlockType, kind: FrameKind) -> Vec<ValType> {
    let (params, results) = block_types(t, ty);
    let exit = t.builder.create_block();
    for &ty in &results {
        t.builder.append_block_param(exit, clif_type(ty));
    }
    t.stacks.frames.push(Frame {
        kind,
        exit,
        params: params.len(),
        results: results.len(),
        height: t.stacks.values.len() - params.len(),
        exit_used: false,
        known: t.environment.known.clone(),
    });
    params
}

fn begin_loop(t: &mut FunctionTranslator<'_, '_>, ty: BlockType) {
    let header = t.builder.create_block();
    let params = push_frame(t, ty, FrameKind::Loop { header });
    for &ty in &params {
        t.builder.append_block_param(header, clif_type(ty));
    }
    t.stacks.jump(&mut t.builder, header, params.len());
    t.stacks.drop_top(params.len());
    t.builder.switch_to_block(header);
    let values = t.builder.block_params(header).to_vec();
    t.stacks.values.extend(values);
}

fn begin_if(t: &mut FunctionTranslator<'_, '_>, ty: BlockType) {
    let condition = t.stacks.pop();
    let then = t.builder.create_block();
    let otherwise = t.builder.create_block();
    t.builder.ins().brif(condition, then, &[], otherwise, &[]);
    t.builder.seal_block(then);
    t.builder.seal_block(otherwise);
    t.builder.switch_to_block(then);
    let params = push_frame(t, ty, FrameKind::If { otherwise: None }).len();
    let values = t.stacks.top(params).to_vec();
    t.stacks.frame(0).kind = FrameKind::If { otherwise: Some((otherwise, values)) };
}

fn begin_else(t: &mut FunctionTranslator<'_, '_>) {
    if !t.stacks.unreachable {
        jump_to_exit(t);
    }
    let frame = t.stacks.frame(0);
    let FrameKind::If { otherwise } = &mut frame.kind else { unreachable!("the code is validated") };
    let (block, params) = otherwise.take().expect("the code is validated: one else");
    let height = frame.height;
    t.environment.known = frame.known.clone();
    t.stacks.values.truncate(height);
    t.stacks.values.extend(params);
    t.builder.switch_to_block(block);
    t.stacks.unreachable = false;
}

fn jump_to_exit(t: &mut FunctionTranslator<'_, '_>) {
    let frame = t.stacks.frame(0);
    frame.exit_used = true;
    let (exit, results) = (frame.exit, frame.results);
    t.stacks.jump(&mut t.builder, exit, results);
}

fn end(t: &mut FunctionTranslator<'_, '_>) {
    if !t.stacks.unreachable {
        jump_to_exit(t);
    }
    let mut frame = t.stacks.frames.pop().expect("the code is validated");
    t.environment.known = std::mem::take(&mut frame.known);
    t.stacks.values.truncate(frame.height);
    match frame.kind {
        FrameKind::If { otherwise: Some((block, params)) } => {
            t.builder.switch_to_block(block);
            t.stacks.values.extend(params);
            t.stacks.jump(&mut t.builder, frame.exit, frame.results);
            t.stacks.values.truncate(frame.height);
            frame.exit_used = true;
        }
        FrameKind::Loop { header } => t.builder.seal_block(header),
        _ => {}
    }
    t.stacks.unreachable = !frame.exit_used;
    if frame.exit_used {
        t.builder.switch_to_block(frame.exit);
        t.builder.seal_block(frame.exit);
        let values = t.builder.block_params(frame.exit).to_vec();
        t.stacks.values.extend(values);
        if t.stacks.frames.is_empty() {
            t.return_top(frame.results);
        }
    }
}

fn branch(t: &mut FunctionTranslator<'_, '_>, depth: u32) {
    let frame = t.stacks.frame(depth);
    let (target, arity) = (frame.branch_target(), frame.branch_arity());
    t.stacks.jump(&mut t.builder, target, arity);
    t.stacks.unreachable = true;
}

fn branch_if(t: &mut FunctionTranslator<'_, '_>, depth: u32) {
    let condition = t.stacks.pop();
    let frame = t.stacks.frame(depth);
    let (target, arity) = (frame.branch_target(), frame.branch_arity());
    let next = t.builder.create_block();
    let args = t.branch_args(arity);
    t.builder.ins().brif(condition, target, &args, next, &[]);
    t.builder.seal_block(next);
    t.builder.switch_to_block(next);
}

/// Targets that take values get a block of their own that passes them on, one for each depth: in the table,
/// the values would be repeated for each of up to millions of entries.
fn branch_table(t: &mut FunctionTranslator<'_, '_>, targets: &BrTable<'_>) {
    let selector: Value = t.stacks.pop();
    let arity = t.stacks.frame(targets.default()).branch_arity();
    let mut sides = HashMap::new();
    let mut target = |t: &mut FunctionTranslator<'_, '_>, depth: u32| {
        let target = match arity {
            0 => t.stacks.frame(depth).branch_target(),
            _ => *sides.entry(depth).or_insert_with(|| t.builder.create_block()),
        };
        t.builder.func.dfg.block_call(target, &[])
    };
    let default = target(t, targets.default());
    let table: Vec<_> =
        targets.targets().map(|depth| target(t, depth.expect("the code is validated"))).collect();
    let table = t.builder.create_jump_table(JumpTableData::new(default, &table));
    t.builder.ins().br_table(selector, table);
    for (depth, side) in in_order(sides) {
        t.builder.switch_to_block(side);
        t.builder.seal_block(side);
        branch(t, depth);
    }
    t.stacks.unreachable = true;
}

/// Sorts the blocks, so that the same module gives the same code.
fn in_order(sides: HashMap<u32, Block>) -> Vec<(u32, Block)> {
    let mut sides: Vec<_> = sides.into_iter().collect();
    sides.sort_unstable_by_key(|side| side.0);
    sides
}
