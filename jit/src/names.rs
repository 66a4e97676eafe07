//! The names of a module's functions, for backtraces and profilers.

use std::collections::HashMap;
use std::sync::OnceLock;

use wasmparser::{BinaryReader, Name, NameSectionReader};

/// The content of the name section, read when a name is first asked for: most modules run without.
#[derive(Debug, Default)]
pub(crate) struct FunctionNames {
    section: Vec<u8>,
    names: OnceLock<HashMap<u32, Box<str>>>,
}

impl FunctionNames {
    /// Of the content of a name section.
    pub(crate) fn new(section: &[u8]) -> FunctionNames {
        FunctionNames { section: section.into(), names: OnceLock::new() }
    }

    /// The name of a function as it stands there.
    pub(crate) fn get(&self, function: u32) -> Option<&str> {
        self.names.get_or_init(|| read(&self.section)).get(&function).map(|name| &**name)
    }
}

/// Reads function names. The section is advice: where it is malformed, the rest of it is ignored.
fn read(section: &[u8]) -> HashMap<u32, Box<str>> {
    let sections = NameSectionReader::new(BinaryReader::new(section, 0)).map_while(Result::ok);
    let functions = sections.filter_map(|names| match names {
        Name::Function(functions) => Some(functions),
        _ => None,
    });
    let names = functions.flat_map(|functions| functions.into_iter().map_while(Result::ok));
    names.map(|name| (name.index, name.name.into())).collect()
}
