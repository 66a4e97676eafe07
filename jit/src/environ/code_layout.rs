//! The order of the functions in a module's compiled code: function bodies, host trampolines, the yield stub, and entry
//! trampolines.

use super::shape::Shape;

/// Where in a module's code image each kind of code is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeLayout {
    defined: u32,
    imported: u32,
}

impl CodeLayout {
    pub(crate) fn new(shape: &Shape) -> CodeLayout {
        let imported = shape.imported_functions;
        CodeLayout { defined: shape.functions.len() as u32 - imported, imported }
    }

    /// The code to call for a function: its own, or an import's host trampoline.
    pub(crate) fn function(self, function: u32) -> u32 {
        match function.checked_sub(self.imported) {
            Some(defined) => defined,
            None => self.defined + function,
        }
    }

    /// The function that a piece of code is the body of.
    pub(crate) fn function_of(self, piece: u32) -> Option<u32> {
        (piece < self.defined).then_some(piece + self.imported)
    }

    pub(crate) fn yield_stub(self) -> u32 {
        self.defined + self.imported
    }

    /// An entry trampoline, by its number in [`Entries`].
    pub(crate) fn entry(self, trampoline: u32) -> u32 {
        self.yield_stub() + 1 + trampoline
    }
}
