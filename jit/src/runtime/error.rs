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

/// An error that a host function raises: it ends the guest's activation as [`TrapKind::Host`], and whoever runs
/// the store may downcast it.
pub type HostError = Box<dyn Error + Send + Sync + 'static>;

/// Why a module cannot be linked: every import that could not be resolved, not just the first.
#[derive(Debug)]
pub struct LinkError {
    /// All unresolved imports in declaration order.
    pub missing: Vec<MissingImport>,
}

/// An import that could not be resolved.
#[derive(Debug, Clone)]
pub struct MissingImport {
    /// The import's module name.
    pub module: String,
    /// The import's field name.
    pub name: String,
    /// What the module expects.
    pub expected: ExternType,
    /// What is there instead, where something of that name exists with another type; a host function may have several.
    pub found: Vec<ExternType>,
    /// Where nothing has that name: module and field name of what may have been meant.
    pub nearest: Option<(String, String)>,
}

/// Imports that the message names, and bytes that it shows of a name. [`LinkError::missing`] has all of them.
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

/// Why an instance could not be created.
#[derive(Debug, thiserror::Error)]
pub enum InstantiateError {
    /// An import is missing or of another type.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The store's limits do not allow it.
    #[error("{0}")]
    Limit(String),
    /// The host has no more memory, address space for a reservation, or stacks.
    #[error("{0}")]
    Exhausted(String),
    /// It would import functions of a metered module into an unmetered one, or the other way round: the one kind
    /// hands the counter of reductions on in a register, and the other does not know of it.
    #[error("a metered and an unmetered module cannot call each other")]
    Metering,
    /// Its code relies on a memory in a reservation, and the one to import is pooled.
    #[error("a module compiled for a reserved memory cannot import a pooled one")]
    MemoryLayout,
    /// An active segment does not fit, or an initialiser trapped.
    #[error(transparent)]
    Trap(#[from] Box<Trap>),
}

/// Why a guest's activation ended early.
#[derive(Debug)]
pub struct Trap {
    /// The reason.
    pub kind: TrapKind,
    /// The guest's frames, innermost first.
    pub backtrace: Vec<Frame>,
}

impl Trap {
    /// One that happened outside of guest code.
    pub(crate) fn host(error: HostError) -> Trap {
        Trap { kind: TrapKind::Host(error), backtrace: Vec::new() }
    }
}

/// The reasons of a trap.
#[derive(Debug)]
pub enum TrapKind {
    /// `unreachable` was executed.
    Unreachable,
    /// A load, store or bulk memory operation outside its memory.
    MemoryOutOfBounds,
    /// A table access outside its table.
    TableOutOfBounds,
    /// `call_indirect` with an index outside its table.
    UndefinedElement,
    /// `call_indirect` of a null entry.
    UninitializedElement,
    /// `call_indirect` of a function of another type.
    IndirectCallTypeMismatch,
    /// A division by zero.
    IntegerDivisionByZero,
    /// A division or conversion whose result does not fit.
    IntegerOverflow,
    /// A conversion of NaN to an integer.
    InvalidConversionToInteger,
    /// The process's stack is used up.
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
    /// The function's index in its module, or in the one that was prepared.
    pub function: u32,
    /// The function's demangled name, where the module names it.
    pub name: Option<String>,
    /// The offset of the instruction in the module's bytes.
    pub offset: Option<u32>,
    /// What can say more, if the module has debug sections.
    pub(crate) debug: Option<Arc<DebugInfo>>,
}

/// Frames are equal that are of the same place; what is known of it follows from that.
impl PartialEq for Frame {
    fn eq(&self, other: &Frame) -> bool {
        (self.function, &self.name, self.offset) == (other.function, &other.name, other.offset)
    }
}

impl Eq for Frame {}

impl Frame {
    /// The offset of the instruction in the bytes of the module that was prepared; [the same](Frame::offset) of a module
    /// that was not.
    pub fn original_offset(&self) -> Option<u32> {
        match &self.debug {
            Some(debug) => debug.original_offset(self.offset?),
            None => self.offset,
        }
    }

    /// Where in its sources this is, by the module's DWARF: the functions that were inlined here, innermost first,
    /// and last the frame's own. Empty if that is not known.
    ///
    /// The first time that it is asked of a module, it may take some hundredths of a second.
    pub fn sources(&self) -> Arc<[Source]> {
        match (&self.debug, self.offset) {
            (Some(debug), Some(offset)) => debug.sources(offset),
            _ => Arc::default(),
        }
    }

    /// The frame as it is shown: a line for each of its [sources](Frame::sources), or one without.
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
        // The name section's is the one that is shown where there is no DWARF.
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

/// Its [lines](Frame::lines).
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}
