//! A compiled function or trampoline, not placed yet.

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{ExternalName, Function, LibCall};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{CodegenError, Context, FinalizedMachReloc, FinalizedRelocTarget};

use super::translate::trap_code;
use crate::environ::routine::Routine;
use crate::environ::tables::FunctionTables;
use crate::environ::trap_code::TrapCode;

/// The namespace of symbols whose value is the number of a type. The symbols of namespace 0 are compiled
/// functions.
pub(crate) const TYPE_SYMBOLS: u32 = 1;

/// The code of a function, and what the linker needs.
pub(crate) struct CompiledFunction {
    pub(super) bytes: Vec<u8>,
    pub(super) alignment: u32,
    pub(super) relocations: Vec<Relocation>,
    pub(super) traps: Vec<(u32, TrapCode)>,
    /// Pairs of a code offset and a source offset, sorted.
    pub(super) sources: Vec<(u32, u32)>,
    /// The bytes of stack that a call takes, below what the caller has pushed.
    pub(crate) frame: u32,
}

/// A reference to something outside of the function.
pub(super) struct Relocation {
    pub(super) offset: u32,
    pub(super) kind: Reloc,
    pub(super) target: Target,
    pub(super) addend: i64,
}

/// What a relocation refers to.
pub(super) enum Target {
    /// Another compiled function, by its index.
    Function(u32),
    /// An offset in this function.
    Own(u32),
    Routine(Routine),
    /// The number of a type of the module.
    TypeNumber(u32),
}

impl CompiledFunction {
    /// Generates the code of the function in the context.
    pub(crate) fn generate(
        isa: &dyn TargetIsa,
        context: &mut Context,
    ) -> Result<CompiledFunction, CodegenError> {
        context.compile(isa, &mut ControlPlane::default()).map_err(|error| error.inner)?;
        let compiled = context.compiled_code().expect("the function was just compiled");
        let source = |location: &cranelift_codegen::MachSrcLoc<cranelift_codegen::Final>| {
            (!location.loc.is_default()).then(|| (location.start, location.loc.bits()))
        };
        let frame = compiled.buffer.frame_layout().map_or(0, |frame| frame.frame_to_fp_offset);
        let relocations = compiled.buffer.relocs().iter().map(|found| relocation(&context.func, found));
        Ok(CompiledFunction {
            bytes: compiled.code_buffer().to_vec(),
            alignment: compiled.buffer.alignment,
            relocations: relocations.collect::<Result<_, _>>()?,
            traps: compiled.buffer.traps().iter().map(|trap| (trap.offset, trap_code(trap.code))).collect(),
            sources: compiled.buffer.get_srclocs_sorted().iter().filter_map(source).collect(),
            frame,
        })
    }

    /// Returns the function's entries for the tables of its module.
    pub(super) fn tables(&self) -> FunctionTables<'_> {
        FunctionTables { size: self.bytes.len(), traps: &self.traps, sources: &self.sources }
    }

    /// Returns the bytes of code.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }
}

fn relocation(function: &Function, found: &FinalizedMachReloc) -> Result<Relocation, CodegenError> {
    let target = match &found.target {
        FinalizedRelocTarget::Func(offset) => Target::Own(*offset),
        FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => {
            let name = &function.params.user_named_funcs()[*name];
            if name.namespace == TYPE_SYMBOLS {
                Target::TypeNumber(name.index)
            } else {
                Target::Function(name.index)
            }
        }
        FinalizedRelocTarget::ExternalName(ExternalName::LibCall(call)) => {
            let unknown = || CodegenError::Unsupported(format!("the library routine {call}"));
            Target::Routine(routine_for(*call).ok_or_else(unknown)?)
        }
        FinalizedRelocTarget::ExternalName(other) => {
            return Err(CodegenError::Unsupported(format!("a reference to {other:?}")));
        }
    };
    Ok(Relocation { offset: found.offset, kind: found.kind, target, addend: found.addend })
}

/// Returns the routine that replaces a library call of Cranelift, if there is one.
fn routine_for(call: LibCall) -> Option<Routine> {
    Some(match call {
        LibCall::CeilF32 => Routine::CeilF32,
        LibCall::CeilF64 => Routine::CeilF64,
        LibCall::FloorF32 => Routine::FloorF32,
        LibCall::FloorF64 => Routine::FloorF64,
        LibCall::TruncF32 => Routine::TruncF32,
        LibCall::TruncF64 => Routine::TruncF64,
        LibCall::NearestF32 => Routine::NearestF32,
        LibCall::NearestF64 => Routine::NearestF64,
        _ => return None,
    })
}
