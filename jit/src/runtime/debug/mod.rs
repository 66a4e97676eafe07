//! Finds the source line of a guest's instruction by the DWARF of its module.
//!
//! **When.** Nothing is read before a frame is shown: not when a module is compiled or loaded, and never in
//! the fault handler. Until then the sections are kept where they cost least ([`SectionStorage`]).
//!
//! **What is trusted.** Nothing: the sections are a guest's, and not validated. The [reader](read_budget)
//! limits time, memory and stack for the whole life of a module. When the budget is used up, what was found
//! stays, and further frames are shown as if there were no DWARF. The libraries, [gimli] and [addr2line],
//! return errors for malformed input.
//!
//! **What an address is.** DWARF counts from the beginning of the code section's content. In a prepared
//! module, DWARF describes the original code; [`original_offset`](lunatic_instrument::original_offset) maps
//! to it.

mod lines;
mod read_budget;
mod sections;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use lines::Lines;
use sections::Sections;
#[cfg(feature = "compiler")]
pub(crate) use sections::extract;

/// The sources that are kept for all offsets together: a guest that traps repeatedly does so in few places.
const MAX_KEPT: usize = 4096;

/// A location in the source code: one function of a chain of inlined ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The function's demangled name.
    pub function: Option<String>,
    /// The path of the file, as the compiler has recorded it.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
}

/// Shows ` at FILE:LINE:COLUMN`, or the parts that are known.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(file) = &self.file else { return Ok(()) };
        write!(f, " at {file}")?;
        let Some(line) = self.line else { return Ok(()) };
        write!(f, ":{line}")?;
        self.column.map_or(Ok(()), |column| write!(f, ":{column}"))
    }
}

/// Where the debug sections of a module are kept until they are needed.
#[derive(Debug)]
pub(crate) enum SectionStorage {
    /// In memory, for a module that is in no file of the cache.
    Memory(Vec<u8>),
    /// In the module's entry of the cache. The file stays open, so that the sections are available even if
    /// the entry is removed.
    File {
        /// The file of the entry.
        file: File,
        /// Their offset in the file.
        at: u64,
        /// Their length in bytes.
        length: u32,
        /// Their checksum, which has not been compared yet.
        checksum: u32,
    },
}

impl SectionStorage {
    fn read(self) -> io::Result<Arc<[u8]>> {
        match self {
            SectionStorage::Memory(bytes) => Ok(bytes.into()),
            SectionStorage::File { mut file, at, length, checksum } => {
                let mut bytes = vec![0; length as usize];
                file.seek(SeekFrom::Start(at))?;
                file.read_exact(&mut bytes)?;
                if crc32fast::hash(&bytes) == checksum {
                    Ok(bytes.into())
                } else {
                    Err(io::ErrorKind::InvalidData.into())
                }
            }
        }
    }
}

/// The debug sections of a module, parsed when they are first needed.
pub(crate) struct DebugInfo {
    state: Mutex<State>,
}

struct State {
    stored: Option<SectionStorage>,
    /// The sections, once they were read.
    sections: Option<Arc<Sections>>,
    lines: LineState,
    /// The sources of each offset that was looked up, and the number of all sources.
    found: HashMap<u32, Arc<[Source]>>,
    kept: usize,
}

enum LineState {
    Unread,
    Read(Box<Lines>),
    /// Malformed, or beyond the budget.
    Over,
}

impl DebugInfo {
    /// Keeps sections in memory, as [`extract`] returns them; `None` if there are none.
    pub(crate) fn in_memory(sections: Vec<u8>) -> Option<Arc<DebugInfo>> {
        if sections.is_empty() { None } else { Some(DebugInfo::new(SectionStorage::Memory(sections))) }
    }

    pub(crate) fn new(stored: SectionStorage) -> Arc<DebugInfo> {
        let lines = LineState::Unread;
        let state = State { stored: Some(stored), sections: None, lines, found: HashMap::new(), kept: 0 };
        Arc::new(DebugInfo { state: Mutex::new(state) })
    }

    /// Returns the offset, in the original module, of the operator at this offset of a prepared one; the same
    /// offset if the module was not prepared.
    pub(crate) fn original_offset(&self, offset: u32) -> Option<u32> {
        // As below.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sections()?.original(offset)
    }

    /// Returns the source locations of the operator at this offset of the module: innermost first, and the
    /// function that was compiled last. Empty if they are not known.
    pub(crate) fn sources(&self, offset: u32) -> Arc<[Source]> {
        // A panic while the lock was held leaves nothing inconsistent that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sources(offset)
    }
}

impl State {
    fn sources(&mut self, offset: u32) -> Arc<[Source]> {
        if let Some(sources) = self.found.get(&offset) {
            return sources.clone();
        }
        let sources: Arc<[Source]> = self.find(offset).into();
        // Beyond the limit, answers are computed again, which the budget bounds.
        if self.kept + sources.len() <= MAX_KEPT {
            // An empty answer counts too.
            self.kept += sources.len().max(1);
            self.found.insert(offset, sources.clone());
        }
        sources
    }

    fn sections(&mut self) -> Option<&Arc<Sections>> {
        if let Some(stored) = self.stored.take() {
            self.sections = stored.read().ok().and_then(Sections::new).map(Arc::new);
        }
        self.sections.as_ref()
    }

    fn find(&mut self, offset: u32) -> Vec<Source> {
        if let LineState::Unread = self.lines {
            let lines = self.sections().cloned().and_then(Lines::new);
            self.lines = lines.map_or(LineState::Over, |lines| LineState::Read(Box::new(lines)));
        }
        let LineState::Read(lines) = &self.lines else { return Vec::new() };
        let sources = lines.find(offset);
        if lines.is_used_up() {
            // This frees the memory that parsing has taken, except the sections.
            self.lines = LineState::Over;
        }
        sources
    }
}

/// The same whether it was read or not, so that equal frames are shown equally.
impl fmt::Debug for DebugInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebugInfo").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
