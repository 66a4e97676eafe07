//! Makes a WebAssembly module preemptible.
//!
//! A process that runs WebAssembly can be interrupted only where its code allows it. [`prepare`](fn@prepare) inserts
//! *charges* at every function entry and at every loop header. A charge subtracts the cost of the work that
//! follows it from a counter of reductions, and yields when the counter is used up. [`verify`](fn@verify) proves of any
//! file, whoever made it, that no work in it escapes the count. [`abi`] defines what a charge looks like and
//! what a prepared module imports; [`cost`] defines what a reduction is.
//!
//! ```
//! use lunatic_instrument::{Options, is_prepared, prepare, verify};
//!
//! // A loop that would run, and keep its thread, forever.
//! let endless = wat::parse_str("(module (func (export \"_start\") (loop (br 0))))")?;
//! let prepared = prepare(&endless, &Options::default())?;
//!
//! // It is still an ordinary module. Any engine that supplies the charge function can run it.
//! assert!(is_prepared(&prepared.bytes));
//! let report = verify(&prepared.bytes)?;
//! assert_eq!((report.functions, report.loops, report.charges), (1, 1, 2));
//!
//! // A module without the charges does not verify.
//! assert!(verify(&endless).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! How a module passes through this crate:
//!
//! ```text
//! bytes ─▶ prevalidation + rewrite: for each body, read ─▶ unroll ─▶ plan ─▶ emit ─▶ verify ─▶ Prepared
//!          valid? within limits?                                     where charges go   would the host
//!          namespace free?                                           and what they cost  accept it?
//! ```
//!
//! The crate has no unsafe code, does no I/O, starts no threads, and knows nothing about processes or
//! compilers.
#![forbid(unsafe_code)]

pub mod abi;
mod body;
mod container;
pub mod cost;
mod emit;
mod error;
mod features;
mod offset_map;
mod plan;
mod prepare;
mod prevalidation;
mod proposal;
mod read;
mod rewrite;
#[cfg(test)]
mod testing;
mod unroll;
#[doc(hidden)] // For the JIT's tables.
pub mod varint;
mod verify;

pub use container::{Manifest, inspect, is_prepared};
pub use error::{FunctionRef, Limit, ManifestError, PrepareError, Region, VerifyError, VerifyErrorKind};
pub use features::FEATURES;
pub use offset_map::{OffsetIndex, original_offset};
pub use prepare::{Options, Prepared, Stats, prepare, prepare_with_progress};
pub use prevalidation::MAX_MODULE_BYTES;
pub use proposal::{RefusedProposals, refused_proposal};
pub use verify::{Report, verify, verify_with_progress};

/// A hash of this crate's sources: the cost model, the rewriter and the verifier.
///
/// What a build of this crate with another value has verified may be wrong for this one. A program that keeps
/// the result of [`verify`], for example in a cache of compiled code, has to keep this value with it and
/// compare.
pub const SOURCE_FINGERPRINT: &str = env!("SOURCE_FINGERPRINT");

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
