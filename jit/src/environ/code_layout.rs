//! The order of the functions in a module's compiled code: function bodies, host trampolines, the yield stub, and entry
//! trampolines.

use super::module_info::ModuleInfo;

/// The index of each kind of compiled function in a module's code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeLayout {
    defined: u32,
    imported: u32,
}

impl CodeLayout {
    pub(crate) fn new(info: &ModuleInfo) -> CodeLayout {
        let imported = info.imported_functions;
        CodeLayout { defined: info.functions.len() as u32 - imported, imported }
    }

    /// Returns the compiled function to call for a WebAssembly function: its body, or the host trampoline of
    /// an import.
    pub(crate) fn function(self, function: u32) -> u32 {
        match function.checked_sub(self.imported) {
            Some(defined) => defined,
            None => self.defined + function,
        }
    }

    /// Returns the WebAssembly function whose body a compiled function is; `None` for a trampoline.
    pub(crate) fn wasm_function(self, compiled: u32) -> Option<u32> {
        (compiled < self.defined).then_some(compiled + self.imported)
    }

    pub(crate) fn yield_stub(self) -> u32 {
        self.defined + self.imported
    }

    /// Returns an entry trampoline, by its number in [`EntryTrampolines`](super::entry_trampolines::EntryTrampolines).
    pub(crate) fn entry(self, trampoline: u32) -> u32 {
        self.yield_stub() + 1 + trampoline
    }
}
