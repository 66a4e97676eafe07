//! The machine that code is compiled for.

/// The machine that code is compiled for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Architecture, vendor and operating system.
    pub(crate) triple: String,
    /// The processor features that code may use, by Cranelift's names (`has_avx2`).
    pub(crate) processor_features: Vec<String>,
    /// Whether every NaN that arithmetic produces has the same bits.
    pub(crate) canonical_nans: bool,
}
