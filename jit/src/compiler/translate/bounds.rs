//! The guard of every access to linear memory. This file is the sandbox: nothing else computes such an address.
//!
//! An access of `size` bytes at `index + offset` is allowed if `index + offset + size <= length`, all in 64 bits
//! without wrap-around: `index` is below 2³², `offset` too, `size` is at most 16.
//!
//! **A pooled memory** shares a mapping with others, with no guard between them, so the check is explicit: a compare
//! and a trap. Where the memory is at least `offset + size` bytes long from the start, and memories never shrink,
//! `index > length - (offset + size)` says the same: its right side is the same for all indices, so that loops keep
//! it in a register. An access whose index has been checked for as many bytes, on every way here, is not checked
//! again ([`CheckedIndices`]). In untrusted code the address itself depends on the comparison (a conditional move that no
//! processor predicts), and becomes one of the first page, which is never mapped.
//!
//! **A reserved memory** begins a reservation of [`RESERVATION`] bytes, of which only its own are accessible. An index
//! and an offset below [`GUARD`] cannot get beyond that, so the access is made and faults. Larger offsets are checked
//! as above.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, TrapCode, Value, types};
use cranelift_frontend::FunctionBuilder;
use wasmparser::MemArg;

use super::environment::{Environment, MemoryValues};
use crate::environ::vm_layout::{GUARD, PAGE, RESERVATION};

/// The largest access in bytes.
const MAX_SIZE: u64 = 16;

const _: () = assert!(RESERVATION >= (1 << 32) + GUARD, "every index and every unchecked access fit");

/// Checks that are remembered at a time. Only the latest are worth it, and looking them up is linear.
const MAX_KNOWN: usize = 16;

/// An address that has passed the check, with the rest of the offset that fits the instruction.
pub(crate) struct Checked {
    pub(crate) address: Value,
    pub(crate) offset: i32,
    /// Whether the access itself is the check, and faults.
    pub(crate) faults: bool,
}

/// Which indices have been checked on every way to the present place, and for how many bytes after them. It stays
/// true whatever runs in between, since a value of SSA does not change and a memory does not shrink.
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

/// Checks an access of `size` bytes and returns its address, or traps.
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
    // No overflow: a 32-bit index, a 32-bit offset and a size of at most 16 stay below 2³³ + 16.
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

/// The addresses of ranges of `count` bytes that begin at the given indices of memories, to be used only where `outside`
/// is zero: all ranges are inside of their memories then.
pub(crate) struct Ranges<const N: usize> {
    pub(crate) addresses: [Value; N],
    pub(crate) count: Value,
    pub(crate) outside: Value,
}

/// Checks ranges; indices and the count are 32 bits wide, extended to 64. In untrusted code, what is speculated about
/// ranges that are not inside is about none, at address 0.
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

/// Whether `index + bytes` is beyond the length.
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
