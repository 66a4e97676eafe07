//! Makes a WebAssembly module preemptible.
//!
//! A process that runs Wasm is interrupted where the Wasm itself asks for it: [`prepare`] inserts *charges* that
//! count reductions down and yield when they are used up, at every function's entry and at every loop's
//! beginning, each sized by the work that follows it. [`verify`] proves of any file, without trusting whoever made
//! it, that no work in it escapes the count. What a charge looks like, and what a module so prepared imports, is
//! written in [`abi`]; what a reduction is, in [`cost`].
//!
//! ```
//! use lunatic_instrument::{Options, is_prepared, prepare, verify};
//!
//! // A loop that would run for ever, and keep its thread for ever.
//! let endless = wat::parse_str("(module (func (export \"_start\") (loop (br 0))))")?;
//! let prepared = prepare(&endless, &Options::default())?;
//!
//! // It is an ordinary module still. Any engine runs it that supplies the function that charges.
//! assert!(is_prepared(&prepared.bytes));
//! let report = verify(&prepared.bytes)?;
//! assert_eq!((report.functions, report.loops, report.charges), (1, 1, 2));
//!
//! // Whoever takes the checks out again is found out.
//! assert!(verify(&endless).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The way of a module through this crate:
//!
//! ```text
//! bytes ─▶ screen + rewrite: for each body, read ─▶ unroll ─▶ plan ─▶ emit ─▶ verify ─▶ Prepared
//!          valid?                                             what each         would we
//!          limits                                             charge costs      accept it?
//! ```
//!
//! There is no unsafe code here, no I/O and no threads, and nothing about processes or compilers.
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
mod verify;

pub use container::{Manifest, inspect, is_prepared};
pub use error::{FunctionRef, Limit, ManifestError, PrepareError, Region, VerifyError, VerifyErrorKind};
pub use features::FEATURES;
pub use offset_map::{OffsetIndex, original_offset};
pub use prepare::{Options, Prepared, Stats, prepare, prepare_with_progress};
pub use prevalidation::MAX_MODULE_BYTES;
pub use proposal::{RefusedProposals, refused_proposal};
pub use verify::{Report, verify, verify_with_progress};

/// A hash of this crate's sources: the cost model, the rewriting and the verifier.
///
/// What was verified by a build of this crate with another value may be wrong for this one. Whatever keeps the result of
/// [`verify`] beyond the end of the program, such as a cache of compiled code, keeps this value with it and compares.
pub const SOURCE_FINGERPRINT: &str = env!("SOURCE_FINGERPRINT");

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
