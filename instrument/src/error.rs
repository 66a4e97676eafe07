//! Errors.
//!
//! Every message is one line that says what is wrong, where in the file (a byte offset that `wasm-objdump`
//! and `wasm-tools` print too), and what to do if that is not obvious. Names from the file are escaped, so
//! that a file cannot write control sequences to a terminal.

use std::fmt;

use crate::abi::{
    CHARGE_FUNCTION, COST_MODEL_VERSION, FORMAT_VERSION, MAX_CHARGE, MAX_RETURN, METERING_MODULE, SECTION,
};
use crate::proposal::RefusedProposals;

/// The error of preparing a module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The bytes do not begin like a WebAssembly module.
    #[error("not a WebAssembly module: it does not begin with the magic number \"\\0asm\"")]
    NotWasm,
    /// The bytes are a component, which this crate does not support.
    #[error("this is a component, not a core module: build for wasm32-wasip1")]
    Component,
    /// The module is malformed or does not validate.
    #[error("invalid module: {} (at byte {:#x})", .0.message(), .0.offset())]
    Invalid(#[source] wasmparser::Error),
    /// The module uses one or more proposals that the rewriter does not support.
    #[error("unsupported proposal: {proposal} ({}, at byte {:#x}): build without it", .source.message(), .source.offset())]
    Unsupported {
        /// The proposals.
        proposal: RefusedProposals,
        /// The validator's error without them.
        source: wasmparser::Error,
    },
    /// The module exceeds an implementation limit.
    #[error("too large: {limit} (at byte {offset:#x})")]
    Limit {
        /// The limit.
        limit: Limit,
        /// The offset at which it was exceeded.
        offset: u64,
    },
    /// The module imports from the reserved namespace.
    #[error("the import {METERING_MODULE:?} {name:?} (at byte {offset:#x}) is reserved: rename it")]
    ReservedImport {
        /// The name of the import.
        name: String,
        /// The offset of the import.
        offset: u64,
    },
    /// The module has the mark of a prepared one, and does not verify.
    #[error("the module is marked as prepared, but does not verify: {0}: prepare the original module again")]
    Tampered(#[source] VerifyError),
    /// The callback for the progress has asked to stop.
    #[error("preparing the module was stopped")]
    Stopped,
    /// The rewriter could not read or write the module, which is a bug of this crate.
    #[error("the rewriter failed on a valid module, please report this: {0}")]
    Rewrite(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The rewritten module does not verify, which is a bug of this crate, found before anyone could run the
    /// module.
    #[error("the rewritten module does not verify, please report this: {0}")]
    Unproven(#[source] VerifyError),
}

/// An implementation limit of the rewriter. The limits keep the time and memory of preparing a module
/// bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// The size of the module.
    #[error("a module may have at most {} bytes", crate::prevalidation::MAX_MODULE_BYTES)]
    ModuleBytes,
    /// The size of a function's code with its charges, of which small code may have many.
    #[error("a function may have at most {} bytes when it is prepared", crate::rewrite::MAX_FUNCTION_BYTES)]
    FunctionBytes,
    /// The number of types, including the added one.
    #[error("a module without the type (i32) -> () may have at most {} types", crate::rewrite::MAX_ITEMS - 1)]
    Types,
    /// The number of functions, including the added one.
    #[error("a module may have at most {} functions", crate::rewrite::MAX_ITEMS - 1)]
    Functions,
    /// The size of all types of imports and exports, including that of the added import.
    #[error("the types of a module's imports and exports are too large in total")]
    TypeSize,
}

/// The error of verifying a module.
#[derive(Debug)]
pub struct VerifyError {
    /// What is wrong.
    pub kind: VerifyErrorKind,
    /// The offset in the file, in bytes.
    pub offset: u64,
    /// The function that is wrong, if a function is.
    pub function: Option<FunctionRef>,
}

/// A function as an error names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRef {
    /// Its index, including imports.
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
    /// The module is malformed or invalid, or uses a proposal that is not supported.
    #[error("invalid module: {}", .0.message())]
    Invalid(#[source] wasmparser::Error),
    /// The custom section is missing or not accepted.
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
    /// The reserved import has the wrong type.
    #[error("the reserved import {METERING_MODULE:?} {CHARGE_FUNCTION:?} has the wrong type")]
    ImportType,
    /// The import does not exist in the reserved namespace.
    #[error("{METERING_MODULE:?} has no {0:?}")]
    UnknownImport(String),
    /// The charge function is named outside of a charge.
    #[error("the charge function is used outside of a charge")]
    Exposed,
    /// A function or a loop does not begin with a charge.
    #[error("{0} does not begin with a charge")]
    Uncharged(Region),
    /// The constant of a charge is zero, negative, or above the limit.
    #[error("a charge of {0}: it must be from 1 to {MAX_CHARGE}")]
    ChargeConstant(i32),
    /// A path does more work than the charge before it has paid for.
    #[error("work that no charge has paid for")]
    Unpaid,
    /// A path is too long without a charge.
    #[error("more than {MAX_CHARGE} reductions of work without a charge")]
    LongPath,
    /// A function does too much work after a call has returned.
    #[error("more than {MAX_RETURN} reductions of work after a call, without a charge")]
    LongReturn,
    /// The callback for the progress has asked to stop.
    #[error("verifying the module was stopped")]
    Stopped,
    /// There is more work between two charges than the file declares.
    #[error("{found} reductions of work between two charges, above the declared bound of {declared}")]
    AboveBound {
        /// The most in the module.
        found: u32,
        /// The bound that the custom section declares.
        declared: u32,
    },
}

/// What has to begin with a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// A function's body.
    Function,
    /// A loop's body.
    Loop,
}

/// The error of reading the custom section of a prepared module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The section is missing: the module was never prepared.
    #[error("not prepared (no custom section {SECTION:?}): run lunatic-prep on it")]
    Missing,
    /// The section is too short or too long, or its numbers are malformed.
    #[error("the custom section {SECTION:?} is malformed: prepare the module again with lunatic-prep")]
    Malformed,
    /// The module was prepared by another version of the format.
    #[error(
        "prepared in format {0}, but this version uses format {FORMAT_VERSION}: prepare it again with lunatic-prep"
    )]
    FormatVersion(u32),
    /// The module was prepared with another cost model.
    #[error(
        "prepared with cost model {0}, but this version uses cost model {COST_MODEL_VERSION}: prepare it again with lunatic-prep"
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
