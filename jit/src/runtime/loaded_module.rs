//! A module as its instances see it: its declarations, its code, and where both are.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::environ::code_layout::CodeLayout;
use crate::environ::entry_trampolines::EntryTrampolines;
use crate::environ::error::CompileError;
use crate::environ::module_info::ModuleInfo;
use crate::environ::options::{CompileOptions, MemoryLayout};
use crate::environ::type_registry::ModuleTypes;
use crate::environ::vm_layout::{VmContextHead, VmFuncRef, VmOffsets};
use crate::runtime::code::{CodeImage, UnloadedCode};
use crate::runtime::debug::DebugInfo;
use crate::runtime::engine::Engine;
use crate::runtime::error::Frame;

pub(crate) struct LoadedModule {
    id: ModuleId,
    pub(crate) engine: Engine,
    pub(crate) info: ModuleInfo,
    pub(crate) offsets: VmOffsets,
    types: ModuleTypes,
    pub(crate) code: CodeImage,
    layout: CodeLayout,
    entries: EntryTrampolines,
    /// The address of each entry trampoline's code.
    entry_points: Box<[usize]>,
    debug: Option<Arc<DebugInfo>>,
    pub(crate) options: CompileOptions,
}

/// The number of a module, which no other module of this process has or will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleId(u64);

impl ModuleId {
    fn next() -> ModuleId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only uniqueness matters.
        ModuleId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl LoadedModule {
    /// Loads code that was just compiled, or read from a file. The declarations and the code belong together.
    pub(crate) fn load(
        engine: &Engine,
        info: ModuleInfo,
        code: UnloadedCode,
        options: CompileOptions,
        debug: Option<Arc<DebugInfo>>,
    ) -> Result<LoadedModule, CompileError> {
        // The code may come from an engine with larger stacks.
        if let Some((function, frame)) = info.largest_frame {
            info.check_frame(function, frame, engine.max_frame())?;
        }
        let types = engine.types().take(&info.types, info.charge_function.is_some());
        let code = CodeImage::load(code, types.numbers());
        let code = code.map_err(|error| CompileError::Codegen(error.to_string()))?;
        let (layout, entries) = (CodeLayout::new(&info), EntryTrampolines::new(&info));
        let entry_point = |trampoline| code.address(layout.entry(trampoline)).addr();
        let entry_points = (0..entries.types().len() as u32).map(entry_point).collect();
        Ok(LoadedModule {
            id: ModuleId::next(),
            engine: engine.clone(),
            offsets: VmOffsets::new(&info),
            types,
            code,
            layout,
            entries,
            entry_points,
            debug,
            options,
            info,
        })
    }

    /// Whether declarations and code that come from a file belong together.
    pub(crate) fn fits(info: &ModuleInfo, code: &UnloadedCode) -> bool {
        let functions = CodeLayout::new(info).entry(EntryTrampolines::new(info).types().len() as u32);
        code.buffer.layout.tables.functions == functions
    }

    pub(crate) fn id(&self) -> ModuleId {
        self.id
    }

    pub(crate) fn is_metered(&self) -> bool {
        self.info.charge_function.is_some()
    }

    /// Whether the code relies on memories being guarded by their reservations.
    pub(crate) fn is_reserved(&self) -> bool {
        self.options.memory == MemoryLayout::Reserved
    }

    /// Returns the record of a function that runs in `context`.
    pub(crate) fn record(&self, function: u32, context: *mut VmContextHead) -> VmFuncRef {
        let type_id = self.types.numbers()[self.info.functions[function as usize] as usize];
        VmFuncRef { code: self.code.address(self.layout.function(function)), context, type_id }
    }

    /// Returns the code that enters a function from outside.
    ///
    /// # Panics
    /// Panics if the function cannot be entered: it is neither exported nor the start function.
    pub(crate) fn entry(&self, function: u32) -> *const u8 {
        let trampoline = self.entries.trampoline(self.info.functions[function as usize]);
        let trampoline =
            trampoline.expect("a FuncIndex names a function that its module exports or starts with");
        self.entry_points[trampoline as usize] as *const u8
    }

    /// Returns the WebAssembly function whose body a compiled function is; `None` for a trampoline.
    pub(crate) fn wasm_function(&self, compiled: u32) -> Option<u32> {
        self.layout.wasm_function(compiled)
    }

    /// Returns the guest frame that a code address belongs to.
    pub(crate) fn frame_at(&self, pc: usize) -> Option<Frame> {
        let function = self.wasm_function(self.code.function_at(pc)?)?;
        let (name, offset) = (self.info.function_name(function), self.code.source_at(pc));
        let function = self.info.original_index(function);
        Some(Frame { function, name, offset, debug: self.debug.clone() })
    }
}

/// A function of a module. Look it up once, and call it many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncIndex(pub(crate) u32);
