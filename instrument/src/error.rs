//! What can go wrong, typed.
//!
//! Every message is one line that says what is wrong, where in the file (a byte offset that `wasm-objdump` and
//! `wasm-tools` print too), and what to do about it where that is not obvious. Names from the file are printed
//! escaped, so that a file cannot write to the terminal of whoever reads the message.

use std::fmt;

use crate::abi::{
    CHARGE_FUNCTION, COST_MODEL_VERSION, FORMAT_VERSION, MAX_CHARGE, MAX_RETURN, METERING_MODULE, SECTION,
};
use crate::proposal::RefusedProposals;

/// Why a module could not be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The bytes do not begin like a WebAssembly module.
    #[error("not a WebAssembly module: it does not begin with the magic number \"\\0asm\"")]
    NotWasm,
    /// The bytes are a component, which this crate does not take apart.
    #[error("this is a component, not a core module: build for wasm32-wasip1")]
    Component,
    /// The module is malformed or does not validate.
    #[error("invalid module: {} (at byte {:#x})", .0.message(), .0.offset())]
    Invalid(#[source] wasmparser::Error),
    /// The module uses a proposal that the rewriter does not support, or several.
    #[error("unsupported proposal: {proposal} ({}, at byte {:#x}): build without it", .source.message(), .source.offset())]
    Unsupported {
        /// Which.
        proposal: RefusedProposals,
        /// What the validator says without it.
        source: wasmparser::Error,
    },
    /// The module is larger than an implementation limit.
    #[error("too large: {limit} (at byte {offset:#x})")]
    Limit {
        /// Which limit.
        limit: Limit,
        /// Where it was passed.
        offset: u64,
    },
    /// The module imports from the namespace that preparing adds.
    #[error("the import {METERING_MODULE:?} {name:?} (at byte {offset:#x}) is reserved: rename it")]
    ReservedImport {
        /// The name of the import.
        name: String,
        /// Where it is.
        offset: u64,
    },
    /// The module carries the mark of a prepared one and does not verify.
    #[error("already prepared, but not as it should be: {0}: prepare the original module again")]
    Tampered(#[source] VerifyError),
    /// The receiver of the progress asked to stop.
    #[error("preparing it was stopped")]
    Stopped,
    /// The rewriter could not take or give the module: a fault of this crate.
    #[error("the rewriter failed on a valid module, please report this: {0}")]
    Rewrite(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What the rewriter made does not verify: a fault of this crate, noticed before anyone could run it.
    #[error("the rewritten module does not verify, please report this: {0}")]
    Unproven(#[source] VerifyError),
}

/// An implementation limit of the rewriter, each chosen so that preparing takes bounded time and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// The size of the file.
    #[error("a module may have at most {} bytes", crate::prevalidation::MAX_MODULE_BYTES)]
    ModuleBytes,
    /// The size of a function's code with its charges, of which there may be many in little code.
    #[error("a function may have at most {} bytes when it is prepared", crate::rewrite::MAX_FUNCTION_BYTES)]
    FunctionBytes,
    /// The number of types, with the one that is added.
    #[error("a module without the type (i32) -> () may have at most {} types", crate::rewrite::MAX_ITEMS - 1)]
    Types,
    /// The number of functions, with the one that is added.
    #[error("a module may have at most {} functions", crate::rewrite::MAX_ITEMS - 1)]
    Functions,
    /// The size of all types of imports and exports, with that of the import that is added.
    #[error("the types of a module's imports and exports are too large together")]
    TypeSize,
}

/// Why a module was not accepted as prepared.
#[derive(Debug)]
pub struct VerifyError {
    /// What is wrong.
    pub kind: VerifyErrorKind,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// In which function, if in one.
    pub function: Option<FunctionRef>,
}

/// A function as an error names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRef {
    /// Its index, imports counted.
    pub index: u32,
    /// Its name, if the name section has one.
    pub name: Option<String>,
}

/// What is wrong with a module that claims to be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyErrorKind {
    /// The bytes do not begin like a WebAssembly module.
    #[error("not a WebAssembly module")]
    NotWasm,
    /// The bytes are a component.
    #[error("a component, not a core module")]
    Component,
    /// The module is malformed, invalid, or uses a proposal that is not supported.
    #[error("invalid module: {}", .0.message())]
    Invalid(#[source] wasmparser::Error),
    /// The custom section is missing or not acceptable.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The module has the custom section twice.
    #[error("a second custom section {SECTION:?}")]
    SecondManifest,
    /// The reserved import is missing.
    #[error("the reserved import {METERING_MODULE:?} {CHARGE_FUNCTION:?} is missing")]
    MissingImport,
    /// The reserved import occurs twice.
    #[error("the reserved import {METERING_MODULE:?} {CHARGE_FUNCTION:?} occurs twice")]
    SecondImport,
    /// The reserved import has another type than it should.
    #[error("the reserved import {METERING_MODULE:?} {CHARGE_FUNCTION:?} has the wrong type")]
    ImportType,
    /// An import from the reserved namespace that does not exist.
    #[error("{METERING_MODULE:?} has no {0:?}")]
    UnknownImport(String),
    /// The function that charges is named where no charge is.
    #[error("the function that charges is used outside of a charge")]
    Exposed,
    /// A function or a loop does not begin with a charge.
    #[error("{0} does not begin with a charge")]
    Uncharged(Region),
    /// A charge's constant is zero, negative, or above the limit.
    #[error("a charge of {0}: it must be from 1 to {MAX_CHARGE}")]
    ChargeConstant(i32),
    /// Some path does more work than the charge before it paid for.
    #[error("work that no charge paid for")]
    Unpaid,
    /// A path goes on for too long without a charge.
    #[error("more than {MAX_CHARGE} reductions of work without a charge")]
    LongPath,
    /// A function does too much after a call has returned.
    #[error("more than {MAX_RETURN} reductions of work after a call, without a charge")]
    LongReturn,
    /// The receiver of the progress asked to stop.
    #[error("verifying it was stopped")]
    Stopped,
    /// There is more work between two charges than the file declares.
    #[error("{found} reductions of work between two charges, above the declared bound of {declared}")]
    AboveBound {
        /// The most in the module.
        found: u32,
        /// What the custom section says.
        declared: u32,
    },
}

/// What begins with a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// A function's body.
    Function,
    /// A loop's body.
    Loop,
}

/// Why the custom section of a prepared module could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// There is none: the module was never prepared.
    #[error("not prepared (no custom section {SECTION:?}): run lunatic-prep on it")]
    Missing,
    /// It ends early, has more than it should, or its numbers are malformed.
    #[error("the custom section {SECTION:?} is malformed: prepare the module again with lunatic-prep")]
    Malformed,
    /// It was written by another version of the format.
    #[error(
        "prepared in format {0}, and this is format {FORMAT_VERSION}: prepare it again with lunatic-prep"
    )]
    FormatVersion(u32),
    /// It was prepared with another cost model.
    #[error(
        "prepared with cost model {0}, and this is cost model {COST_MODEL_VERSION}: prepare it again with lunatic-prep"
    )]
    CostModelVersion(u32),
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.kind)?;
        if let Some(function) = &self.function {
            write!(f, "in {function}, ")?;
        }
        write!(f, "at byte {:#x})", self.offset)
    }
}

impl std::error::Error for VerifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.kind)
    }
}

impl fmt::Display for FunctionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}", self.index)?;
        match &self.name {
            Some(name) => write!(f, " {name:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Region::Function => "a function",
            Region::Loop => "a loop",
        })
    }
}
