//! Which functions can be called from outside, and by which trampoline.
//!
//! An embedder can name exported functions and the start function, and no others: a `Func` from a table or a global
//! can be passed on, but not called. So only their types need an entry trampoline, each type one. Most types of a
//! module are those of internal functions, and trampolines for them were most of its compile time.

use std::collections::HashMap;

use crate::environ::module_info::{Item, ModuleInfo};

/// No trampoline's number.
const NONE: u32 = u32::MAX;

/// See the module.
#[derive(Debug)]
pub(crate) struct EntryTrampolines {
    /// For each trampoline, a type index that stands for its type.
    types: Vec<u32>,
    /// The trampoline of each type index; [`NONE`] for those that no function has which can be called.
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

    /// A type index for each trampoline, in order.
    pub(crate) fn types(&self) -> &[u32] {
        &self.types
    }

    /// The trampoline for a type index; none if no function of it can be called.
    pub(crate) fn trampoline(&self, type_index: u32) -> Option<u32> {
        self.trampolines.get(type_index as usize).copied().filter(|&trampoline| trampoline != NONE)
    }
}
