//! Bulk operations on memories.
//!
//! Programs copy and fill a few dozen bytes far more often than a few thousand, and then finding the memories
//! in a routine takes longer than the bytes. So a range that is inside of its memories and not longer than
//! [`CHUNK`] goes straight to the C library's routine, and is charged for afterwards like any work. Other
//! ranges go to routines of the runtime, which trap, or charge for each chunk.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, TrapCode, Value};
use wasmparser::Operator;

use super::memory::{constant, pop_extended};
use crate::compiler::translate::bounds::{self, Ranges};
use crate::compiler::translate::function::FunctionTranslator;
use crate::environ::vm_layout::{BYTES_PER_REDUCTION, Builtin, CHUNK};

pub(super) fn translate(t: &mut FunctionTranslator<'_, '_>, operator: &Operator<'_>) -> bool {
    match *operator {
        Operator::MemoryCopy { dst_mem, src_mem } => {
            let (target, source, count) = pop3(t);
            let ranges = [(dst_mem, target), (src_mem, source)];
            let Ranges { addresses: [to, from], count: bytes, outside } =
                bounds::check_ranges(&t.environment, &mut t.builder, ranges, count);
            let (dst_mem, src_mem) = (constant(t, dst_mem), constant(t, src_mem));
            let routine = (Builtin::MemoryCopy, &[dst_mem, src_mem, target, source, count][..]);
            short_or_long(t, count, outside, (Builtin::CopyBytes, &[to, from, bytes]), routine);
        }
        Operator::MemoryFill { mem } => {
            let count = pop_extended(t);
            let byte = t.stacks.pop();
            let start = pop_extended(t);
            let Ranges { addresses: [to], count: bytes, outside } =
                bounds::check_ranges(&t.environment, &mut t.builder, [(mem, start)], count);
            let mem = constant(t, mem);
            let routine = (Builtin::MemoryFill, &[mem, start, byte, count][..]);
            short_or_long(t, count, outside, (Builtin::FillBytes, &[to, byte, bytes]), routine);
        }
        Operator::MemoryInit { data_index, mem } => {
            let (target, source, count) = pop3(t);
            let (mem, data_index) = (constant(t, mem), constant(t, data_index));
            checked(t, Builtin::MemoryInit, &[mem, data_index, target, source, count]);
        }
        Operator::DataDrop { data_index } => {
            let segment = constant(t, data_index);
            t.call_builtin(Builtin::DataDrop, &[segment]);
        }
        _ => return false,
    }
    true
}

/// Calls one routine for short ranges that are inside, and another for all others.
fn short_or_long(
    t: &mut FunctionTranslator<'_, '_>,
    count: Value,
    outside: Value,
    (short, short_args): (Builtin, &[Value]),
    (long, long_args): (Builtin, &[Value]),
) {
    let [here, elsewhere, done] = std::array::from_fn(|_| t.builder.create_block());
    t.builder.set_cold_block(elsewhere);
    let is_long = t.builder.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, count, CHUNK as i64);
    let is_other = t.builder.ins().bor(outside, is_long);
    t.builder.ins().brif(is_other, elsewhere, &[], here, &[]);

    t.builder.seal_block(here);
    t.builder.seal_block(elsewhere);

    t.builder.switch_to_block(here);
    t.call_leaf(short, short_args);
    let work = t.builder.ins().ushr_imm_u(count, i64::from(BYTES_PER_REDUCTION.ilog2()));
    t.charge(work);
    t.builder.ins().jump(done, &[]);

    t.builder.switch_to_block(elsewhere);
    checked(t, long, long_args);
    t.builder.ins().jump(done, &[]);
    t.builder.seal_block(done);
    t.builder.switch_to_block(done);
}

fn checked(t: &mut FunctionTranslator<'_, '_>, builtin: Builtin, args: &[Value]) {
    let failed = t.call_builtin(builtin, args).expect("the routine has a result");
    t.builder.ins().trapnz(failed, TrapCode::HEAP_OUT_OF_BOUNDS);
}

fn pop3(t: &mut FunctionTranslator<'_, '_>) -> (Value, Value, Value) {
    let count = pop_extended(t);
    let source = pop_extended(t);
    (pop_extended(t), source, count)
}

const _: () = assert!(BYTES_PER_REDUCTION.is_power_of_two());
