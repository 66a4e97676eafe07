//! The guard of every access to linear memory. This file is the sandbox: nothing else computes such an address.
//!
//! An access of `size` bytes at `index + offset` is allowed if `index + offset + size <= length`, all in 64 bits
//! without wrap-around: `index` is below 2³², `offset` too, `size` is at most 16. The check is explicit, a
//! compare and a trap, because the memories of many small processes share a mapping with no guard between them.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, TrapCode, Value, types};
use cranelift_frontend::FunctionBuilder;
use wasmparser::MemArg;

use super::environment::{Environment, MemoryValues};

/// An address that has passed the check, with the rest of the offset that fits the instruction.
pub(crate) struct Checked {
    pub(crate) address: Value,
    pub(crate) offset: i32,
}

/// Checks an access of `size` bytes and returns its address, or traps.
pub(crate) fn check(
    environment: &Environment<'_>,
    builder: &mut FunctionBuilder<'_>,
    memarg: &MemArg,
    index: Value,
    size: u8,
) -> Checked {
    let wasmparser::MemArgTarget::Memory(memory) = memarg.target else {
        unreachable!("garbage-collected arrays are refused by the validator")
    };
    let MemoryValues { base, length } = environment.memory(builder, memory);
    let index = builder.ins().uextend(types::I64, index);
    // No overflow: a 32-bit index, a 32-bit offset and a size of at most 16 stay below 2³³ + 16.
    let end = builder.ins().iadd_imm_u(index, memarg.offset as i64 + i64::from(size));
    let outside = builder.ins().icmp(IntCC::UnsignedGreaterThan, end, length);
    builder.ins().trapnz(outside, TrapCode::HEAP_OUT_OF_BOUNDS);
    let address = builder.ins().iadd(base, index);
    match i32::try_from(memarg.offset) {
        Ok(offset) => Checked { address, offset },
        Err(_) => Checked { address: builder.ins().iadd_imm_u(address, memarg.offset as i64), offset: 0 },
    }
}
