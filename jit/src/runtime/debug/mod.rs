//! Which line of which file a guest's instruction comes from, by the DWARF of its module.
//!
//! **When.** Nothing of it is looked at before somebody wants to see a frame: not when a module is compiled or
//! loaded, and never in the fault handler. Until then the sections lie where they cost least ([`SectionStorage`]).
//!
//! **What is trusted.** Nothing: the sections are a guest's, and advice. The [`reader`](budget) that they are read
//! with bounds time, memory and stack for a module's whole life; when it is used up, what was found stays, and
//! further frames are shown as if there were no DWARF. The libraries, [gimli] and [addr2line], answer malformed input
//! with errors.
//!
//! **What an address is.** DWARF counts from where the content of the code section begins. In a prepared module it
//! speaks of the code as it was before, which [`original_offset`](lunatic_instrument::original_offset) knows.

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

/// Sources whose answers are kept, all together: a guest that traps over and over does so in few places.
const MAX_KEPT: usize = 4096;

/// Where in its sources an instruction is: one function of a chain of inlined ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The function's demangled name.
    pub function: Option<String>,
    /// The path of the file, as the compiler saw it.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
}

/// ` at FILE:LINE:COLUMN`, or as much of it as there is.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(file) = &self.file else { return Ok(()) };
        write!(f, " at {file}")?;
        let Some(line) = self.line else { return Ok(()) };
        write!(f, ":{line}")?;
        self.column.map_or(Ok(()), |column| write!(f, ":{column}"))
    }
}

/// Where the debug sections of a module are until somebody asks.
#[derive(Debug)]
pub(crate) enum SectionStorage {
    /// Here: those of a module that is in no file of ours.
    Memory(Vec<u8>),
    /// In the module's entry of the cache. The file is open, so that they are there even when the entry is removed.
    File {
        /// The entry.
        file: File,
        /// Where in it.
        at: u64,
        /// How many bytes.
        length: u32,
        /// Their checksum, which nobody has compared yet.
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

/// What a module's debug sections say, read when it is first asked.
pub(crate) struct DebugInfo {
    state: Mutex<State>,
}

struct State {
    stored: Option<SectionStorage>,
    /// What was read of it.
    sections: Option<Arc<Sections>>,
    lines: LineState,
    /// Answers by offset, and how many sources they are.
    found: HashMap<u32, Arc<[Source]>>,
    kept: usize,
}

enum LineState {
    Unread,
    Read(Box<Lines>),
    /// Malformed, or more than we are willing to read.
    Over,
}

impl DebugInfo {
    /// Of sections in memory, as [`extract`] gives them; `None` if there are none.
    pub(crate) fn in_memory(sections: Vec<u8>) -> Option<Arc<DebugInfo>> {
        if sections.is_empty() { None } else { Some(DebugInfo::new(SectionStorage::Memory(sections))) }
    }

    pub(crate) fn new(stored: SectionStorage) -> Arc<DebugInfo> {
        let lines = LineState::Unread;
        let state = State { stored: Some(stored), sections: None, lines, found: HashMap::new(), kept: 0 };
        Arc::new(DebugInfo { state: Mutex::new(state) })
    }

    /// The offset, in the module that was prepared, of the operator at this offset of the module; the same if it was not.
    pub(crate) fn original_offset(&self, offset: u32) -> Option<u32> {
        // As below.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sections()?.original(offset)
    }

    /// Where in its sources the operator at this offset of the module is: innermost first, the function that was
    /// compiled last. Empty if that is not known.
    pub(crate) fn sources(&self, offset: u32) -> Arc<[Source]> {
        // A panic while it was held left nothing half done that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sources(offset)
    }
}

impl State {
    fn sources(&mut self, offset: u32) -> Arc<[Source]> {
        if let Some(sources) = self.found.get(&offset) {
            return sources.clone();
        }
        let sources: Arc<[Source]> = self.find(offset).into();
        if self.kept + sources.len() <= MAX_KEPT {
            // What is empty is counted too.
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
            // With it goes the memory that it has taken, but for the sections.
            self.lines = LineState::Over;
        }
        sources
    }
}

/// The same whether it was read or not, so that frames are.
impl fmt::Debug for DebugInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebugInfo").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
