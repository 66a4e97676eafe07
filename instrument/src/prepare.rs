//! The way of a module through this crate, from its bytes to a prepared module.

use crate::abi::MAX_CHARGE;
use crate::container::{Manifest, is_prepared};
use crate::cost::MAX_OPERATOR_COST;
use crate::error::PrepareError;
use crate::finish::finish;
use crate::origin::DebugSections;
use crate::rewrite::rewrite;
use crate::screen::screen;
use crate::verify::{Report, verify};

/// How a module is prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The largest charge: where more work than this follows in one go, it is charged in parts. Taken into the
    /// range from [`MAX_OPERATOR_COST`] to [`MAX_CHARGE`], which is also the default.
    pub max_charge: u32,
    /// Write small innermost loops out a few times, so that one charge pays for several rounds. Default: yes. Without,
    /// code is as large as it was, but for the charges, and loops of a few instructions take up to half as long again.
    pub unroll: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_charge: MAX_CHARGE, unroll: true }
    }
}

/// A prepared module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The module, as it is written to an `.lwasm` file.
    pub bytes: Vec<u8>,
    /// What was done.
    pub stats: Stats,
}

/// What preparing a module has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// The module had been prepared before, and was taken as it is.
    pub already_prepared: bool,
    /// How many functions the module defines.
    pub functions: usize,
    /// How many loops they have.
    pub loops: usize,
    /// How many charges they have: one for each function and loop, and one wherever a charge was split.
    pub charges: usize,
    /// The largest charge.
    pub bound: u32,
    /// The size of the input in bytes.
    pub size_before: usize,
    /// The size of the output in bytes.
    pub size_after: usize,
    /// The custom sections that were left out because they speak of positions in the old code.
    pub dropped_sections: Vec<String>,
}

/// Prepares a module: every function and loop of the result pays for its work before it does it.
///
/// The same bytes and options give the same result. A module that is prepared already, with whatever options, is
/// verified and returned as it is. The result has been verified; time is linear in the size of the module, memory
/// some seventy times the size of its code.
///
/// # Errors
///
/// If the bytes are not a valid core module, use an unsupported proposal, pass a limit, or import from the
/// reserved namespace; or if they are marked as prepared and do not verify.
pub fn prepare(wasm: &[u8], options: &Options) -> Result<Prepared, PrepareError> {
    if is_prepared(wasm) {
        let report = verify(wasm).map_err(PrepareError::Tampered)?;
        return Ok(Prepared { bytes: wasm.to_vec(), stats: Stats::of_prepared(wasm, &report) });
    }
    screen(wasm)?;
    let max_charge = options.max_charge.clamp(MAX_OPERATOR_COST, MAX_CHARGE);
    let debug = DebugSections::of(wasm);
    let rewritten = rewrite(wasm, max_charge, options.unroll, debug.is_some())
        .map_err(|error| PrepareError::Rewrite(error.into()))?;
    let manifest = Manifest { max_charge, bound: rewritten.bound };
    let bytes = finish(&rewritten, debug.as_ref(), &manifest)
        .map_err(|error| PrepareError::Rewrite(Box::new(error)))?;
    let report = verify(&bytes).map_err(PrepareError::Unproven)?;
    let stats = Stats {
        already_prepared: false,
        dropped_sections: rewritten.dropped_sections,
        size_before: wasm.len(),
        ..Stats::of_prepared(&bytes, &report)
    };
    debug_assert_eq!(
        (rewritten.functions, rewritten.loops, rewritten.charges, rewritten.bound),
        (report.functions, report.loops, report.charges, report.bound),
        "the rewriter and the verifier counted differently"
    );
    Ok(Prepared { bytes, stats })
}

impl Stats {
    fn of_prepared(wasm: &[u8], report: &Report) -> Stats {
        Stats {
            already_prepared: true,
            functions: report.functions,
            loops: report.loops,
            charges: report.charges,
            bound: report.bound,
            size_before: wasm.len(),
            size_after: wasm.len(),
            dropped_sections: Vec::new(),
        }
    }
}
