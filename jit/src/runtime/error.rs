//! Errors of linking, instantiating and running a module.
//!
//! [`LinkError`] is the module's fault and is found before anything runs. [`InstantiateError`] is a limit or a trap
//! during instantiation. [`Trap`] ends one activation. Errors of compilation are in
//! [`environ`](crate::environ::error).

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::environ::names::shortened;
use crate::environ::trap_code::TrapCode;
use crate::environ::value::ExternType;
use crate::runtime::debug::{DebugInfo, Source};

/// An error that a host function raises. It ends the guest's activation as [`TrapKind::Host`], and the
/// embedder may downcast it.
pub type HostError = Box<dyn Error + Send + Sync + 'static>;

/// The error of linking a module. It lists every import that could not be resolved, not only the first.
#[derive(Debug)]
pub struct LinkError {
    /// All unresolved imports in declaration order.
    pub missing: Vec<MissingImport>,
}

/// An import that could not be resolved.
#[derive(Debug, Clone)]
pub struct MissingImport {
    /// The module name of the import.
    pub module: String,
    /// The field name of the import.
    pub name: String,
    /// The type that the module expects.
    pub expected: ExternType,
    /// The types of the host functions with this name, which all differ from the expected one.
    pub found: Vec<ExternType>,
    /// A similar name, if no host function has this one: module and field name.
    pub nearest: Option<(String, String)>,
}

/// The imports that the message shows, and the bytes of each name. [`LinkError::missing`] has all of them.
const MAX_SHOWN: usize = 10;
const MAX_IMPORT_NAME: usize = 100;

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, import) in self.missing.iter().take(MAX_SHOWN).enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            let [module, name] = [&import.module, &import.name].map(|name| shortened(name, MAX_IMPORT_NAME));
            write!(f, "{separator}{module}::{name}: ")?;
            import.fmt_problem(f)?;
        }
        match self.missing.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl MissingImport {
    fn fmt_problem(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.found.is_empty() {
            write!(f, "unknown {}", self.expected)?;
        } else {
            write!(f, "expected {}", self.expected)?;
        }
        for (i, found) in self.found.iter().enumerate() {
            write!(f, "{} {found}", if i == 0 { ", found" } else { " or" })?;
        }
        match &self.nearest {
            Some((module, name)) => write!(f, " (did you mean {module}::{name}?)"),
            None => Ok(()),
        }
    }
}

impl Error for LinkError {}

/// The error of creating an instance.
#[derive(Debug, thiserror::Error)]
pub enum InstantiateError {
    /// An import is missing or has another type.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The store's limits do not allow it.
    #[error("{0}")]
    Limit(String),
    /// The host has no memory, address space for a reservation, or stack left.
    #[error("{0}")]
    Exhausted(String),
    /// The instance would import functions of a metered module into an unmetered one, or the reverse. Metered
    /// functions pass the counter of reductions in a register, and unmetered ones do not.
    #[error("a metered and an unmetered module cannot import functions of each other: prepare both or none")]
    Metering,
    /// The code relies on a memory in a reservation, and the imported memory is pooled.
    #[error(
        "a module compiled for reserved memories cannot import a pooled memory: compile it for pooled ones"
    )]
    MemoryLayout,
    /// An active segment does not fit, or an initialiser trapped.
    #[error(transparent)]
    Trap(#[from] Box<Trap>),
}

/// The reason why a guest's activation ended early.
#[derive(Debug)]
pub struct Trap {
    /// The reason.
    pub kind: TrapKind,
    /// The guest's frames, innermost first.
    pub backtrace: Vec<Frame>,
}

impl Trap {
    /// A trap that happened outside of guest code.
    pub(crate) fn host(error: HostError) -> Trap {
        Trap { kind: TrapKind::Host(error), backtrace: Vec::new() }
    }
}

/// The reasons of a trap.
#[derive(Debug)]
pub enum TrapKind {
    /// `unreachable` was executed.
    Unreachable,
    /// A load, store or bulk memory operation accessed an address outside of its memory.
    MemoryOutOfBounds,
    /// A table operation accessed an index outside of its table.
    TableOutOfBounds,
    /// `call_indirect` was executed with an index outside of its table.
    UndefinedElement,
    /// `call_indirect` was executed with the index of a null entry.
    UninitializedElement,
    /// `call_indirect` was executed with the index of a function of another type.
    IndirectCallTypeMismatch,
    /// A division by zero was executed.
    IntegerDivisionByZero,
    /// The result of a division or conversion does not fit its type.
    IntegerOverflow,
    /// A NaN was converted to an integer.
    InvalidConversionToInteger,
    /// The call needs more stack than the store has.
    StackOverflow,
    /// A host function raised an error.
    Host(HostError),
}

impl From<TrapCode> for TrapKind {
    fn from(code: TrapCode) -> TrapKind {
        match code {
            TrapCode::Unreachable => TrapKind::Unreachable,
            TrapCode::TableOutOfBounds => TrapKind::TableOutOfBounds,
            TrapCode::UndefinedElement => TrapKind::UndefinedElement,
            TrapCode::UninitializedElement => TrapKind::UninitializedElement,
            TrapCode::TypeMismatch => TrapKind::IndirectCallTypeMismatch,
            TrapCode::StackOverflow => TrapKind::StackOverflow,
            TrapCode::MemoryOutOfBounds => TrapKind::MemoryOutOfBounds,
            TrapCode::IntegerOverflow => TrapKind::IntegerOverflow,
            TrapCode::IntegerDivisionByZero => TrapKind::IntegerDivisionByZero,
            TrapCode::BadConversionToInteger => TrapKind::InvalidConversionToInteger,
        }
    }
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrapKind::Unreachable => "unreachable",
            TrapKind::MemoryOutOfBounds => "out of bounds memory access",
            TrapKind::TableOutOfBounds => "out of bounds table access",
            TrapKind::UndefinedElement => "undefined element",
            TrapKind::UninitializedElement => "uninitialized element",
            TrapKind::IndirectCallTypeMismatch => "indirect call type mismatch",
            TrapKind::IntegerDivisionByZero => "integer divide by zero",
            TrapKind::IntegerOverflow => "integer overflow",
            TrapKind::InvalidConversionToInteger => "invalid conversion to integer",
            TrapKind::StackOverflow => "call stack exhausted",
            TrapKind::Host(error) => return error.fmt(f),
        })
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Error for Trap {}

/// One guest frame of a backtrace.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The function's index in the module. For a prepared module, the index in the original module.
    pub function: u32,
    /// The function's demangled name, if the module's name section has it.
    pub name: Option<String>,
    /// The offset of the instruction in the module's bytes.
    pub offset: Option<u32>,
    /// The module's debug sections, if it has any.
    pub(crate) debug: Option<Arc<DebugInfo>>,
}

/// Frames are equal if they are at the same place; everything else follows from the place.
impl PartialEq for Frame {
    fn eq(&self, other: &Frame) -> bool {
        (self.function, &self.name, self.offset) == (other.function, &other.name, other.offset)
    }
}

impl Eq for Frame {}

impl Frame {
    /// Returns the offset of the instruction in the bytes of the original module, if this one was prepared;
    /// [the same](Frame::offset) otherwise.
    pub fn original_offset(&self) -> Option<u32> {
        match &self.debug {
            Some(debug) => debug.original_offset(self.offset?),
            None => self.offset,
        }
    }

    /// Returns the source locations of the frame by the module's DWARF: the functions that were inlined at
    /// this place, innermost first, and the frame's own function last. Empty if they are not known.
    ///
    /// The first call for a module may take some hundredths of a second.
    pub fn sources(&self) -> Arc<[Source]> {
        match (&self.debug, self.offset) {
            (Some(debug), Some(offset)) => debug.sources(offset),
            _ => Arc::default(),
        }
    }

    /// Returns the frame as text: a line for each of its [sources](Frame::sources), or one line if there are
    /// none.
    pub fn lines(&self) -> Vec<String> {
        let sources = self.sources();
        let (own, inlined) = match sources.split_last() {
            Some((own, inlined)) => (own, inlined),
            None => (&Source::default(), &[][..]),
        };
        let inlined = inlined.iter().map(|source| {
            let function = source.function.as_deref().unwrap_or("<unknown>");
            format!("{function}{source} (inlined)")
        });
        // Prefer the name of the name section: it is what is shown without DWARF.
        let mut last = match self.name.as_ref().or(own.function.as_ref()) {
            Some(name) => format!("{name}{own}"),
            None => format!("<function {}>{own}", self.function),
        };
        if let Some(offset) = self.original_offset() {
            last += &format!(" (0x{offset:x})");
        }
        inlined.chain([last]).collect()
    }
}

/// Shows the frame's [lines](Frame::lines).
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}
