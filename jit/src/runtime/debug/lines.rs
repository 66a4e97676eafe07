//! Looks up lines and functions of an address.

use std::sync::Arc;

use addr2line::{Context, Frame};
use gimli::Dwarf;

use super::Source;
use super::read_budget::{ReadBudget, Reader};
use super::sections::Sections;
use crate::environ::names::shortened;

/// The functions of a chain of inlined ones that are shown.
const MAX_CHAIN: usize = 32;

/// The bytes of a name or a path that are shown.
const MAX_NAME: usize = 1024;

/// The bytes of a mangled name that are examined: even a short one may be a very long name.
const MAX_MANGLED: usize = 4096;

/// The debug sections of a module, parsed as far as they were needed.
pub(super) struct Lines {
    sections: Arc<Sections>,
    context: Context<Reader>,
    budget: Arc<ReadBudget>,
}

impl Lines {
    /// `None` if the sections are malformed.
    pub(super) fn new(sections: Arc<Sections>) -> Option<Lines> {
        let budget = Arc::new(ReadBudget::new(sections.bytes.len()));
        let load = |id: gimli::SectionId| -> gimli::Result<Reader> {
            Ok(Reader::new(&sections.bytes, sections.range(id.name()), &budget))
        };
        let context = Context::from_dwarf(Dwarf::load(load).ok()?).ok()?;
        Some(Lines { sections, context, budget })
    }

    /// Returns the chain of functions at an offset of the module, as far as it is known.
    pub(super) fn find(&self, offset: u32) -> Vec<Source> {
        self.budget.begin();
        let mut sources = Vec::new();
        // What was found before an error is shown.
        let _ = self.collect(offset, &mut sources);
        sources
    }

    /// Whether the budget is used up, so that nothing more can be found.
    pub(super) fn is_used_up(&self) -> bool {
        self.budget.left() == 0
    }

    fn collect(&self, offset: u32, sources: &mut Vec<Source>) -> gimli::Result<()> {
        let Some(address) = self.sections.address(offset) else { return Ok(()) };
        let mut frames = self.context.find_frames(address.into()).skip_all_loads()?;
        while let Some(frame) = frames.next()? {
            // The last function is the one that was compiled: it is never left out.
            sources.truncate(MAX_CHAIN - 1);
            sources.push(self.source(&frame)?);
        }
        Ok(())
    }

    fn source(&self, frame: &Frame<'_, Reader>) -> gimli::Result<Source> {
        let function = frame.function.as_ref().map(|name| self.demangle(&name.raw_name()?)).transpose()?;
        let location = frame.location.as_ref();
        let file = location.and_then(|location| location.file).map(|file| shortened(file, MAX_NAME));
        // Zero stands for "not known".
        let number = |number: Option<u32>| number.filter(|&number| number > 0);
        let line = number(location.and_then(|location| location.line));
        let column = number(location.and_then(|location| location.column));
        Ok(Source { function, file, line, column })
    }

    fn demangle(&self, name: &str) -> gimli::Result<String> {
        if name.len() > MAX_MANGLED {
            return Ok(shortened(name, MAX_NAME));
        }
        let demangled = shortened(format_args!("{:#}", rustc_demangle::demangle(name)), MAX_NAME);
        self.budget.take(demangled.len())?;
        Ok(demangled)
    }
}
