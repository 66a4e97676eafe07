//! The functions that can be called from outside, and their trampolines.
//!
//! An embedder can call exported functions and the start function, and no others: a `Func` from a table or a
//! global can be passed as a value, but not called. So only the types of these functions need an entry
//! trampoline, one for each type. Most types of a module belong to internal functions; trampolines for them
//! would be most of its compile time.

use std::collections::HashMap;

use crate::environ::module_info::{Item, ModuleInfo};

/// Stands for "no trampoline".
const NONE: u32 = u32::MAX;

/// The entry trampolines of a module.
#[derive(Debug)]
pub(crate) struct EntryTrampolines {
    /// A type index for each trampoline.
    types: Vec<u32>,
    /// The trampoline of each type index, or [`NONE`] if no function of the type can be called.
    trampolines: Box<[u32]>,
}

impl EntryTrampolines {
    pub(crate) fn new(info: &ModuleInfo) -> EntryTrampolines {
        let trampolines = vec![NONE; info.types.len()].into();
        let mut entries = EntryTrampolines { types: Vec::new(), trampolines };
        let mut by_type = HashMap::new();
        let exported = info.exports.iter().filter_map(|&(_, item)| match item {
            Item::Func(function) => Some(function),
            _ => None,
        });
        for function in exported.chain(info.start) {
            let index = info.functions[function as usize];
            let trampoline = *by_type.entry(&info.types[index as usize]).or_insert_with(|| {
                entries.types.push(index);
                entries.types.len() as u32 - 1
            });
            entries.trampolines[index as usize] = trampoline;
        }
        entries
    }

    /// Returns a type index for each trampoline, in order.
    pub(crate) fn types(&self) -> &[u32] {
        &self.types
    }

    /// Returns the trampoline for a type index; `None` if no function of the type can be called.
    pub(crate) fn trampoline(&self, type_index: u32) -> Option<u32> {
        self.trampolines.get(type_index as usize).copied().filter(|&trampoline| trampoline != NONE)
    }
}
