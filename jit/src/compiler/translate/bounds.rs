//! Checks every access to linear memory. This file guards the sandbox: nothing else computes an address in a
//! memory.
//!
//! An access of `size` bytes at `index + offset` is allowed if `index + offset + size <= length`, computed in
//! 64 bits without wrapping: `index` and `offset` are below 2³², and `size` is at most 16.
//!
//! **A pooled memory** shares a mapping with others, without a guard between them, so the check is explicit:
//! a comparison and a trap. If the memory is at least `offset + size` bytes long from the start, `index >
//! length - (offset + size)` is equivalent, because memories never shrink. The right side is the same for all
//! indices, so a loop keeps it in a register. An access whose index was checked for as many bytes on every
//! path is not checked again ([`CheckedIndices`]). In untrusted code the address itself depends on the
//! comparison, by a conditional move, which processors do not predict: outside of the memory, it is an
//! address in the first page, which is never mapped.
//!
//! **A reserved memory** is the beginning of a reservation of [`RESERVATION`] bytes, of which only the memory
//! is accessible. An index and an offset below [`GUARD`] cannot leave the reservation, so the access needs no
//! check: it faults. Larger offsets are checked as above.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, TrapCode, Value, types};
use cranelift_frontend::FunctionBuilder;
use wasmparser::MemArg;

use super::environment::{Environment, MemoryValues};
use crate::environ::vm_layout::{GUARD, PAGE, RESERVATION};

/// The size of the largest access in bytes.
const MAX_SIZE: u64 = 16;

const _: () = assert!(RESERVATION >= (1 << 32) + GUARD, "every index and every unchecked access fit");

/// The checks that are remembered at a time. Only the latest are useful, and the search is linear.
const MAX_KNOWN: usize = 16;

/// An address that has passed the check, and the rest of the offset, which fits the instruction.
pub(crate) struct Checked {
    pub(crate) address: Value,
    pub(crate) offset: i32,
    /// Whether the access itself is the check, and may fault.
    pub(crate) faults: bool,
}

/// The indices that were checked on every path to the current position, and for how many bytes. What is known
/// stays true: an SSA value does not change, and a memory does not shrink.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckedIndices(Vec<(u32, Value, u64)>);

impl CheckedIndices {
    fn contains(&self, memory: u32, index: Value, bytes: u64) -> bool {
        self.0.iter().any(|&(m, value, known)| m == memory && value == index && known >= bytes)
    }

    fn add(&mut self, memory: u32, index: Value, bytes: u64) {
        self.0.retain(|&(m, value, _)| m != memory || value != index);
        if self.0.len() == MAX_KNOWN {
            self.0.remove(0);
        }
        self.0.push((memory, index, bytes));
    }
}

/// Checks an access of `size` bytes: returns its address, or traps.
pub(crate) fn check(
    environment: &mut Environment<'_>,
    builder: &mut FunctionBuilder<'_>,
    memarg: &MemArg,
    index: Value,
    size: u8,
) -> Checked {
    let wasmparser::MemArgTarget::Memory(memory) = memarg.target else {
        unreachable!("garbage-collected arrays are refused by the validator")
    };
    debug_assert!(u64::from(size) <= MAX_SIZE);
    let MemoryValues { base, length } = environment.memory(builder, memory);
    // Cannot overflow: a 32-bit index, a 32-bit offset and a size of at most 16 are below 2³³ + 16.
    let bytes = memarg.offset + u64::from(size);
    let wide = builder.ins().uextend(types::I64, index);
    let address = builder.ins().iadd(base, wide);
    if environment.module.is_reserved() && bytes <= GUARD {
        return with_offset(builder, address, memarg.offset, true);
    }
    if environment.known.contains(memory, index, bytes) {
        return with_offset(builder, address, memarg.offset, false);
    }
    let outside = is_outside(environment, builder, memory, wide, bytes, length);
    if environment.module.options.untrusted {
        let Checked { address, offset, .. } = with_offset(builder, address, memarg.offset, true);
        let address = builder.ins().iadd_imm_u(address, i64::from(offset));
        let null = builder.ins().iconst(types::I64, 0);
        let address = builder.ins().select_spectre_guard(outside, null, address);
        return Checked { address, offset: 0, faults: true };
    }
    builder.ins().trapnz(outside, TrapCode::HEAP_OUT_OF_BOUNDS);
    environment.known.add(memory, index, bytes);
    with_offset(builder, address, memarg.offset, false)
}

/// The addresses of ranges of `count` bytes that begin at given indices of memories. They may be used only if
/// `outside` is zero, which means that all ranges are inside of their memories.
pub(crate) struct Ranges<const N: usize> {
    pub(crate) addresses: [Value; N],
    pub(crate) count: Value,
    pub(crate) outside: Value,
}

/// Checks ranges. Indices and the count have 32 bits, extended to 64. In untrusted code, speculation on
/// ranges that are not inside uses an empty range at address 0.
pub(crate) fn check_ranges<const N: usize>(
    environment: &Environment<'_>,
    builder: &mut FunctionBuilder<'_>,
    ranges: [(u32, Value); N],
    count: Value,
) -> Ranges<N> {
    let mut outside = None;
    let addresses = ranges.map(|(memory, index)| {
        let MemoryValues { base, length } = environment.memory(builder, memory);
        let end = builder.ins().iadd(index, count);
        let beyond = builder.ins().icmp(IntCC::UnsignedGreaterThan, end, length);
        outside = Some(outside.map_or(beyond, |others| builder.ins().bor(others, beyond)));
        builder.ins().iadd(base, index)
    });
    let outside = outside.unwrap_or_else(|| builder.ins().iconst(types::I8, 0));
    if !environment.module.options.untrusted {
        return Ranges { addresses, count, outside };
    }
    let nothing = builder.ins().iconst(types::I64, 0);
    let mut masked = |value| builder.ins().select_spectre_guard(outside, nothing, value);
    Ranges { addresses: addresses.map(&mut masked), count: masked(count), outside }
}

/// Computes whether `index + bytes` is beyond the length.
fn is_outside(
    environment: &Environment<'_>,
    builder: &mut FunctionBuilder<'_>,
    memory: u32,
    index: Value,
    bytes: u64,
    length: Value,
) -> Value {
    if bytes <= environment.module.info.memories[memory as usize].min.saturating_mul(PAGE) {
        let last = builder.ins().iadd_imm_s(length, -(bytes as i64));
        return builder.ins().icmp(IntCC::UnsignedGreaterThan, index, last);
    }
    let end = builder.ins().iadd_imm_u(index, bytes as i64);
    builder.ins().icmp(IntCC::UnsignedGreaterThan, end, length)
}

fn with_offset(builder: &mut FunctionBuilder<'_>, address: Value, offset: u64, faults: bool) -> Checked {
    match i32::try_from(offset) {
        Ok(offset) => Checked { address, offset, faults },
        Err(_) => Checked { address: builder.ins().iadd_imm_u(address, offset as i64), offset: 0, faults },
    }
}
