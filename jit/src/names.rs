//! What a module's name section says: names of functions, for backtraces and profilers, and which global is the
//! guest's own stack pointer.

use std::collections::HashMap;
use std::sync::OnceLock;

use wasmparser::{BinaryReader, Name, NameSectionReader};

/// The content of the name section, read when a name is first asked for: most modules run without.
#[derive(Debug, Default)]
pub(crate) struct Names {
    section: Vec<u8>,
    names: OnceLock<HashMap<u32, Box<str>>>,
    stack_pointer: OnceLock<Option<u32>>,
}

/// How LLVM's linker names the global in which code keeps the end of the stack that it has in linear memory
/// (tool-conventions, "C stack").
const STACK_POINTER: &str = "__stack_pointer";

impl Names {
    /// Of the content of a name section.
    pub(crate) fn new(section: &[u8]) -> Names {
        Names { section: section.into(), ..Names::default() }
    }

    /// The name of a function as it stands there.
    pub(crate) fn get(&self, function: u32) -> Option<&str> {
        self.names.get_or_init(|| read(&self.section)).get(&function).map(|name| &**name)
    }

    /// The global that is named as a stack pointer. It may not exist: the section is only advice.
    pub(crate) fn stack_pointer(&self) -> Option<u32> {
        *self.stack_pointer.get_or_init(|| {
            let globals = sections(&self.section).filter_map(|names| match names {
                Name::Global(globals) => Some(globals),
                _ => None,
            });
            let mut names = globals.flat_map(|globals| globals.into_iter().map_while(Result::ok));
            names.find(|naming| naming.name == STACK_POINTER).map(|naming| naming.index)
        })
    }
}

/// The parts of a name section. It is advice: where it is malformed, the rest of it is ignored.
fn sections(section: &[u8]) -> impl Iterator<Item = Name<'_>> {
    NameSectionReader::new(BinaryReader::new(section, 0)).map_while(Result::ok)
}

fn read(section: &[u8]) -> HashMap<u32, Box<str>> {
    let functions = sections(section).filter_map(|names| match names {
        Name::Function(functions) => Some(functions),
        _ => None,
    });
    let names = functions.flat_map(|functions| functions.into_iter().map_while(Result::ok));
    names.map(|name| (name.index, name.name.into())).collect()
}
