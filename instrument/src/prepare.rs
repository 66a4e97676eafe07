//! Prepares a module: from its bytes to a prepared module.

use crate::abi::MAX_CHARGE;
use crate::container::{Manifest, is_prepared};
use crate::cost::MAX_OPERATOR_COST;
use wasmparser::WasmFeatures;

use crate::error::{Limit, PrepareError, VerifyError, VerifyErrorKind};
use crate::features::FEATURES;
use crate::offset_map::DebugSections;
use crate::prevalidation::check_head;
use crate::rewrite::{Error, How, rewrite};
use crate::verify::{Report, verify_with_progress};

/// Options of preparing a module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The largest charge: more work than this is charged in parts. Clamped to the range from
    /// [`MAX_OPERATOR_COST`] to [`MAX_CHARGE`], which is also the default.
    pub max_charge: u32,
    /// Unrolls small innermost loops, so that one charge pays for several rounds. Default: true. Without,
    /// code grows only by the charges, and loops of a few instructions take up to half as long again.
    pub unroll: bool,
    /// The proposals that the module may use, of those that are supported. Default: [`FEATURES`]. With the
    /// proposals of an engine, a module that the engine does not support is refused before it is prepared.
    pub features: WasmFeatures,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_charge: MAX_CHARGE, unroll: true, features: FEATURES }
    }
}

/// A prepared module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The module as it is written to an `.lwasm` file.
    pub bytes: Vec<u8>,
    /// What was done.
    pub stats: Stats,
}

/// Statistics of preparing a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Whether the module had been prepared before, and was returned unchanged.
    pub already_prepared: bool,
    /// The functions that the module defines.
    pub functions: usize,
    /// Their loops.
    pub loops: usize,
    /// The loops that were unrolled. Their copies do not count as loops.
    pub unrolled: usize,
    /// The charges: one for each function and loop, and those of the next three fields.
    pub charges: usize,
    /// The charges that are there because a single charge would be too large.
    pub long_paths: usize,
    /// The charges that are there because much work follows a call.
    pub returns: usize,
    /// The charges that are there because an exception may arrive.
    pub handlers: usize,
    /// The most work between two charges of an activation: see [`Report::bound`].
    pub bound: u32,
    /// The most work after a call: see [`Report::return_bound`].
    pub return_bound: u32,
    /// The size of the input in bytes.
    pub size_before: usize,
    /// The size of the output in bytes.
    pub size_after: usize,
    /// The names of the custom sections that were removed because they contain positions in the original
    /// code.
    pub dropped_sections: Vec<String>,
}

/// Prepares a module: every function and loop of the result pays for its work before the work is done.
///
/// The same bytes and options give the same result, which has been verified. A module that was prepared
/// before, with any options, is verified and returned unchanged. Takes time linear in the size of the module,
/// and memory a few times its size.
///
/// # Errors
///
/// Returns an error if the bytes are not a valid core module, use an unsupported proposal, exceed a limit or
/// import from the reserved namespace, or if they are marked as prepared and do not verify.
pub fn prepare(wasm: &[u8], options: &Options) -> Result<Prepared, PrepareError> {
    prepare_with_progress(wasm, options, &mut |_, _| true)
}

/// Prepares a module as [`prepare`] does, and reports the progress: `progress` is called for every function
/// and section in each of the two passes, with the work that is done and the total. It returns whether to
/// continue.
///
/// # Errors
///
/// As [`prepare`], and [`PrepareError::Stopped`].
pub fn prepare_with_progress(
    wasm: &[u8],
    options: &Options,
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Prepared, PrepareError> {
    if is_prepared(wasm) {
        let report = verify_with_progress(wasm, &mut |done| progress(done, wasm.len()))
            .map_err(|error| not_verified(error, PrepareError::Tampered))?;
        return Ok(Prepared { bytes: wasm.to_vec(), stats: Stats::of_prepared(wasm, &report) });
    }
    check_head(wasm)?;
    let work = 2 * wasm.len();
    let debug = DebugSections::of(wasm);
    let how = How {
        max_charge: options.max_charge.clamp(MAX_OPERATOR_COST, MAX_CHARGE),
        unroll: options.unroll,
        features: options.features & FEATURES,
    };
    let mut rewritten =
        rewrite(wasm, &how, &mut |done| progress(done, work)).map_err(|error| match error {
            Error::Refused(refusal) => refusal.into_error(wasm, how.features),
            Error::Limit(limit, offset) => PrepareError::Limit { limit, offset },
            Error::Stopped => PrepareError::Stopped,
            Error::Fault(fault) => PrepareError::Rewrite(Box::new(fault)),
        })?;
    let mut bytes = std::mem::take(&mut rewritten.bytes);
    if let Some(debug) = &debug {
        debug.append_to(&mut bytes);
    }
    if let Some(origins) = rewritten.origins {
        origins.append_to(&mut bytes);
    }
    let totals = rewritten.totals;
    let manifest =
        Manifest { max_charge: how.max_charge, bound: totals.bound, return_bound: totals.return_bound };
    manifest.append_to(&mut bytes);
    let size = bytes.len().max(1);
    // The output is longer than the input. Scaled, it is the second half of the work.
    let scaled = |done: usize| (done as u64 * wasm.len() as u64 / size as u64) as usize;
    let report = verify_with_progress(&bytes, &mut |done| progress(wasm.len() + scaled(done), work))
        .map_err(|error| not_verified(error, PrepareError::Unproven))?;
    debug_assert_eq!(
        (totals.functions, totals.charges),
        (report.functions, report.charges),
        "the rewriter and the verifier counted differently"
    );
    let stats = Stats {
        already_prepared: false,
        unrolled: totals.unrolled,
        long_paths: totals.long,
        returns: totals.returns,
        handlers: totals.handlers,
        dropped_sections: rewritten.dropped_sections,
        size_before: wasm.len(),
        ..Stats::of_prepared(&bytes, &report)
    };
    Ok(Prepared { bytes, stats })
}

/// What the validator says if the types of imports and exports are too large in total.
const TYPES_TOO_LARGE: &str = "effective type size exceeds";

fn not_verified(error: VerifyError, otherwise: fn(VerifyError) -> PrepareError) -> PrepareError {
    match &error.kind {
        VerifyErrorKind::Stopped => PrepareError::Stopped,
        // The added import has a type, too.
        VerifyErrorKind::Invalid(invalid) if invalid.message().starts_with(TYPES_TOO_LARGE) => {
            PrepareError::Limit { limit: Limit::TypeSize, offset: error.offset }
        }
        _ => otherwise(error),
    }
}

impl Stats {
    fn of_prepared(wasm: &[u8], report: &Report) -> Stats {
        Stats {
            already_prepared: true,
            functions: report.functions,
            loops: report.loops,
            unrolled: 0,
            charges: report.charges,
            long_paths: 0,
            returns: 0,
            handlers: 0,
            bound: report.bound,
            return_bound: report.return_bound,
            size_before: wasm.len(),
            size_after: wasm.len(),
            dropped_sections: Vec::new(),
        }
    }
}
