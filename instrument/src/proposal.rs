//! Finds the proposals that a refused module would need.
//!
//! A validator's message seldom names the proposal that would make a module valid. So the module is validated
//! again with the proposals that are refused: one with which it is valid is the one to name. If one is not
//! enough, the proposals that get furthest are added one after the other until the module is valid. This is
//! done for refused modules only, in linear time for each attempt. A module that is invalid with all
//! proposals takes one attempt.

use std::fmt;

use wasmparser::{Validator, WasmFeatures};

/// The proposals that may be refused, by their common names. An error names several if a module needs
/// several.
const PROPOSALS: [(&str, WasmFeatures); 10] = [
    ("memory64", WasmFeatures::MEMORY64),
    ("exceptions", WasmFeatures::EXCEPTIONS),
    ("function references", WasmFeatures::FUNCTION_REFERENCES),
    ("gc", WasmFeatures::GC.union(WasmFeatures::FUNCTION_REFERENCES)),
    ("threads", WasmFeatures::THREADS),
    ("wide arithmetic", WasmFeatures::WIDE_ARITHMETIC),
    ("custom page sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
    ("compact imports", WasmFeatures::COMPACT_IMPORTS),
    ("memory control", WasmFeatures::MEMORY_CONTROL),
    ("legacy exceptions", WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS)),
];

/// The latest proposals, each with what it builds on. A module that needs only the latter must not be told to
/// use these.
const LATEST: [(&str, WasmFeatures); 4] = [
    ("custom descriptors", WITH_GC.union(WasmFeatures::CUSTOM_DESCRIPTORS)),
    ("shared-everything threads", WITH_GC.union(WasmFeatures::SHARED_EVERYTHING_THREADS)),
    ("stack switching", WITH_GC.union(WasmFeatures::STACK_SWITCHING)),
    ("several proposals at once", WasmFeatures::all()),
];

/// What the latest proposals build on.
const WITH_GC: WasmFeatures = WasmFeatures::EXCEPTIONS
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::THREADS);

/// The number of proposals that are looked for. For a module that needs more, an error names the first ones.
const MAX_NAMED: usize = 4;

/// The proposals without which a module is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedProposals(Vec<&'static str>);

impl RefusedProposals {
    /// Returns their names, at least one.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        &self.0
    }
}

/// Shows the names as one text: `exceptions and threads`.
impl fmt::Display for RefusedProposals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [all @ .., last] if !all.is_empty() => write!(f, "{} and {last}", all.join(", ")),
            names => f.write_str(&names.concat()),
        }
    }
}

/// Returns the proposals that a module needs in addition to the accepted features; `None` if the module is
/// valid, or if no proposal would help.
#[must_use]
pub fn refused_proposal(wasm: &[u8], accepted: WasmFeatures) -> Option<RefusedProposals> {
    let without = failure(wasm, accepted)?;
    if failure(wasm, WasmFeatures::all()).as_ref() == Some(&without) {
        return None;
    }
    let one = |name| Some(RefusedProposals(vec![name]));
    let is_enough = |&&(_, features): &&(_, _)| failure(wasm, accepted | features).is_none();
    if let Some((name, _)) = PROPOSALS.iter().find(is_enough) {
        return one(name);
    }
    let several = furthest(wasm, accepted, &without);
    let features = several.iter().fold(accepted, |all, (_, features)| all | *features);
    if failure(wasm, features).is_none() {
        return Some(RefusedProposals(minimal(wasm, accepted, several)));
    }
    if let Some((name, _)) = LATEST.iter().find(is_enough) {
        return one(name);
    }
    // Invalid with every proposal. What it needs before that position may be the reason, or may make it fail
    // elsewhere.
    let elsewhere = |&&(_, features): &&(_, _)| failure(wasm, accepted | features).as_ref() != Some(&without);
    let named = several.first().or_else(|| PROPOSALS.iter().chain(&LATEST).find(elsewhere));
    named.and_then(|(name, _)| one(name))
}

type Proposal = (&'static str, WasmFeatures);

/// Returns the proposals that get the validator furthest, one after the other, until the module is valid or
/// none helps.
fn furthest(wasm: &[u8], accepted: WasmFeatures, without: &Failure) -> Vec<Proposal> {
    let (mut found, mut features, mut reached) = (Vec::new(), accepted, without.clone());
    while found.len() < MAX_NAMED {
        let mut best: Option<(Proposal, Failure)> = None;
        for &proposal in &PROPOSALS {
            let Some(failure) = failure(wasm, features | proposal.1) else {
                found.push(proposal);
                return found;
            };
            let is_further = failure != reached && failure.0 >= reached.0;
            if is_further && best.as_ref().is_none_or(|(_, best)| failure.0 > best.0) {
                best = Some((proposal, failure));
            }
        }
        let Some((proposal, failure)) = best else { return found };
        found.push(proposal);
        features |= proposal.1;
        reached = failure;
    }
    found
}

/// Returns the names of those that are needed: one may have been added together with another.
fn minimal(wasm: &[u8], accepted: WasmFeatures, mut needed: Vec<Proposal>) -> Vec<&'static str> {
    let mut index = 0;
    while index < needed.len() {
        let proposal = needed.remove(index);
        let rest = needed.iter().fold(accepted, |all, (_, features)| all | *features);
        if failure(wasm, rest).is_some() {
            needed.insert(index, proposal);
            index += 1;
        }
    }
    needed.into_iter().map(|(name, _)| name).collect()
}

/// Where and why a module fails to validate.
type Failure = (u64, String);

fn failure(wasm: &[u8], features: WasmFeatures) -> Option<Failure> {
    let error = Validator::new_with_features(features).validate_all(wasm).err()?;
    Some((error.offset(), error.message().to_owned()))
}
