//! Places the compiled functions of a module one behind the other, and resolves the references between them.
//!
//! References between functions are relative, and resolved here. Numbers that only the loading process knows
//! are left open: see [`Fixup`].

use cranelift_codegen::binemit::Reloc;

use super::compiled_function::{CompiledFunction, Relocation, Target};
use crate::environ::artifact::{Artifact, Fixup, FixupValue};
use crate::environ::error::{CompileError, unsupported};
use crate::environ::tables::TableBuilder;

/// Functions begin at half of a cache line, so that the alignment of a hot loop does not depend on other
/// functions.
const FUNCTION_ALIGNMENT: u32 = 32;

/// The largest native code of a module in bytes. On x86-64 a call reaches 2 GiB, and offsets have 32 bits. On
/// aarch64 a call reaches 128 MiB, and there is no other kind of call.
pub(crate) const MAX_CODE: usize = if cfg!(target_arch = "aarch64") { 127 << 20 } else { 1 << 30 };

/// Links compiled functions, which refer to each other by their index.
pub(crate) fn link(functions: &[CompiledFunction]) -> Result<Artifact, CompileError> {
    let (starts, size) = place(functions);
    // Before memory for the code is allocated.
    if size > MAX_CODE {
        return Err(unsupported(&format!("a module of more than {MAX_CODE} bytes of native code"), 0));
    }
    let mut tables = TableBuilder::default();
    functions.iter().zip(&starts).for_each(|(function, &start)| tables.push(start, function.tables()));
    let mut code = vec![0; size];
    let mut fixups = Vec::new();
    for (function, &start) in functions.iter().zip(&starts) {
        code[start as usize..][..function.bytes.len()].copy_from_slice(&function.bytes);
        for relocation in &function.relocations {
            let done = resolve(&mut code, &starts, start, relocation, &mut fixups);
            done.ok_or_else(|| {
                CompileError::Codegen(format!(
                    "a relocation of kind {:?} cannot be resolved",
                    relocation.kind
                ))
            })?;
        }
    }
    Ok(Artifact { code, tables: tables.bytes(), counts: tables.counts(), fixups })
}

/// Returns where each function starts, and the size of all.
fn place(functions: &[CompiledFunction]) -> (Vec<u32>, usize) {
    let mut end: usize = 0;
    let mut starts = Vec::with_capacity(functions.len());
    for function in functions {
        let start = end.next_multiple_of(FUNCTION_ALIGNMENT.max(function.alignment) as usize);
        // Too large a module is refused as a whole, so a truncated start is never used.
        starts.push(start as u32);
        end = start + function.bytes.len();
    }
    (starts, end)
}

/// Resolves a relocation of the function at `start`, or leaves a fixup. Returns `None` if the kind of
/// relocation is not known, or if it does not reach its target.
fn resolve(
    code: &mut [u8],
    starts: &[u32],
    start: u32,
    relocation: &Relocation,
    fixups: &mut Vec<Fixup>,
) -> Option<()> {
    let at = start.checked_add(relocation.offset)?;
    let target = match relocation.target {
        Target::Function(function) => *starts.get(function as usize)?,
        Target::Own(offset) => start + offset,
        Target::Routine(routine) => return fix_later(fixups, at, relocation, FixupValue::Routine(routine)),
        Target::TypeNumber(ty) => return fix_later(fixups, at, relocation, FixupValue::TypeNumber(ty)),
    };
    let distance = i64::from(target) + relocation.addend - i64::from(at);
    let field = code.get_mut(at as usize..)?.first_chunk_mut::<4>()?;
    *field = match relocation.kind {
        Reloc::X86PCRel4 | Reloc::X86CallPCRel4 => i32::try_from(distance).ok()?.to_le_bytes(),
        Reloc::Arm64Call => branch_of_26_bits(*field, distance)?,
        _ => return None,
    };
    Some(())
}

fn fix_later(fixups: &mut Vec<Fixup>, at: u32, relocation: &Relocation, value: FixupValue) -> Option<()> {
    let is_known = relocation.kind == Reloc::Abs8 && relocation.addend == 0;
    is_known.then(|| fixups.push(Fixup { offset: at, value }))
}

/// Returns the instruction with its target set: a distance in words, in the lowest 26 bits.
fn branch_of_26_bits(instruction: [u8; 4], distance: i64) -> Option<[u8; 4]> {
    let words = distance >> 2;
    let reaches = (-(1 << 25)..1 << 25).contains(&words) && distance.trailing_zeros() >= 2;
    let bits = u32::from_le_bytes(instruction) & !0x03ff_ffff | words as u32 & 0x03ff_ffff;
    reaches.then(|| bits.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aarch64_branches_reach_128_mebibytes_both_ways() {
        let call = 0x9400_0000u32.to_le_bytes();
        assert_eq!(branch_of_26_bits(call, 8), Some(0x9400_0002u32.to_le_bytes()));
        assert_eq!(branch_of_26_bits(call, -4), Some(0x97ff_ffffu32.to_le_bytes()));
        assert!(branch_of_26_bits(call, (1 << 27) - 4).is_some());
        assert!(branch_of_26_bits(call, -(1 << 27)).is_some());
        assert_eq!(branch_of_26_bits(call, 1 << 27), None);
        assert_eq!(branch_of_26_bits(call, 2), None);
    }
}
