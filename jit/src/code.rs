//! Native code: what the compiler gives back, and how it lies in memory.
//!
//! A [`CodeImage`] is one mapping per module, written once, then made executable and never written again
//! (W^X). It owns the mapping: with the last reference to the module the code is gone. The maps from a pc to a
//! function, a trap or a source offset are plain sorted vectors that never change, so a fault handler may read
//! them; whoever runs code of the module holds a reference to it.

use std::io;
use std::sync::Arc;

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{Signature, TrapCode};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::{CodegenError, Context};
use cranelift_jit::{BranchProtection, JITBuilder, JITMemoryKind, JITMemoryProvider, JITModule};
use cranelift_module::{FuncId, Module as _, ModuleReloc, ModuleResult, default_libcall_names};

use crate::error::CompileError;
use crate::shape::unsupported;
use crate::sys::Mapping;

/// Functions start at a cache line's half, so that the alignment of a hot loop does not depend on its neighbours.
const FUNCTION_ALIGNMENT: usize = 32;

/// Bytes of native code that a module may have: a call reaches 2 GiB, and offsets in it are 32 bits.
const MAX_CODE: usize = 1 << 30;

/// One compiled function or trampoline, not yet placed.
pub(crate) struct CompiledCode {
    bytes: Vec<u8>,
    alignment: u32,
    relocations: Vec<ModuleReloc>,
    traps: Vec<(u32, TrapCode)>,
    /// Code offset and source offset, sorted.
    sources: Vec<(u32, u32)>,
}

impl CompiledCode {
    /// Generates the code of the function in the context.
    pub(crate) fn generate(
        isa: &dyn cranelift_codegen::isa::TargetIsa,
        context: &mut Context,
    ) -> Result<CompiledCode, CodegenError> {
        context.compile(isa, &mut ControlPlane::default()).map_err(|error| error.inner)?;
        let compiled = context.compiled_code().expect("it has just been compiled");
        // The function's own id matters only to relocations into itself, which the assembler rewrites.
        let own = FuncId::from_u32(0);
        let relocation = |reloc| ModuleReloc::from_mach_reloc(reloc, &context.func, own);
        let source = |location: &cranelift_codegen::MachSrcLoc<cranelift_codegen::Final>| {
            (!location.loc.is_default()).then(|| (location.start, location.loc.bits()))
        };
        Ok(CompiledCode {
            bytes: compiled.code_buffer().to_vec(),
            alignment: compiled.buffer.alignment,
            relocations: compiled.buffer.relocs().iter().map(relocation).collect(),
            traps: compiled.buffer.traps().iter().map(|trap| (trap.offset, trap.code)).collect(),
            sources: compiled.buffer.get_srclocs_sorted().iter().filter_map(source).collect(),
        })
    }
}

/// The executable code of a module.
#[derive(Debug)]
pub(crate) struct CodeImage {
    mapping: Arc<Mapping>,
    /// Start and end of each piece of code, in definition order.
    pieces: Vec<(u32, u32)>,
    traps: Vec<(u32, TrapCode)>,
    sources: Vec<(u32, u32)>,
}

impl CodeImage {
    /// Places the code; relocations refer to pieces by their index.
    pub(crate) fn assemble(isa: OwnedTargetIsa, pieces: &[CompiledCode]) -> Result<CodeImage, CompileError> {
        let failed = |what: String| CompileError::Codegen(what);
        let room: usize = pieces.iter().map(room_for).sum();
        if room > MAX_CODE {
            return Err(unsupported(&format!("a module of more than {MAX_CODE} bytes of native code"), 0));
        }
        let mapping = Arc::new(Mapping::new(room.max(1)).map_err(|e| failed(e.to_string()))?);
        let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
        builder.memory_provider(Box::new(CodeMemory { mapping: mapping.clone(), used: 0 }));
        let mut jit = JITModule::new(builder);

        let signature = Signature::new(super::translate::GUEST_CONVENTION);
        let mut ids = Vec::with_capacity(pieces.len());
        for _ in pieces {
            ids.push(jit.declare_anonymous_function(&signature).map_err(|e| failed(e.to_string()))?);
        }
        for (&id, piece) in ids.iter().zip(pieces) {
            let alignment = u64::from(piece.alignment).max(FUNCTION_ALIGNMENT as u64);
            let mut relocations = piece.relocations.clone();
            own_relocations(&mut relocations, id);
            jit.define_function_bytes(id, alignment, &piece.bytes, &relocations)
                .map_err(|e| failed(e.to_string()))?;
        }
        jit.finalize_definitions().map_err(|e| failed(e.to_string()))?;

        let base = mapping.address();
        let starts = ids.iter().map(|&id| (jit.get_finalized_function(id) as usize - base) as u32);
        let starts: Vec<u32> = starts.collect();
        Ok(CodeImage::index(mapping, &starts, pieces))
    }

    fn index(mapping: Arc<Mapping>, starts: &[u32], pieces: &[CompiledCode]) -> CodeImage {
        let mut image = CodeImage { mapping, pieces: Vec::new(), traps: Vec::new(), sources: Vec::new() };
        for (&start, piece) in starts.iter().zip(pieces) {
            image.pieces.push((start, start + piece.bytes.len() as u32));
            image.traps.extend(piece.traps.iter().map(|&(offset, code)| (start + offset, code)));
            image.sources.extend(piece.sources.iter().map(|&(offset, source)| (start + offset, source)));
        }
        debug_assert!(image.traps.is_sorted_by_key(|trap| trap.0), "pieces are placed in order");
        debug_assert!(image.sources.is_sorted_by_key(|source| source.0), "pieces are placed in order");
        image
    }

    /// The address of a piece of code.
    pub(crate) fn address(&self, piece: u32) -> *const u8 {
        (self.mapping.address() + self.pieces[piece as usize].0 as usize) as *const u8
    }

    /// The trap that the instruction at this address raises.
    pub(crate) fn trap_at(&self, pc: usize) -> Option<TrapCode> {
        let offset = self.offset_of(pc)?;
        let index = self.traps.binary_search_by_key(&offset, |trap| trap.0).ok()?;
        Some(self.traps[index].1)
    }

    /// The piece of code that an address lies in.
    pub(crate) fn piece_at(&self, pc: usize) -> Option<u32> {
        let offset = self.offset_of(pc)?;
        let index = self.pieces.partition_point(|piece| piece.0 <= offset).checked_sub(1)?;
        (offset < self.pieces[index].1).then_some(index as u32)
    }

    /// The offset in the module's bytes of the operator that an address belongs to.
    pub(crate) fn source_at(&self, pc: usize) -> Option<u32> {
        let offset = self.offset_of(pc)?;
        let start = self.pieces[self.piece_at(pc)? as usize].0;
        let index = self.sources.partition_point(|source| source.0 <= offset).checked_sub(1)?;
        let (at, source) = self.sources[index];
        (at >= start).then_some(source)
    }

    fn offset_of(&self, pc: usize) -> Option<u32> {
        let offset = pc.checked_sub(self.mapping.address())?;
        (offset < self.mapping.size()).then_some(offset as u32)
    }
}

/// Room for a piece: its bytes, its alignment, and a veneer for every far call where the machine needs them.
fn room_for(piece: &CompiledCode) -> usize {
    let alignment = FUNCTION_ALIGNMENT.max(piece.alignment as usize);
    piece.bytes.len().next_multiple_of(alignment) + alignment + 32 * piece.relocations.len()
}

fn own_relocations(relocations: &mut [ModuleReloc], id: FuncId) {
    for relocation in relocations {
        if let cranelift_module::ModuleRelocTarget::FunctionOffset(own, _) = &mut relocation.name {
            *own = id;
        }
    }
}

/// Hands a module's mapping to cranelift-jit piece by piece, and makes it executable at the end.
struct CodeMemory {
    mapping: Arc<Mapping>,
    used: usize,
}

impl JITMemoryProvider for CodeMemory {
    fn allocate(&mut self, size: usize, align: u64, _: JITMemoryKind) -> io::Result<*mut u8> {
        let start = self.used.next_multiple_of(align as usize);
        if start + size > self.mapping.size() {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "the code is larger than estimated"));
        }
        self.used = start + size;
        Ok((self.mapping.address() + start) as *mut u8)
    }

    unsafe fn free_memory(&mut self) {
        // The mapping is freed with the image that owns it.
    }

    fn finalize(&mut self, _: BranchProtection) -> ModuleResult<()> {
        self.mapping.make_executable().map_err(|err| cranelift_module::ModuleError::Allocation { err })
    }
}
